from __future__ import annotations

import pickle
import pkgutil
import subprocess
import sys

import pytest

from castpool import sampler_policies
from castpool.sampler_policies.errors import InputError, did_you_mean

MODELS = ("MLP", "NBEATS", "NHITS", "TFT")
# It imports torch; the Gaussian process loads it when it samples.
LATE = "castpool.sampler_policies.samplers.cost_aware_acquisition"
MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(sampler_policies.__path__, "castpool.sampler_policies.")
    if found.name != LATE
)


def test_the_message_is_field_value_and_remedy_in_one_sentence() -> None:
    assert str(InputError("horizon", 0, "write at least 1.")) == "horizon: got 0; write at least 1."


def test_the_parts_and_the_exit_code_can_be_read() -> None:
    error = InputError("horizon", 0, "write at least 1.")
    assert (error.field, error.got, error.remedy, error.exit_code) == ("horizon", 0, "write at least 1.", 2)


def test_the_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(InputError("horizon", 0, "write at least 1.")))
    assert isinstance(error, InputError)
    assert (str(error), error.field) == ("horizon: got 0; write at least 1.", "horizon")


@pytest.mark.parametrize("word", ["NHIT", "nhits", "HNITS", "n_hits"])
def test_a_near_word_is_suggested_whatever_its_case(word: str) -> None:
    assert did_you_mean(word, MODELS) == "did you mean 'NHITS'?"


@pytest.mark.parametrize("word", ["prophet", "", 7])
def test_all_words_are_listed_where_none_is_near(word: object) -> None:
    assert did_you_mean(word, reversed(MODELS)) == "write one of MLP, NBEATS, NHITS, TFT."


def loaded_by(modules: list[str]) -> set[str]:
    """Return the top-level packages that importing these modules brings into a fresh Python."""
    code = f"import sys, {', '.join(modules)}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return set(printed.split())


def test_errors_and_user_requests_cost_nothing_to_import() -> None:
    loaded = loaded_by(["castpool.sampler_policies.errors", "castpool.sampler_policies.user_request"])
    assert "castpool" in loaded
    assert not loaded & {"optuna", "numpy", "pandas", "torch", "ray", "neuralforecast"}


def test_no_policy_imports_what_takes_seconds() -> None:
    loaded = loaded_by(MODULES)
    assert "optuna" in loaded
    assert not loaded & {"torch", "ray", "pytorch_lightning", "neuralforecast", "sqlalchemy", "psycopg"}
