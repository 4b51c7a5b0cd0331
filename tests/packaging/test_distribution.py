"""What is installed: one import name, with all the code that lies behind the package's symbolic links."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
ROOMS = ("sampler_policies", "storage", "workers")
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "castpool", *ROOMS)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the distribution is built from, without caches, links kept as links."""
    folder = tmp_path_factory.mktemp("clone")
    for name in BUILT_FROM:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def expected_files() -> set[str]:
    """The package's files as an installation has them."""
    files = {f"castpool/{path.name}" for path in (CHECKOUT / "castpool").iterdir() if path.is_file()}
    for room in [path.name for path in (CHECKOUT / "castpool").iterdir() if path.is_dir()]:
        modules = (CHECKOUT / "castpool" / room).resolve().rglob("*.py")
        root = (CHECKOUT / "castpool" / room).resolve()
        files |= {f"castpool/{room}/{path.relative_to(root).as_posix()}" for path in modules}
    return files


def test_pip_installs_one_import_name(clone: Path, tmp_path: Path) -> None:
    target = tmp_path / "site-packages"
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--target", str(target)]
    ran = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, str(clone)], capture_output=True, text=True, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    names = {path.name for path in target.iterdir() if path.suffix != ".dist-info"} - {"bin"}
    assert names == {"castpool"}
    installed = {path.relative_to(target).as_posix() for path in (target / "castpool").rglob("*") if path.is_file()}
    assert {path for path in installed if "__pycache__" not in path} == expected_files()
    assert "castpool/py.typed" in installed


def test_a_wheel_built_from_the_source_distribution_has_the_code(clone: Path, tmp_path: Path) -> None:
    build = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
    subprocess.run(
        [sys.executable, "-c", build, "build_sdist", str(tmp_path)], cwd=clone, capture_output=True, check=True
    )
    (archive,) = tmp_path.glob("castpool-*.tar.gz")
    shutil.unpack_archive(archive, tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    subprocess.run(
        [sys.executable, "-c", build, "build_wheel", str(tmp_path)], cwd=source, capture_output=True, check=True
    )
    (wheel,) = tmp_path.glob("castpool-*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected_files()


def test_the_image_gets_every_folder_of_the_code() -> None:
    copied = [line.split()[1] for line in (CHECKOUT / "Dockerfile").read_text().splitlines() if line[:5] == "COPY "]
    context = (CHECKOUT / ".dockerignore").read_text().split()
    for name in ("castpool", *ROOMS):
        assert name in copied
        assert f"!{name}" in context
