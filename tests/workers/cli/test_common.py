"""What the commands print of a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from castpool.workers.cli.common import print_result
from castpool.workers.results.result import Result

BEST: dict[str, Any] = {
    "study": "air",
    "value": 1.0,
    "default_value": 2.0,
    "trial": 3,
    "step": 40,
    "trials": {"complete": 4, "pruned": 1},
    "decisions": [
        {"subject": "holdout", "choice": "none", "reason": "the series are short", "arguments": {"holdout": 0}}
    ],
    "verdict": None,
}


def printed(best: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_result(Result(pd.DataFrame(), best, pd.DataFrame(), Path("out")), as_json=False)
    return capsys.readouterr().out.splitlines()


def test_without_a_verdict_it_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(BEST, capsys)
    assert lines[0].startswith("air: best loss 1 (trial 3, step 40), 50.0% below the default configuration's 2")
    assert lines[1] == "There is no verdict, because there is no holdout: the series are short."
    assert "  out/weights.json" in lines
