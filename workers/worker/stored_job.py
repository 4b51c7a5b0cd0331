"""The job of a stored study, rebuilt in another process than the one that created the study."""

from __future__ import annotations

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.plan import Plan
from castpool.storage.files import datasets
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from castpool.workers.data.series_dataset import Series
from castpool.workers.spec.job import Job
from castpool.workers.spec.python_objects import PythonObjects
from castpool.workers.spec.study_spec import spec_of


def load_job(store: Store, stored: StoredStudy, objects: PythonObjects | None = None) -> Job:
    """Rebuild the study's job from the storage.

    Raises:
        InputError: the study needs Python objects that this worker was not given.
    """
    objects = objects or PythonObjects()
    missing = sorted(set(stored.plan.get("needs", ())) - set(objects.names))
    if missing:
        raise InputError(
            "study",
            f"{stored.name!r}, made in Python with a custom {' and a custom '.join(missing)}",
            "run the same Python again to resume it.",
        )
    series = Series.from_parquet(datasets.get(store.engine, stored.dataset))
    return Job.make(spec_of(stored), Plan.from_json(stored.plan), series, objects)
