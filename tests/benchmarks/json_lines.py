"""JSON lines in a file that is compressed with xz: one line for each record."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file; none where there is no file."""
    if not path.exists():
        return []
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def write_json_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the rows in place of the file; a kill in the middle leaves the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.new")
    with lzma.open(unfinished, "wt", encoding="utf-8", preset=9 | lzma.PRESET_EXTREME) as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    unfinished.replace(path)
