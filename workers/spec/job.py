"""The job: all that a process needs to train any trial of a study."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from castpool.sampler_policies.plan import Plan
from castpool.sampler_policies.spaces.model_catalogue import ModelEntry, entry
from castpool.workers.data.series_dataset import Series
from castpool.workers.spec.python_objects import PythonObjects
from castpool.workers.spec.study_spec import StudySpec

if TYPE_CHECKING:
    from neuralforecast.tsdataset import TimeSeriesDataset


@dataclass(frozen=True)
class Job:
    """The spec, plan, model, data and Python objects of one study."""

    spec: StudySpec
    plan: Plan
    model: ModelEntry
    series: Series
    objects: PythonObjects

    @classmethod
    def make(cls, spec: StudySpec, plan: Plan, series: Series, objects: PythonObjects | None = None) -> Job:
        """Return the job; its model's entry is read from neuralforecast's classes."""
        return cls(spec, plan, entry(spec.model), series, objects or PythonObjects())

    @cached_property
    def searched(self) -> Series:
        """The series that the search trains and validates on: without the holdout."""
        return self.series.without_newest(self.spec.holdout or 0)

    @property
    def dataset(self) -> TimeSeriesDataset:
        """`searched` as neuralforecast trains on it; built once, unless ``shared-data`` is disabled."""
        return build_dataset(self.searched) if "shared-data" in self.spec.disable else self._shared_dataset

    @cached_property
    def _shared_dataset(self) -> TimeSeriesDataset:
        return build_dataset(self.searched)


def build_dataset(series: Series) -> TimeSeriesDataset:
    """Return the series as neuralforecast trains on them."""
    from neuralforecast.tsdataset import TimeSeriesDataset

    dataset, *_ = TimeSeriesDataset.from_df(series.frame, static_df=series.static)
    return dataset
