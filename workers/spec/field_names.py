"""Names in a spec: old ones of its fields, and classes that are named together with their arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from castpool.sampler_policies.errors import InputError

# Names that YAML files and stored studies may still have.
RENAMED_FIELDS = {"without": "disable"}


def rename_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with old field names replaced by those of today."""
    renamed = dict(values)
    for old, new in RENAMED_FIELDS.items():
        if old in renamed:
            given = renamed.pop(old)
            renamed[new] = [*_as_list(given), *_as_list(renamed[new])] if new in renamed else given
    return renamed


def _as_list(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


def split_name(given: str | dict[str, Any] | None, field: str) -> tuple[str | None, dict[str, Any]]:
    """Return the name and the arguments of a class that a field names, as ``{name: CmaEs, sigma0: 0.3}``.

    Raises:
        InputError: arguments without a name.
    """
    if given is None or isinstance(given, str):
        return given, {}
    arguments = dict(given)
    name = arguments.pop("name", None)
    if not isinstance(name, str):
        raise InputError(field, given, "write its name too, e.g. {name: CmaEs, sigma0: 0.3}.")
    return name, arguments
