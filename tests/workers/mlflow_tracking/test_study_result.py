"""The verdict as metrics and tags of an MLflow run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from sqlalchemy.engine import Engine

from castpool.storage.files.attachments import attach_files, list_attachments
from castpool.storage.store import Store
from castpool.workers.evaluation.verdict import Comparison, Competitor, Verdict
from castpool.workers.mlflow_tracking.study_result import ResultReader, result_tags, verdict_metrics
from tests.storage.helpers import make_study
from tests.workers.evaluation.test_verdict import verdicts

# What MLflow accepts in a name (https://mlflow.org/docs/latest/rest-api.html#log-metric).
VALID = re.compile(r"[\w\-./ :]{1,250}")


def verdict_of(naive: float) -> Verdict:
    """A verdict in which the delivered forecast has an error of 90, and seasonal naive has this one."""
    competitors = [
        Competitor("single best", "winner", "", {"mae": 90.0, "coverage_level80": 0.75}, 12.5, 3.5),
        Competitor("default configuration", "default", "", {"mae": 95.0}),
        Competitor("seasonal naive", "baseline", "", {"mae": naive}),
        Competitor("my model: v2 (local)", "baseline", "", {"mae": 120.0}),
    ]
    comparisons = [
        Comparison("default configuration", 1 - 90 / 95, -0.01, 0.1),
        Comparison("seasonal naive", 1 - 90 / naive, None, None),
        Comparison("my model: v2 (local)", 0.25, 0.2, 0.3),
    ]
    return Verdict("mae", 60, 2, 24, "single best", competitors, comparisons)


def test_metrics_are_named_after_the_kind_or_the_baseline() -> None:
    assert verdict_metrics(verdict_of(naive=100.0)) == {
        "holdout.mae.winner": 90.0,
        "holdout.coverage_level80.winner": 0.75,
        "holdout.latency_ms.winner": 12.5,
        "holdout.model_mb.winner": 3.5,
        "holdout.mae.default": 95.0,
        "holdout.mae.seasonal_naive": 100.0,
        "holdout.mae.my_model_v2_local_": 120.0,
        "holdout.gain.default": pytest.approx(5 / 95),
        "holdout.gain_low.default": -0.01,
        "holdout.gain_high.default": 0.1,
        "holdout.gain.seasonal_naive": pytest.approx(0.1),
        "holdout.gain.my_model_v2_local_": 0.25,
        "holdout.gain_low.my_model_v2_local_": 0.2,
        "holdout.gain_high.my_model_v2_local_": 0.3,
    }


@given(verdict=verdicts())
def test_every_number_of_a_verdict_is_a_metric_under_a_valid_name(verdict: Verdict) -> None:
    metrics = verdict_metrics(verdict)
    numbers = [value for each in verdict.competitors for value in each.metrics.values()]
    numbers += [
        value for each in verdict.competitors for value in (each.latency_ms, each.model_mb) if value is not None
    ]
    numbers += [
        end for each in verdict.comparisons for end in (each.gain, each.low, each.high) if end is not None
    ]  # fmt: skip
    assert sorted(metrics.values()) == sorted(numbers)
    assert all(VALID.fullmatch(name) for name in metrics)


@pytest.mark.parametrize(
    ("best", "tags"),
    [
        ({}, {}),
        ({"verdict": None}, {"castpool.verdict": "none: the holdout was not judged", "castpool.delivered": ""}),
        ({"members": [{"name": "NHITS", "weight": 1.0}]}, {"castpool.members": '{"NHITS": 1.0}'}),
    ],
)
def test_what_a_result_lacks_is_no_tag(best: dict[str, Any], tags: dict[str, str]) -> None:
    assert result_tags(best) == tags


def test_the_sentence_is_a_tag() -> None:
    verdict = replace(verdict_of(naive=100.0), comparisons=verdict_of(naive=100.0).comparisons[:2])
    tags = result_tags({"verdict": verdict.to_json()})
    assert tags["castpool.verdict"].startswith(
        "better than seasonal naive by 10 %, better than the default configuration"
    )
    assert tags["castpool.delivered"] == "single best"


def test_the_result_is_read_once_for_each_content(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from castpool.workers.mlflow_tracking import study_result

    study, reads = make_study(store, "air"), 0
    read = study_result.read_attachment

    def counted(engine: Engine, file: Any) -> bytes:
        nonlocal reads
        reads += 1
        return read(engine, file)

    monkeypatch.setattr(study_result, "read_attachment", counted)
    reader = ResultReader(store.engine)
    assert reader.read(list_attachments(store.engine, study.study_id)) is None
    for value in (1.0, 2.0):
        attach_files(store.engine, study.study_id, {"best.json": json.dumps({"value": value}).encode()})
        files = list_attachments(store.engine, study.study_id)
        assert [reader.read(files), reader.read(files)] == [{"value": value}] * 2
    assert reads == 2
    # A file that was replaced after it was listed is read the next time.
    attach_files(store.engine, study.study_id, {"best.json": b'{"value": 3.0}'})
    replaced = list_attachments(store.engine, study.study_id)
    attach_files(store.engine, study.study_id, {"best.json": b'{"value": 4.0}'})
    assert reader.read(replaced) == {"value": 2.0}
    assert reader.read(list_attachments(store.engine, study.study_id)) == {"value": 4.0}
