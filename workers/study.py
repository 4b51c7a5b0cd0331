"""Making a study: from a spec and a table to a checked job, and from that to rows in the storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from sampler_policies.catalogue import entry
from sampler_policies.errors import InputError
from storage import datasets
from storage.artifacts import open_artifacts
from storage.store import Store
from storage.studies import StoredStudy, create_or_resume, refuse_conflict
from workers.extras import Extras
from workers.hierarchy import reconciled
from workers.losses import build_loss
from workers.notes import write_note
from workers.objective import Job, build_model, configure
from workers.planning import plan_study
from workers.spec import OF_THIS_RUN, StudySpec

SAMPLED_BUILDS = 8


@dataclass(frozen=True)
class Draft:
    """A study that has passed every check and is written nowhere yet."""

    job: Job
    payload: bytes
    name: str

    @property
    def dataset(self) -> str:
        """The hash that the data will be kept under."""
        return datasets.sha256_of(self.payload)


def draft_study(
    spec: StudySpec,
    table: pd.DataFrame | None = None,
    *,
    extras: Extras | None = None,
    base_space: Mapping[str, Any] | None = None,
) -> Draft:
    """Check everything that can be checked before anything is written.

    Args:
        spec: what the user asked for.
        table: the data, where it is not the file that the spec names.
        extras: Python objects in place of what the spec would name.
        base_space: a configuration of Ray domains in place of the Auto class's own.

    Raises:
        InputError: the first thing that cannot work, in one sentence.
    """
    extras = extras or Extras()
    if len(spec.objectives) > 1:
        remedy = "write one: several objectives can be explained, but not tuned yet."
        raise InputError("objectives", ", ".join(spec.objectives), remedy)
    model = entry(spec.model)
    if extras.loss is None:
        build_loss("loss", spec.loss)
    planned = plan_study(spec, model, table, base_space=base_space, space_is_function=extras.config is not None)
    job = Job.make(planned.spec, planned.plan, planned.series, extras)
    if spec.backend == "ray" and job.plan.space is None:
        remedy = "a configuration function needs Optuna's trials: write optuna, or the configuration as a dictionary."
        raise InputError("backend", "ray", remedy)
    _refuse_impossible_model(job)
    warnings = (*job.plan.warnings, *_what_models_refuse(job))
    job = replace(job, plan=replace(job.plan, warnings=warnings))
    payload = planned.series.to_parquet()
    return Draft(job, payload, spec.name or _name(planned.spec, payload))


def save_study(store: Store, draft: Draft) -> StoredStudy:
    """Write the study, or find it as it was written before.

    Raises:
        StudyConflictError: a study of this name whose trials mean something else.
        ArtifactURLError: its checkpoints cannot be kept where it says.
    """
    spec, plan = draft.job.spec, draft.job.plan
    open_artifacts(store.engine, spec.artifacts)
    identity = spec.identity(draft.dataset)
    refuse_conflict(store, draft.name, identity)
    datasets.put(store.engine, draft.payload)
    stored = create_or_resume(
        store,
        draft.name,
        # Where the study is kept and shown and where its files go is the business of whoever runs it.
        spec=spec.model_dump(mode="json", exclude={*OF_THIS_RUN, "hierarchy"}),
        identity=identity,
        plan={**plan.to_json(), "needs": draft.job.extras.names},
        dataset=draft.dataset,
        trials=spec.trials,
        first_params=plan.default,
        seconds=spec.time_budget,
        steps=spec.steps_budget,
    )
    write_note(store, stored)
    return stored


def _name(spec: StudySpec, payload: bytes) -> str:
    data = Path(spec.data).name.split(".")[0] if spec.data else f"data-{datasets.sha256_of(payload)[:8]}"
    return f"{data}-{spec.model}-h{spec.horizon}"


def _refuse_impossible_model(job: Job) -> None:
    # The defaults stand for all configurations: loss, columns and model are the same in each.
    trials = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials.enqueue_trial(dict(job.plan.default))
    config = configure(job, trials.ask())
    try:
        model = build_model(job, config, [])
        model.serialize()  # what cannot be saved is known now, not after the last trial
        if job.series.hierarchy is not None:
            reconciled(model, job.series.hierarchy, job.spec.reconciliation)
    except InputError:
        raise
    except Exception as error:
        remedy = f"neuralforecast refuses this combination: {_first_line(error)}"
        raise InputError("model", job.model.name, remedy) from error


def _what_models_refuse(job: Job) -> list[str]:
    """Return a warning where neuralforecast refuses some configurations of the space.

    Raises:
        InputError: it refuses every one that was tried.
    """
    if not job.spec.space:
        return []  # the model's own space is sound
    trials = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    refused: list[str] = []
    for _ in range(SAMPLED_BUILDS):
        config = configure(job, trials.ask())
        try:
            build_model(job, config, [])
        except Exception as error:
            refused.append(_first_line(error))
    if len(refused) == SAMPLED_BUILDS:
        remedy = f"neuralforecast refuses every configuration that was tried: {refused[0]}"
        raise InputError("space", ", ".join(job.spec.space), remedy)
    if not refused:
        return []
    return [f"neuralforecast refuses {len(refused)} of {SAMPLED_BUILDS} sampled configurations: {refused[0]}"]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
