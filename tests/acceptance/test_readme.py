"""The README's commands run as they stand, on data of the kind that they speak of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.acceptance.conftest import monthly

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
OPTION = r"(?<![\w-])--[a-z][a-z-]+"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    monthly(2, length=96).to_csv(folder / "sales.csv", index=False)
    (folder / "sales.yaml").write_text(blocks("yaml")[0])
    return folder


def run(command: str, folder: Path, database: str) -> str:
    # `castpool` is the one beside this interpreter, as in an activated environment.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CASTPOOL_STORAGE": database}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def test_the_shell_commands(folder: Path, database: str) -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) >= 6
    printed = {command: run(command, folder, database) for command in commands}
    assert "6/6 trials" in printed["castpool status"]
    assert "sampler: NumberedQMC until 4 trials have ended, then CurveGP" in printed["castpool best"]
    assert "rule: GP" in printed["castpool explain sales.csv --model NHITS --horizon 12 --trials 60"]
    assert len((folder / "next-year.csv").read_text().splitlines()) == 1 + 2 * 12
    assert (folder / "castpool-out" / "sales-NHITS-h12" / "report.html").is_file()
    assert "NHITS-median" in (folder / "castpool-out" / "sales-NHITS-h12" / "forecast.csv").read_text()


def test_the_python(folder: Path, database: str) -> None:
    (folder / "readme.py").write_text(blocks("python")[0])
    assert "MLP" in run(f"{sys.executable} readme.py", folder, database)


def test_scaling_out(folder: Path, database: str) -> None:
    section = README.split("## Scale out")[1].split("##")[0]
    commands = [line.split("#")[0].strip() for line in section.splitlines() if line.startswith("    castpool")]
    assert [command.split()[1] for command in commands] == ["create", "pool", "worker", "result"]
    for command in commands:
        # Two workers here; eight on eight cores. The last commands find the study done.
        run(
            re.sub(
                "castpool (worker|result)",
                r"castpool \1 sales-NHITS-h12",
                command.replace("--workers 8", "--workers 2"),
            ),
            folder,
            database,
        )
    assert "4/4 trials" in run("castpool status sales-NHITS-h12", folder, database)
    assert (folder / "castpool-out" / "sales-NHITS-h12" / "forecast.png").is_file()


def test_what_make_is_said_to_do_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^    make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
    assert "castpool tune --demo --workers 2" in makefile


def test_every_command_is_in_the_readme_and_every_option_that_it_names_exists() -> None:
    from typer.main import get_command

    from workers.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    options = {"--help"}
    for name in commands:
        assert f"castpool {name}" in README
        shown = CliRunner().invoke(app, [name, "--help"]).stdout
        options |= set(re.findall(OPTION, shown))
    ours = "\n".join(line for line in README.splitlines() if not line.startswith("docker "))
    for option in re.findall(OPTION, ours):
        assert option in options, option
