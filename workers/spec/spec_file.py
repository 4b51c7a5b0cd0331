"""A study spec as a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from castpool.sampler_policies.errors import InputError

PATH_FIELDS = ("data", "futr_data", "hierarchy")


def read_spec_file(path: Path) -> dict[str, Any]:
    """Return the values in a YAML spec, not yet checked. Relative paths in it start at its folder.

    Raises:
        InputError: the file is missing, not YAML, or not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError("spec", path, f"it cannot be read ({reason}).") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise InputError("spec", path, f"it is not YAML{line}: {getattr(error, 'problem', 'unreadable')}.") from None
    if not isinstance(values, dict):
        raise InputError("spec", path, "write 'key: value' lines, e.g. model: NHITS.")
    for field in PATH_FIELDS:
        if isinstance(values.get(field), str) and not Path(values[field]).is_absolute():
            values[field] = str(path.parent / values[field])
    return values
