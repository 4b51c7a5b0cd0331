"""What pydantic says of a wrong value, as one sentence: the field, the value, the remedy."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from castpool.sampler_policies.errors import InputError, did_you_mean


def first_error(error: ValidationError, fields: Mapping[str, FieldInfo]) -> InputError:
    """Return the first error as an `InputError`.

    Args:
        error: what pydantic raised for the spec's values.
        fields: the spec's fields; their descriptions say what a missing value is.
    """
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][:1])
    kind, got = first["type"], first["input"]
    if kind == "extra_forbidden":
        return InputError("spec", f"the key {field!r}", did_you_mean(field, fields))
    if kind == "missing":
        return InputError(field, "nothing", f"write --{field.replace('_', '-')}: {fields[field].description}.")
    if kind == "greater_than_equal":
        return InputError(field, got, f"write a number of at least {first['ctx']['ge']}.")
    if kind == "greater_than":
        return InputError(field, got, f"write a number above {first['ctx']['gt']:g}.")
    if kind == "less_than":
        return InputError(field, got, f"write a number below {first['ctx']['lt']}.")
    remedy = first["msg"].removeprefix("Value error, ")
    sentence = f"{remedy[0].lower()}{remedy[1:]}"
    return InputError(field, repr(got), sentence if sentence.endswith(("?", ".")) else f"{sentence}.")
