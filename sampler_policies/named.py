"""Classes of Optuna and of Ray by the names that people write: ``TPE``, ``TPESampler``, ``hyperband``."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any, TypeVar

from optuna.exceptions import ExperimentalWarning

from sampler_policies.errors import InputError, did_you_mean

T = TypeVar("T")


def find_class(
    field: str, name: str, module: ModuleType, base: type[T], own: Mapping[str, str] | None = None
) -> type[T]:
    """Return the subclass of ``base`` of this name, suffix and case aside, or at this path, ``package.module:Class``.

    Args:
        field: what the name was given for.
        name: as people write it.
        module: exports the known classes.
        base: what it must be a subclass of.
        own: further names, with their paths.

    Raises:
        InputError: there is none of that name, or what is at the path is none.
    """
    suffix = base.__name__.removeprefix("Base")
    if ":" in name or "." in name:
        return _at_path(field, name, base)
    exported = [known for known in module.__all__ if known.endswith(suffix) and not known.startswith("Base")]
    known = {full.removesuffix(suffix): f"{module.__name__}:{full}" for full in exported} | dict(own or {})
    for short, path in known.items():
        if name.lower() in (short.lower(), f"{short}{suffix}".lower()):
            return _at_path(field, path, base)
    raise InputError(field, repr(name), did_you_mean(name, known))


def _at_path(field: str, path: str, base: type[T]) -> type[T]:
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever the module does when it is imported
        raise InputError(field, repr(path), f"write package.module:Class; {error}.") from None
    if not (isinstance(found, type) and issubclass(found, base)):
        library = base.__module__.split(".")[0].capitalize()
        raise InputError(field, repr(path), f"write the path of a subclass of {library}'s {base.__name__}.")
    return found


def build(field: str, cls: type[T], arguments: Mapping[str, Any]) -> T:
    """Return ``cls(**arguments)``.

    Raises:
        InputError: the class does not take these arguments.
    """
    try:
        with warnings.catch_warnings():
            # Which of Optuna's parts are "experimental" is no news to whoever asked for one, or let us choose.
            warnings.simplefilter("ignore", ExperimentalWarning)
            return cls(**arguments)
    except (TypeError, ValueError) as error:
        raise InputError(field, f"{cls.__name__} with {dict(arguments)}", f"it is refused: {error}") from error
