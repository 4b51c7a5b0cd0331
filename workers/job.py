"""What the trials of a study train on, and with what: all that a process needs to train any of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sampler_policies.catalogue import ModelEntry, entry
from sampler_policies.plan import Plan
from workers.extras import Extras
from workers.series import Series
from workers.spec import StudySpec

if TYPE_CHECKING:
    from neuralforecast.tsdataset import TimeSeriesDataset


@dataclass(frozen=True)
class Job:
    """Everything that a process needs to train any trial of one study."""

    spec: StudySpec
    plan: Plan
    model: ModelEntry
    series: Series
    extras: Extras

    @classmethod
    def make(cls, spec: StudySpec, plan: Plan, series: Series, extras: Extras | None = None) -> Job:
        """Return the job, its model read from neuralforecast's classes."""
        return cls(spec, plan, entry(spec.model), series, extras or Extras())

    @property
    def dataset(self) -> TimeSeriesDataset:
        """The series as neuralforecast trains on them; built once for all trials."""
        return build_dataset(self.series) if "shared-data" in self.spec.without else self._shared_dataset

    @cached_property
    def _shared_dataset(self) -> TimeSeriesDataset:
        return build_dataset(self.series)


def build_dataset(series: Series) -> TimeSeriesDataset:
    """Return the series as neuralforecast trains on them."""
    from neuralforecast.tsdataset import TimeSeriesDataset

    dataset, *_ = TimeSeriesDataset.from_df(series.frame, static_df=series.static)
    return dataset
