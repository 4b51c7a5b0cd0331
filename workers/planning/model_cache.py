"""The model catalogue, cached on disk: reading it from neuralforecast's classes takes seconds."""

from __future__ import annotations

import json
import os
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

import platformdirs

from castpool.sampler_policies.errors import InputError, did_you_mean
from castpool.sampler_policies.spaces.model_catalogue import ModelEntry, entry, find_name, names

# Increase it when `ModelEntry` changes: a file of another format is not read.
FORMAT = 2


@cache
def known_models() -> dict[str, ModelEntry]:
    """Return every model of the installed neuralforecast by its name, from the cache file where there is one."""
    path = _cache_path()
    try:
        stored = json.loads(path.read_text())
        if not isinstance(stored, list) or not stored:
            raise ValueError(f"{path} holds no list of models")
        return {item["name"]: ModelEntry.from_json(item) for item in stored}
    except (OSError, ValueError, TypeError, KeyError):
        # Missing, damaged, or of another format: the classes are read again.
        entries = {name: entry(name) for name in names()}
    _write_cache(path, json.dumps([model.to_json() for model in entries.values()]))
    return entries


def known_model(written: str) -> ModelEntry:
    """Return the model of that name; neuralforecast is not imported where the catalogue is cached.

    Raises:
        InputError: there is no such model, or it has no search space.
    """
    models = known_models()
    found = find_name(written, tuple(models))
    if found is not None:
        return models[found]
    if "hint" in written.lower():
        return entry(written)  # raises with the remedy for HINT
    raise InputError("model", repr(written), did_you_mean(written, models))


def _cache_path() -> Path:
    folder = platformdirs.user_cache_path("castpool")
    return folder / f"models-{version('neuralforecast')}-{FORMAT}.json"


def _write_cache(path: Path, content: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Replaced in one step: another command may be reading.
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(content)
        os.replace(file.name, path)
    except OSError:
        return  # without the cache the next command takes seconds longer
