"""The study spec: all that a study is made of, from YAML, flags or Python, checked in one place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from castpool.sampler_policies.errors import InputError, did_you_mean
from castpool.sampler_policies.facts import Limit
from castpool.sampler_policies.optimizations import OPTIMIZATIONS, canonical_name, identity_name
from castpool.sampler_policies.user_request import UserRequest
from castpool.storage.budget.kinds import KINDS
from castpool.workers.spec.field_names import rename_fields, split_name
from castpool.workers.spec.field_values import read_levels, read_members, read_seconds
from castpool.workers.spec.interval_losses import has_levels, with_levels
from castpool.workers.spec.spec_errors import first_error

if TYPE_CHECKING:
    from castpool.storage.study.studies import StoredStudy

# What gives a trial its meaning, beside the data. A study is resumed only where all of these are the same.
MEANING = (
    *("model", "horizon", "loss", "valid_loss", "val_size", "val_step_size", "max_steps", "val_check_steps"),
    *("seed", "space", "hist_exog", "futr_exog", "stat_exog"),
)
# Part of it where it is set: a study of a castpool without it has no such key.
MEANING_IF_SET = ("holdout",)

# What concerns one run of a study, and is not kept with it: some of it may hold credentials.
OF_THIS_RUN = ("storage", "tracking_uri", "metrics_port", "metrics_host", "out", "require_better_than")

TRIALS_WITHIN_BUDGETS = 1000


class StudySpec(BaseModel):
    """Everything that a user may say about a study. Sizes are in observations, steps are training steps.

    The descriptions are the help of the command line's options.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str | None = Field(None, description="CSV or Parquet file with the columns unique_id, ds and y")
    model: str = Field("NHITS", description="Auto model of neuralforecast by name, or auto: chosen to suit the data")
    horizon: int = Field(description="observations to forecast", ge=1)
    freq: str | int | None = Field(None, description="pandas frequency alias, e.g. MS; by default inferred")
    trials: int = Field(20, description="exact number of trials; 1000 with a time or steps budget", ge=1)
    time_budget: Annotated[float | None, BeforeValidator(read_seconds)] = Field(
        None, description="time limit as 90 (seconds), 30m or 2h; trials that still run stop then", gt=0
    )
    steps_budget: int | None = Field(None, description="limit on the training steps of all trials together", ge=1)
    max_retries: int = Field(20, description="limit on the attempts of a trial that are lost with their worker", ge=0)
    checkpoint_seconds: float = Field(60.0, description="minimum seconds between two checkpoints of a trial", ge=0)
    artifacts: str | None = Field(
        None, description="where to keep checkpoints: file:///folder, s3://bucket, gs://bucket; by default the storage"
    )
    recycle_after: int | None = Field(None, description="trials after which a worker process is replaced", ge=1)
    workers: int = Field(0, description="local worker processes; 0 is one per core, or as many as the GPUs hold", ge=0)
    name: str | None = Field(None, description="name of the study; by default made of data, model and horizon")
    storage: str | None = Field(
        None, description="storage URL, e.g. postgresql://user@host/db; by default the embedded server"
    )
    tracking_uri: str | None = Field(None, description="MLflow tracking server, e.g. http://localhost:5000")
    metrics_port: int | None = Field(None, description="port that serves Prometheus metrics", ge=0, lt=65536)
    metrics_host: str = Field("127.0.0.1", description="address of that port; any but localhost is open to all")
    out: str | None = Field(None, description="folder for the result; by default castpool-out/<study>")
    loss: str | dict[str, Any] = Field("MAE", description="training loss, as named in neuralforecast")
    valid_loss: str | dict[str, Any] | None = Field(
        None, description="validation loss, by which trials are compared; by default the training loss"
    )
    val_size: int | None = Field(
        None, description="validation observations at the end of each series; by default up to five horizons"
    )
    val_step_size: int | None = Field(
        None, description="observations between two validation windows; by default up to a quarter of the horizon", ge=1
    )
    holdout: int | None = Field(
        None,
        description="newest observations of each series that only the verdict uses; 0 is none; by default up to five "
        "horizons",
        ge=0,
    )
    finalists: int | None = Field(
        None, description="best configurations that are judged again on older windows; 0 is none; by default up to 8"
    )
    ensemble: Annotated[int | Literal["none"] | None, BeforeValidator(read_members)] = Field(
        None, description="largest number of models that the result averages, or none; by default 5"
    )
    members: Literal["all", "neural"] = Field(
        "all", description="what the ensemble may average: all, with the baselines, or neural models only"
    )
    baselines: tuple[str, ...] = Field(
        (), description="forecasts to compare with, e.g. AutoETS or chronos:/folder; by default chosen by rules"
    )
    level: Annotated[tuple[int, ...], BeforeValidator(read_levels)] = Field(
        (), description="prediction intervals around the forecast, in percent, e.g. 80"
    )
    season: int | None = Field(None, description="observations in a season; by default that of the frequency", ge=1)
    require_better_than: str | None = Field(
        None, description="exit with code 1 unless the forecast is better than this: naive, default or a baseline"
    )
    max_steps: int | None = Field(None, description="training steps of a trial that is not stopped early", ge=1)
    val_check_steps: int | None = Field(None, description="training steps between two validation checks", ge=1)
    seed: int = Field(1, description="random seed of training and sampling", ge=0, lt=2**32)
    space: dict[str, Any] = Field({}, description="search space overrides: choices, {low, high, log}, or a fixed value")
    sampler: str | dict[str, Any] | None = Field(None, description="Optuna sampler by name; by default chosen by rules")
    pruner: str | dict[str, Any] | None = Field(None, description="Optuna pruner by name; by default chosen by rules")
    backend: Literal["optuna", "ray"] = Field("optuna", description="engine that runs the trials: optuna or ray (Tune)")
    searcher: str | dict[str, Any] | None = Field(None, description="with ray, searcher by name; by default by rules")
    scheduler: str | dict[str, Any] | None = Field(None, description="with ray, scheduler by name; by default by rules")
    hang_seconds: int = Field(
        600, description="with ray, seconds without a validation check after which Ray is restarted", ge=10
    )
    objectives: tuple[Literal["loss", "seconds", "parameters"], ...] = Field(
        ("loss",), description="what to minimize; several can be explained, but not tuned yet", min_length=1
    )
    id_col: str = Field("unique_id", description="column that identifies the series")
    time_col: str = Field("ds", description="column with the timestamps")
    target_col: str = Field("y", description="column with the values to forecast")
    hist_exog: tuple[str, ...] = Field((), description="historical exogenous columns, known up to the forecast's start")
    futr_exog: tuple[str, ...] = Field((), description="future exogenous columns, known for the horizon too")
    stat_exog: tuple[str, ...] = Field((), description="static exogenous columns, constant within a series")
    futr_data: str | None = Field(None, description="file with the future exogenous columns for the horizon")
    hierarchy: str | tuple[tuple[float, ...], ...] | None = Field(
        None, description="file with the summing matrix of a hierarchy: unique_id and a column per bottom series"
    )
    reconciliation: Literal["BottomUp", "MinTraceOLS", "MinTraceWLS", "Identity"] = Field(
        "BottomUp", description="reconciliation method for a hierarchy"
    )
    disable: tuple[str, ...] = Field((), description="optimizations to disable: " + ", ".join(OPTIMIZATIONS))
    short_series: Literal["error", "drop"] = Field("error", description="what to do with series that are too short")

    @field_validator("name")
    @classmethod
    def _name_is_a_folder_name(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", name):
            raise ValueError("write letters, digits, '.', '_' and '-' only, and a letter or digit first")
        return name

    @field_validator("disable")
    @classmethod
    def _optimizations_are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        canonical = {canonical_name(name) for name in names}
        for name in sorted(canonical):
            if name not in OPTIMIZATIONS:
                raise ValueError(did_you_mean(name, OPTIMIZATIONS))
        return tuple(sorted(canonical))

    @model_validator(mode="before")
    @classmethod
    def _old_names_are_read(cls, values: dict[str, Any]) -> dict[str, Any]:
        return rename_fields(values)

    @model_validator(mode="before")
    @classmethod
    def _trials_are_many_within_other_budgets(cls, values: dict[str, Any]) -> dict[str, Any]:
        if any(values.get(kind.field) is not None for kind in KINDS):
            return {"trials": TRIALS_WITHIN_BUDGETS, **values}
        return values

    @property
    def validation_size(self) -> int:
        """Observations at the end of each series that trials are judged by; the horizon until a policy has chosen."""
        return self.horizon if self.val_size is None else self.val_size

    @property
    def validation_step_size(self) -> int:
        """Observations between two of the windows that trials are judged by; 1 until a policy has chosen."""
        return 1 if self.val_step_size is None else self.val_step_size

    def identity(self, dataset: str) -> dict[str, Any]:
        """Return what the trials mean: two studies with the same identity may share their trials."""
        meaning = self.model_dump(include=set(MEANING), mode="json")
        # Key and names are those of the first studies with this field: the identity of a stored study must not change.
        disabled = {"without": sorted(map(identity_name, self.disable))} if self.disable else {}
        windows = {"val_size": self.validation_size, "val_step_size": self.validation_step_size}
        later = {name: getattr(self, name) for name in MEANING_IF_SET if getattr(self, name)}
        return {**meaning, **disabled, **windows, **later, "data": dataset}

    def request(self, workers: int, base_space: Mapping[str, Any] | None = None) -> UserRequest:
        """Return what the policies need to know of the spec."""
        sampler, sampler_arguments = split_name(self.sampler, "sampler")
        pruner, pruner_arguments = split_name(self.pruner, "pruner")
        searcher, searcher_arguments = split_name(self.searcher, "searcher")
        scheduler, scheduler_arguments = split_name(self.scheduler, "scheduler")
        return UserRequest(
            trials=self.trials,
            workers=workers,
            seed=self.seed,
            space=self.space,
            base_space=base_space,
            max_steps=self.max_steps,
            val_check_steps=self.val_check_steps,
            sampler=sampler,
            sampler_arguments=sampler_arguments,
            pruner=pruner,
            pruner_arguments=pruner_arguments,
            n_objectives=len(self.objectives),
            backend=self.backend,
            searcher=searcher,
            searcher_arguments=searcher_arguments,
            scheduler=scheduler,
            scheduler_arguments=scheduler_arguments,
            disabled=frozenset(self.disable),
            limit=self._limit,
        )

    @property
    def _limit(self) -> Limit:
        """The budget that ends the study as policies see it: of every kind, time counts before steps."""
        limits = {kind: getattr(self, kind.field) for kind in KINDS if getattr(self, kind.field) is not None}
        seconds = (limit / kind.per_study_second for kind, limit in limits.items() if kind.per_study_second)
        steps = (int(limit / kind.per_step) for kind, limit in limits.items() if kind.per_step)
        return Limit(seconds=next(seconds, None), steps=next(steps, None))


def make_spec(values: Mapping[str, Any]) -> StudySpec:
    """Check the values and return the spec.

    Raises:
        InputError: the first wrong value, with its field and what to write instead.
    """
    try:
        spec = StudySpec.model_validate(dict(values))
    except ValidationError as error:
        raise first_error(error, StudySpec.model_fields) from None
    _refuse_options_of_the_other_backend(spec)
    if spec.level:
        # Of a loss that learns intervals the levels are a part; around point forecasts they are the result's.
        kept = () if has_levels(spec.loss) else spec.level
        changed: dict[str, Any] = {"loss": with_levels(spec.loss, spec.level), "level": kept}
        if not kept and spec.valid_loss is not None and has_levels(spec.valid_loss):
            # neuralforecast refuses two losses with different quantiles.
            changed["valid_loss"] = with_levels(spec.valid_loss, spec.level)
        spec = spec.model_copy(update=changed)
    if spec.validation_size < spec.horizon:
        raise InputError("val_size", spec.val_size, f"write at least the horizon, {spec.horizon}.")
    return spec


def spec_of(stored: StoredStudy) -> StudySpec:
    """Return the spec that a study was stored with, read by the rules of today.

    Raises:
        InputError: a value that this version of castpool cannot read.
    """
    return make_spec(stored.spec)


def _refuse_options_of_the_other_backend(spec: StudySpec) -> None:
    if spec.backend == "ray" and spec.pruner is not None:
        raise InputError("pruner", spec.pruner, "with --backend ray a scheduler stops trials: write --scheduler.")
    if spec.backend == "optuna":
        for field in ("searcher", "scheduler"):
            if (given := getattr(spec, field)) is not None:
                instead = {"searcher": "sampler", "scheduler": "pruner"}[field]
                raise InputError(field, given, f"write --backend ray with it, or --{instead} instead.")
