"""The declaration of a private part that castpool uses."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple


class Door(NamedTuple):
    """A private part of a library.

    Attributes:
        owner: the module, or ``module:Class`` for an attribute of a class or of its objects.
        attribute: the attribute of the owner; with dots, of what the attribute holds.
        loss: what castpool loses without it; completes the sentence "Without it castpool ...".
    """

    owner: str
    attribute: str
    loss: str


def load_export(module: str, name: str, exports: Mapping[str, str]) -> Any:
    """Return a private object that a module re-exports, for that module's ``__getattr__``.

    Args:
        module: the module that re-exports it.
        name: its name.
        exports: the modules that define the objects, by name.

    Raises:
        AttributeError: the module re-exports no object of that name.
    """
    if name not in exports:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return getattr(importlib.import_module(exports[name]), name)
