"""Making a study: from a spec and a table to a checked job, and from that to rows in the storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sampler_policies.errors import InputError
from storage import datasets
from storage.artifacts import open_artifacts
from storage.store import Store
from storage.studies import StoredStudy, create_or_resume, refuse_conflict
from workers.checks import check_job
from workers.extras import Extras
from workers.job import Job
from workers.known_models import known_model
from workers.notes import write_note
from workers.planning import plan_study
from workers.spec import OF_THIS_RUN, StudySpec


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
    checked: Callable[[Job], list[str]] = check_job,
) -> Draft:
    """Check everything that can be checked before anything is written, and decide.

    Args:
        spec: what the user asked for.
        table: the data, where it is not the file that the spec names.
        extras: Python objects in place of what the spec would name.
        base_space: a configuration of Ray domains in place of the Auto class's own.
        checked: `check_job`, here or elsewhere.

    Raises:
        InputError: the first thing that cannot work, in one sentence.
    """
    extras = extras or Extras()
    if len(spec.objectives) > 1:
        remedy = "write one: several objectives can be explained, but not tuned yet."
        raise InputError("objectives", ", ".join(spec.objectives), remedy)
    model = known_model(spec.model)
    planned = plan_study(spec, model, table, base_space=base_space, space_is_function=extras.config is not None)
    job = Job(planned.spec, planned.plan, model, planned.series, extras)
    if spec.backend == "ray" and job.plan.space is None:
        remedy = "a configuration function needs Optuna's trials: write optuna, or the configuration as a dictionary."
        raise InputError("backend", "ray", remedy)
    warnings = checked(replace(job, series=job.series.outline))
    job = replace(job, plan=replace(job.plan, warnings=(*job.plan.warnings, *warnings)))
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
