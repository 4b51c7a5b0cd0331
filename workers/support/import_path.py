"""Where Python looks for modules: in this process, and in the processes that it starts.

The current directory may hold files called like modules of Python, of PyTorch or of castpool (``random.py``,
``torch.py``). No process that castpool starts finds those first. A user's own class, as in ``--sampler mine:Sampler``,
is found in a folder at the end of the path.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import util
from pathlib import Path
from typing import Any

from castpool.sampler_policies.errors import InputError

# Removes the current directory, which `python -c` puts first, before anything is imported but what is built in.
PREFIX = "import sys; sys.path[:] = [folder for folder in sys.path if folder]; "
CLASS_FIELDS = ("sampler", "pruner", "searcher", "scheduler")


@contextmanager
def importing_from(folder: str | Path | None, spec: Any = None) -> Iterator[None]:
    """Find modules in a folder too, for the block, in this process and in those that it starts: after all others.

    Args:
        folder: the folder; None is the current directory if the spec names a class by its import path, else none.
        spec: the `StudySpec` that this command tunes, of a layer above.

    Raises:
        InputError: there is no such folder.
    """
    if folder is not None and not Path(folder).is_dir():
        raise InputError("import_from", repr(str(folder)), "write the path of a folder that exists.")
    if folder is None and spec is not None and _names_import_path(spec):
        folder = Path()
    if folder is None:
        yield
        return
    added = str(Path(folder).resolve())
    sys.path.append(added)
    try:
        yield
    finally:
        # The last of its kind: the path may have held the folder before.
        del sys.path[len(sys.path) - 1 - sys.path[::-1].index(added)]


def _names_import_path(spec: Any) -> bool:
    names = [name for field in CLASS_FIELDS for name in _class_names(getattr(spec, field))]
    if not names:
        return False  # without a second of importing Optuna
    from castpool.sampler_policies.class_lookup import is_import_path

    return any(map(is_import_path, names))


def _class_names(value: Any) -> Iterator[str]:
    """Return the names of the classes in a field, those of wrapped pruners and of a sampler's phases among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _class_names(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _class_names(inner)


@contextmanager
def safe_import_path() -> Iterator[None]:
    """Start processes by `multiprocessing` in the block that do not look for modules in the current directory first.

    A process that runs ``python -c`` would: the fork server, the resource tracker and spawned processes do. Each takes
    over this process's path afterwards, where a notebook or ``python -c`` has the current directory first too.
    """
    start, path = util.spawnv_passfds, sys.path

    def start_safely(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
        safe = list(args)
        code = safe.index("-c") + 1
        safe[code] = PREFIX + safe[code]
        return start(path, safe, passfds)

    util.spawnv_passfds = start_safely
    sys.path = _current_directory_last(path)
    try:
        yield
    finally:
        util.spawnv_passfds, sys.path = start, path


def _current_directory_last(path: Sequence[str]) -> list[str]:
    """Return the path with the current directory at its end, unless the user put that on PYTHONPATH."""
    chosen = [os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    here = os.getcwd()
    is_last = [not folder or (os.path.abspath(folder) == here and here not in chosen) for folder in path]
    first = [folder for folder, is_moved in zip(path, is_last, strict=True) if not is_moved]
    return [*first, here] if any(is_last) else first
