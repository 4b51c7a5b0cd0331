"""Optuna's classes by the names that people write: ``TPE``, ``TPESampler``, ``hyperband``."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, TypeVar

from sampler_policies.errors import InputError, did_you_mean

T = TypeVar("T")


def find_class(field: str, name: str, module: ModuleType, base: type[T]) -> type[T]:
    """Return the subclass of ``base`` that ``module`` exports under this name, suffix and case aside.

    Raises:
        InputError: the module has none of that name.
    """
    suffix = base.__name__.removeprefix("Base")
    exported = [own for own in module.__all__ if own.endswith(suffix) and not own.startswith("Base")]
    known = {own.removesuffix(suffix): own for own in exported}
    for own, full in known.items():
        if own.lower() == name.lower().removesuffix(suffix.lower()):
            found: type[T] = getattr(module, full)
            return found
    raise InputError(field, repr(name), did_you_mean(name, known))


def build(field: str, cls: type[T], arguments: Mapping[str, Any]) -> T:
    """Return ``cls(**arguments)``.

    Raises:
        InputError: the class does not take these arguments.
    """
    try:
        return cls(**arguments)
    except (TypeError, ValueError) as error:
        raise InputError(field, f"{cls.__name__} with {dict(arguments)}", f"Optuna refuses it: {error}") from error
