"""The commands of the README and of the guides run as written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
TUNING, RAY, DEPLOY = ((ROOT / "docs" / f"{page}.md").read_text() for page in ("tuning", "ray", "deploy"))
PAGES = [path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))]
OPTION = r"(?<![\w-])--[a-z][a-z-]+"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").mkdir()
    for place in (folder, folder / "examples"):
        shutil.copy(ROOT / "examples" / "sales.csv", place)
    (folder / "sales.yaml").write_text(blocks(TUNING, "yaml")[0])
    return folder


def run(command: str, folder: Path, database: str) -> str:
    # `castpool` is the one beside this interpreter, as in an activated environment.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CASTPOOL_STORAGE": database}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def quickstart() -> tuple[str, list[str]]:
    """Return the README's first command, and the decisions that it is said to print."""
    typed, shown = blocks(README, "text")[:2]
    (command,) = [line for line in typed.splitlines() if line.startswith("castpool")]
    decisions = shown.split("\ntrial ")[0].splitlines()
    assert len(decisions) >= 20
    # The storage's address differs from database to database.
    return command, [line for line in decisions if "study sales-NHITS-h12 in" not in line]


def test_the_quickstart_decides_what_the_readme_shows(folder: Path, database: str) -> None:
    command, decisions = quickstart()
    printed = run(command.replace("castpool tune", "castpool explain"), folder, database)
    # Only `tune` needs workers, and notes what it infers.
    missing = [line for line in decisions if line.strip() not in printed]
    assert [line for line in missing if not line.startswith(("workers:", "freq:"))] == []


@pytest.mark.slow
def test_the_quickstart_prints_what_the_readme_shows(folder: Path, database: str) -> None:
    command, decisions = quickstart()
    printed = run(f"{command} 2>&1", folder, database)
    assert [line for line in decisions if line not in printed] == []
    assert (folder / "castpool-out" / "sales-NHITS-h12" / "report.html").is_file()


def test_the_first_shell_commands(folder: Path, database: str) -> None:
    commands = blocks(TUNING, "sh")[0].splitlines()
    assert len(commands) == 5
    printed = {command: run(command, folder, database) for command in commands}
    assert "6/6 trials" in printed["castpool status"]
    assert "sampler: IndexedQMC until 4 trials have ended, then CurveGP" in printed["castpool best"]
    assert len((folder / "next-year.csv").read_text().splitlines()) == 1 + 2 * 12


@pytest.mark.slow
def test_the_other_shell_commands(folder: Path, database: str) -> None:
    commands = [line for block in blocks(TUNING, "sh")[1:] for line in block.splitlines()]
    assert len(commands) >= 9
    printed = {command: run(command, folder, database) for command in commands}
    assert "rule: GP" in printed["castpool explain sales.csv --model NHITS --horizon 12 --trials 60"]
    assert "-median" in (folder / "castpool-out" / "sales-NHITS-h12" / "forecast.csv").read_text()


@pytest.mark.slow
def test_the_shell_commands_with_ray(folder: Path, database: str) -> None:
    commands = [line for block in blocks(RAY, "sh") for line in block.splitlines()]
    assert commands
    for command in commands:
        run(command, folder, database)
    assert "4/4 trials" in run("castpool status by-ray", folder, database)


@pytest.mark.parametrize("page", [README, pytest.param(TUNING, marks=pytest.mark.slow)], ids=["README", "tuning"])
def test_the_python(page: str, folder: Path, database: str) -> None:
    (folder / "example.py").write_text(blocks(page, "python")[0])
    assert "MLP" in run(f"{sys.executable} example.py", folder, database)


@pytest.mark.slow  # `test_foreign_code.py` runs these commands too
def test_scaling_out(folder: Path, database: str) -> None:
    section = DEPLOY.split("## Without Docker")[1].split("##")[0]
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

    from castpool.workers.cli.app import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    options = {"--help"}
    for name in commands:
        assert f"castpool {name}" in README
        shown = CliRunner().invoke(app, [name, "--help"]).stdout
        options |= set(re.findall(OPTION, shown))
    for page in PAGES:
        for line in page.splitlines():
            if re.search(r"castpool|^\| .*`--", line) and not re.search("docker|kubectl|python -m|pg_dump", line):
                assert set(re.findall(OPTION, line)) <= options, line


def test_every_link_leads_to_a_file() -> None:
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150
