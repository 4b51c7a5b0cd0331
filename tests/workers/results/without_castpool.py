"""The documented lines in a Python to which castpool does not exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd

HEAD = """
import json, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "castpool":
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Refuse())
try:
    import castpool
except ModuleNotFoundError:
    print("castpool is missing")
import pandas as pd
from neuralforecast import NeuralForecast
"""


def run_without_castpool(code: str, folder: Path) -> pd.DataFrame:
    """Run lines in a folder of a result; return the frame that they call ``forecast``."""
    code = f"{HEAD}{code}\nforecast.to_csv('again.csv', index=False)"
    ran = subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "castpool is missing" in ran.stdout
    return pd.read_csv(folder / "again.csv", parse_dates=["ds"], dtype={"unique_id": str})
