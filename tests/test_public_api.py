"""The public API: what `castpool` exports, that the import is quick, one tree of exceptions, types from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import castpool
import castpool.errors

HEAVY = {"pandas", "optuna", "torch", "sqlalchemy", "pydantic", "neuralforecast", "numpy", "mlflow"}
EXCEPTIONS = sorted(name for name in castpool.__all__ if name.endswith("Error"))


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import sys, castpool; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(ran.stdout.split())


def test_all_names_are_there_with_a_docstring() -> None:
    assert sorted(castpool.__all__) == sorted({*castpool._MODULES, "__version__"})
    assert dir(castpool) == sorted(castpool.__all__)
    for name in set(castpool.__all__) - {"__version__"}:
        exported = getattr(castpool, name)
        assert exported.__doc__, name
        assert exported.__name__ == name
    assert castpool.__version__ == version("castpool")
    with pytest.raises(AttributeError, match="nothing"):
        castpool.nothing  # noqa: B018


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_every_exception_has_one_root_and_is_drawn_in_the_tree(name: str) -> None:
    exception = getattr(castpool, name)
    assert issubclass(exception, castpool.CastpoolError)
    drawn = [line for line in (castpool.errors.__doc__ or "").splitlines() if name in line.split()]
    assert len(drawn) == 1
    code = getattr(exception, "exit_code", None)
    if code is not None:
        assert drawn[0].split(name)[1].split()[0].rstrip(":") == str(code)


def test_no_exception_that_a_user_may_see_is_missing() -> None:
    drawn = {word for word in (castpool.errors.__doc__ or "").split() if word.endswith("Error")}
    assert drawn - {"ValueError", "RuntimeError", "LeaseLostError"} == set(EXCEPTIONS)


@pytest.mark.slow
def test_mypy_sees_its_types_from_outside(tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text(
        "import castpool\n"
        "def train() -> castpool.Result:\n"
        "    try:\n"
        "        return castpool.tune('sales.csv', 'NHITS', horizon=12)\n"
        "    except castpool.CastpoolError:\n"
        "        raise\n"
        "reveal_type(train().out)\n"
        "castpool.tune(3.5)\n"
    )
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--ignore-missing-imports", "outside.py"]
    environment = {**os.environ, "MYPYPATH": str(Path(castpool.__path__[0]).parent)}  # no editable install is seen
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert 'outside.py:7: note: Revealed type is "pathlib.Path"' in ran.stdout, ran.stdout + ran.stderr
    assert ran.stdout.count(": error:") == 1
    assert 'outside.py:8: error: Argument 1 to "tune" has incompatible type "float"' in ran.stdout
