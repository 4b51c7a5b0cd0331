"""A study is made: from a spec and a table to a checked draft, and from the draft to rows in the storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.rules.choose_verification import SHARE
from castpool.storage.budget.kinds import KINDS
from castpool.storage.files import datasets
from castpool.storage.files.artifacts import open_artifacts
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy, create_or_resume, find_study, refuse_conflict
from castpool.workers.planning.build_check import check_job
from castpool.workers.planning.model_cache import known_model
from castpool.workers.planning.plan_study import plan_study
from castpool.workers.planning.study_note import write_note
from castpool.workers.spec.job import Job
from castpool.workers.spec.python_objects import PythonObjects
from castpool.workers.spec.study_spec import OF_THIS_RUN, StudySpec


@dataclass(frozen=True)
class Draft:
    """A study that has passed every check and is not yet written to the storage.

    ``draft_again`` makes it with another holdout; None where the user has set the holdout.
    """

    job: Job
    payload: bytes
    name: str
    draft_again: Callable[[int], Draft] | None = field(default=None, repr=False, compare=False)

    @property
    def dataset(self) -> str:
        """The SHA-256 of the data, under which the storage keeps them."""
        return datasets.sha256_of(self.payload)


def draft_study(
    spec: StudySpec,
    table: pd.DataFrame | None = None,
    *,
    objects: PythonObjects | None = None,
    base_space: Mapping[str, Any] | None = None,
    checked: Callable[[Job], list[str]] = check_job,
) -> Draft:
    """Check everything that can be checked before anything is written, and decide.

    Args:
        spec: the study to make.
        table: the data; by default the file that the spec names is read.
        objects: Python objects that replace what the spec would name.
        base_space: a configuration of Ray domains that replaces the Auto class's default space.
        checked: `check_job`, or a function that calls it in another process.

    Raises:
        InputError: the first value that cannot work, in one sentence.
    """
    objects = objects or PythonObjects()
    if len(spec.objectives) > 1:
        remedy = "write one: several objectives can be explained, but not tuned yet."
        raise InputError("objectives", ", ".join(spec.objectives), remedy)
    model = known_model(spec.model)
    planned = plan_study(spec, model, table, base_space=base_space, space_is_function=objects.config is not None)
    job = Job(planned.spec, planned.plan, model, planned.series, objects)
    if spec.backend == "ray" and job.plan.space is None:
        remedy = "a configuration function needs Optuna's trials: write optuna, or the configuration as a dictionary."
        raise InputError("backend", "ray", remedy)
    warnings = checked(replace(job, series=job.series.outline))
    job = replace(job, plan=replace(job.plan, warnings=(*job.plan.warnings, *warnings)))
    payload = planned.series.to_parquet()

    def draft_again(holdout: int) -> Draft:
        changed = spec.model_copy(update={"holdout": holdout})
        return draft_study(changed, table, objects=objects, base_space=base_space, checked=checked)

    name = spec.name or _default_name(planned.spec, payload)
    return Draft(job, payload, name, draft_again if spec.holdout is None else None)


def with_stored_holdout(store: Store, draft: Draft) -> Draft:
    """Return the draft with the holdout of the stored study of this name, unless the user has set another.

    A study that an older castpool made has none: the same command resumes it as it is.
    """
    stored = find_study(store, draft.name)
    if stored is None or draft.draft_again is None:
        return draft
    holdout = int(stored.identity.get("holdout", 0))
    return draft if holdout == draft.job.spec.holdout else draft.draft_again(holdout)


def save_study(store: Store, draft: Draft) -> StoredStudy:
    """Write the study, or return the stored study of this name where it has the same configuration.

    Raises:
        StudyConflictError: a study of this name exists with a different configuration.
        ArtifactURLError: the spec's location for checkpoints cannot be used.
    """
    spec, plan = draft.job.spec, draft.job.plan
    open_artifacts(store.engine, spec.artifacts)
    identity = spec.identity(draft.dataset)
    refuse_conflict(store, draft.name, identity)
    datasets.put(store.engine, draft.payload)
    stored = create_or_resume(
        store,
        draft.name,
        # A worker elsewhere has its own storage URL, ports and folders; the hierarchy is kept with the data.
        spec=spec.model_dump(mode="json", exclude={*OF_THIS_RUN, "hierarchy"}),
        identity=identity,
        plan={**plan.to_json(), "needs": draft.job.objects.names},
        dataset=draft.dataset,
        trials=spec.trials,
        first_params=plan.default,
        limits={kind.name: getattr(spec, kind.field) for kind in KINDS},
        reserved_share=SHARE if plan.is_evaluated else 0.0,
        evaluates=plan.is_evaluated,
    )
    write_note(store, stored)
    return stored


def _default_name(spec: StudySpec, payload: bytes) -> str:
    data = Path(spec.data).name.split(".")[0] if spec.data else f"data-{datasets.sha256_of(payload)[:8]}"
    return f"{data}-{spec.model}-h{spec.horizon}"
