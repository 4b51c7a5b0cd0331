"""The kept catalogue: the same as a fresh one, and no trouble when it is broken or cannot be kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.spaces.model_catalogue import entry, names
from castpool.workers.planning import model_cache
from castpool.workers.planning.model_cache import known_model


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model_cache.known_models.cache_clear()
    yield tmp_path / "castpool"
    model_cache.known_models.cache_clear()


def again() -> dict[str, object]:
    model_cache.known_models.cache_clear()
    return dict(model_cache.known_models())


def test_what_is_kept_is_what_was_read(cache: Path) -> None:
    fresh = dict(model_cache.known_models())
    assert fresh == {name: entry(name) for name in names()}
    (kept,) = cache.iterdir()
    assert kept.name.startswith("models-3.")
    assert again() == fresh


@pytest.mark.parametrize("content", [b"", b"[", b"[{}]", b"{}", b'[{"name": "NHITS"}]', b"\xff\xfe"])
def test_a_broken_file_is_read_anew_and_mended(cache: Path, content: bytes) -> None:
    model_cache.known_models()
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(content)
    assert set(again()) == set(names())
    assert kept.read_bytes() == whole


def test_a_folder_that_cannot_be_made_costs_nothing_else(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    assert set(again()) == set(names())


def test_models_are_found_as_in_the_catalogue() -> None:
    assert known_model("autonhits") == entry("NHITS")
    assert known_model("Autoformer").name == "Autoformer"
    for written in ("NHIT", "AutoHINT", "Prophet"):
        with pytest.raises(InputError) as kept:
            known_model(written)
        with pytest.raises(InputError) as read:
            entry(written)
        assert str(kept.value) == str(read.value)
