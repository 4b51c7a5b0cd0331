"""The result of a study in MLflow: the verdict as metrics and tags of the study's run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from optuna.artifacts.exceptions import ArtifactNotFound
from sqlalchemy.engine import Engine

from castpool.storage.files.attachments import Attachment, read_attachment
from castpool.storage.study.snapshot import Snapshot
from castpool.workers.evaluation.verdict import Competitor, Verdict
from castpool.workers.evaluation.verdict_text import format_sentence
from castpool.workers.results.output_files import BEST_FILE

if TYPE_CHECKING:
    from mlflow.entities import Metric

# MLflow accepts these in the name of a metric, and spaces, colons and slashes, by which its pages group metrics.
_REFUSED = re.compile(r"[^\w\-.]+")


class ResultReader:
    """Reads ``best.json`` from a study's files, once for each content."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._digest = ""
        self._best: Mapping[str, Any] | None = None

    def read(self, files: Sequence[Attachment]) -> Mapping[str, Any] | None:
        """Return the content of ``best.json``; None before there is a result."""
        for file in files:
            if file.name == BEST_FILE and file.digest != self._digest:
                # A file that was replaced in between is read the next time.
                with suppress(ArtifactNotFound):
                    self._best = json.loads(read_attachment(self._engine, file))
                    self._digest = file.digest
        return self._best


def result_metrics(best: Mapping[str, Any], view: Snapshot) -> list[Metric]:
    """Return the verdict as metrics; none where there is no verdict.

    Their time is the end of the best trial. Their step is the number of trials: a later result of the same study counts
    more, and MLflow shows the value of the last step.

    Args:
        best: the content of ``best.json``.
        view: the present state of the study.
    """
    from mlflow.entities import Metric

    if best.get("verdict") is None:
        return []
    ended = next((trial.ended_at for trial in view.trials if trial.number == best["trial"]), None)
    at, step = 0 if ended is None else int(ended.timestamp() * 1000), sum(best["trials"].values())
    values = verdict_metrics(Verdict.from_json(best["verdict"]))
    return [Metric(name, value, at, step) for name, value in values.items()]


def verdict_metrics(verdict: Verdict) -> dict[str, float]:
    """Return what the holdout says, by names that are the same in each study.

    ``holdout.mae.ensemble`` is a metric of a competitor, so are its ``latency_ms`` and ``model_mb``;
    ``holdout.gain.default`` is the gain over it as a share, ``gain_low`` and ``gain_high`` the ends of its interval.
    """
    names = {competitor.name: _metric_name(competitor) for competitor in verdict.competitors}
    values: dict[str, float | None] = {}
    for competitor in verdict.competitors:
        measured = {**competitor.metrics, "latency_ms": competitor.latency_ms, "model_mb": competitor.model_mb}
        values |= {f"holdout.{metric}.{names[competitor.name]}": value for metric, value in measured.items()}
    for comparison in verdict.comparisons:
        ends = {"gain": comparison.gain, "gain_low": comparison.low, "gain_high": comparison.high}
        values |= {f"holdout.{end}.{names[comparison.against]}": value for end, value in ends.items()}
    return {name: value for name, value in values.items() if value is not None}


def result_tags(best: Mapping[str, Any]) -> dict[str, str]:
    """Return the verdict's sentence, the name of what is delivered, and the weights of the members.

    Args:
        best: the content of ``best.json``; one that an older castpool wrote has none of these.
    """
    tags = {}
    if "verdict" in best:
        verdict = Verdict.from_json(best["verdict"]) if best["verdict"] is not None else None
        tags["castpool.verdict"] = "none: the holdout was not judged" if verdict is None else format_sentence(verdict)
        tags["castpool.delivered"] = "" if verdict is None else verdict.chosen
    if "members" in best:
        tags["castpool.members"] = json.dumps({member["name"]: member["weight"] for member in best["members"]})
    return tags


def _metric_name(competitor: Competitor) -> str:
    """Return the kind, of which there is one each; of a baseline its name."""
    return _REFUSED.sub("_", competitor.name if competitor.kind == "baseline" else competitor.kind)
