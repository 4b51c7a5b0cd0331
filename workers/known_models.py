"""The catalogue of models, kept between commands: reading it from neuralforecast's classes takes seconds."""

from __future__ import annotations

import json
import os
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

import platformdirs

from sampler_policies.catalogue import ModelEntry, entry, find_name, names
from sampler_policies.errors import InputError, did_you_mean

# Goes up whenever an entry says something new.
FORMAT = 2


@cache
def known_models() -> dict[str, ModelEntry]:
    """Return every model of the installed neuralforecast by its name; from the last reading where there is one."""
    path = _path()
    try:
        stored = json.loads(path.read_text())
        if not isinstance(stored, list) or not stored:
            raise ValueError(f"{path} holds no list of models")
        return {own["name"]: ModelEntry.from_json(own) for own in stored}
    except (OSError, ValueError, TypeError, KeyError):
        # Not there yet, half written by an older castpool, or of another shape: it is read anew.
        entries = {name: entry(name) for name in names()}
    _keep(path, json.dumps([own.to_json() for own in entries.values()]))
    return entries


def known_model(written: str) -> ModelEntry:
    """Return the model of that name without importing neuralforecast, where the catalogue is kept.

    Raises:
        InputError: no such model, or one without a search space of its own.
    """
    models = known_models()
    found = find_name(written, tuple(models))
    if found is not None:
        return models[found]
    if "hint" in written.lower():
        return entry(written)  # which knows why not
    raise InputError("model", repr(written), did_you_mean(written, models))


def _path() -> Path:
    folder = platformdirs.user_cache_path("castpool")
    return folder / f"models-{version('neuralforecast')}-{FORMAT}.json"


def _keep(path: Path, content: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: another command may be reading.
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(content)
        os.replace(file.name, path)
    except OSError:
        return  # a cache that cannot be kept costs seconds and nothing else
