"""The files of a result: all of them or none, and no other file in the folder is touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from castpool.workers.results import forecast, output_files
from castpool.workers.results.output_files import OUTPUT_FILES, write_files

WINNER: Any = None  # the writers of these tests do not look at it


def writer(content: str) -> Any:
    return lambda winner, path: path.write_text(content)


def refuse(winner: Any, path: Path) -> None:
    raise OSError("no space left on device")


def content_of(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_table_names_the_files() -> None:
    assert list(OUTPUT_FILES) == [
        *("model", "forecast.csv", "forecast.png", "weights.json"),
        *("best.json", "trials.csv", "report.html"),
    ]


def test_files_are_replaced_and_those_of_the_user_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "made" / "out"
    for content in ("first", "second"):
        monkeypatch.setattr(output_files, "OUTPUT_FILES", {"a.txt": writer(content), "b.txt": writer(content)})
        write_files(WINNER, out)
        (out / "notes.txt").write_text("mine")
    assert content_of(out) == {"a.txt": "second", "b.txt": "second", "notes.txt": "mine"}
    assert list(out.parent.iterdir()) == [out]


def test_where_one_file_cannot_be_written_none_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(output_files, "OUTPUT_FILES", {"a.txt": writer("first")})
    write_files(WINNER, out)
    monkeypatch.setattr(output_files, "OUTPUT_FILES", {"a.txt": writer("second"), "b.txt": refuse})
    with pytest.raises(OSError, match="no space left"):
        write_files(WINNER, out)
    assert content_of(out) == {"a.txt": "first"}


def test_forecasting_needs_no_castpool() -> None:
    run = f"runpy.run_path({forecast.__file__!r})['forecast']"
    code = f"import sys, runpy; sys.modules['castpool'] = None; print({run})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("<function forecast")
