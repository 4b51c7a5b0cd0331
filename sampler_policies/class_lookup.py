"""Classes of Optuna and of Ray by the names that users write: ``TPE``, ``TPESampler``, ``hyperband``."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any, TypeVar

from optuna.exceptions import ExperimentalWarning

from castpool.sampler_policies import legacy_names
from castpool.sampler_policies.errors import InputError, did_you_mean

T = TypeVar("T")
LEGACY_CLASSES = {legacy.lower(): current.lower() for legacy, current in legacy_names.CLASSES.items()}


def find_class(
    field: str, name: str, module: ModuleType, base: type[T], custom: Mapping[str, str] | None = None
) -> type[T]:
    """Return the subclass of ``base`` of this name, suffix and case aside, or at this path, ``package.module:Class``.

    Args:
        field: the option that the name was given for.
        name: the name as the user wrote it; legacy names are read too.
        module: the module that exports the known classes.
        base: the class that it must be a subclass of.
        custom: further names, each with the path of its class.

    Raises:
        InputError: no class has that name, or the object at the path is no subclass of ``base``.
    """
    suffix = base.__name__.removeprefix("Base")
    if is_import_path(name):
        return _import_class(field, name, base)
    exported = [known for known in module.__all__ if known.endswith(suffix) and not known.startswith("Base")]
    paths = {full.removesuffix(suffix): f"{module.__name__}:{full}" for full in exported} | dict(custom or {})
    wanted = name.lower().removesuffix(suffix.lower())
    wanted = LEGACY_CLASSES.get(wanted, wanted)
    for known, path in paths.items():
        if known.lower() == wanted:
            return _import_class(field, path, base)
    raise InputError(field, repr(name), did_you_mean(name, paths))


def is_import_path(name: str) -> bool:
    """Whether a name is an import path, as ``package.module:Class``, and not the name of a known class."""
    return ":" in name or "." in name


def _import_class(field: str, path: str, base: type[T]) -> type[T]:
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        remedy = f"write package.module:Class, and the folder of the module as --import-from; {error}."
        raise InputError(field, repr(path), remedy) from None
    except Exception as error:  # a module may raise anything when it is imported
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
            # The user, or a policy, has chosen the class on purpose; that Optuna marks it "experimental" is no news.
            warnings.simplefilter("ignore", ExperimentalWarning)
            return cls(**arguments)
    except (TypeError, ValueError) as error:
        raise InputError(field, f"{cls.__name__} with {dict(arguments)}", f"it is refused: {error}") from error
