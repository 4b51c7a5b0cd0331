"""The study spec: all that a study is made of, from YAML, flags or Python, checked in one place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sampler_policies.errors import InputError, did_you_mean
from sampler_policies.facts import Limit
from sampler_policies.levers import LEVERS
from sampler_policies.wishes import Wishes

# What gives a trial its meaning, beside the data. A study is resumed only where all of these are the same.
MEANING = (
    "model",
    "horizon",
    "loss",
    "valid_loss",
    "val_size",
    "val_step_size",
    "max_steps",
    "val_check_steps",
    "seed",
    "space",
    "hist_exog",
    "futr_exog",
    "stat_exog",
)

# What concerns one run of a study, and is not kept with it: some of it may hold credentials.
OF_THIS_RUN = ("storage", "tracking_uri", "metrics_port", "metrics_host", "out")

TRIALS_WITHIN_BUDGETS = 1000


class StudySpec(BaseModel):
    """Everything that a user may say about a study. Sizes are in observations, steps are training steps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str | None = Field(None, description="CSV or Parquet file with unique_id, ds, y")
    model: str = Field("NHITS", description="an Auto model of neuralforecast, with or without 'Auto'")
    horizon: int = Field(description="observations to forecast", ge=1)
    freq: str | int | None = Field(None, description="pandas alias of the step, e.g. MS; inferred where it can be")
    trials: int = Field(20, description="how many trials end, exactly; 1000 where time or steps are limited", ge=1)
    time_budget: float | None = Field(
        None, description="how long to work on it, as 90, 30m or 2h: no trial goes on after that", gt=0
    )
    steps_budget: int | None = Field(None, description="training steps of all trials together", ge=1)
    max_retries: int = Field(20, description="how many attempts at a trial may be lost with their worker", ge=0)
    checkpoint_seconds: float = Field(60.0, description="the shortest time between two checkpoints of a trial", ge=0)
    artifacts: str | None = Field(
        None, description="where checkpoints are kept: file:///folder, s3://bucket, gs://bucket; by default the storage"
    )
    recycle_after: int | None = Field(None, description="trials after which a worker process is replaced", ge=1)
    workers: int = Field(0, description="local worker processes; 0 is one a core, or what GPUs have room for", ge=0)
    name: str | None = Field(None, description="the study's name; by default made of data, model and horizon")
    storage: str | None = Field(
        None, description="where the study is, as postgresql://user@host/db; by default the embedded server"
    )
    tracking_uri: str | None = Field(None, description="MLflow to show the study in too, as http://localhost:5000")
    metrics_port: int | None = Field(None, description="port on which to serve measures for Prometheus", ge=0, lt=65536)
    metrics_host: str = Field("127.0.0.1", description="address for it; any but localhost is open to all")
    out: str | None = Field(None, description="folder for the result; by default castpool-out/<study>")
    loss: str | dict[str, Any] = Field("MAE", description="training loss of neuralforecast")
    valid_loss: str | dict[str, Any] | None = Field(None, description="loss to judge trials by; the training loss")
    val_size: int | None = Field(
        None, description="observations at the end of each series to judge by; by default up to five horizons"
    )
    val_step_size: int | None = Field(
        None, description="observations between two validation windows; by default up to a quarter of the horizon", ge=1
    )
    max_steps: int | None = Field(None, description="training steps of a trial that nobody stops", ge=1)
    val_check_steps: int | None = Field(None, description="training steps between two validation checks", ge=1)
    seed: int = Field(1, description="seed of training and sampling", ge=0, lt=2**32)
    space: dict[str, Any] = Field({}, description="parameters to search otherwise: choices, {low, high, log}, a value")
    sampler: str | dict[str, Any] | None = Field(None, description="an Optuna sampler by name; chosen by policy")
    pruner: str | dict[str, Any] | None = Field(None, description="an Optuna pruner by name; chosen by policy")
    backend: Literal["optuna", "ray"] = Field("optuna", description="what runs the trials: a pool of ours, or Ray Tune")
    searcher: str | dict[str, Any] | None = Field(None, description="with ray, a searcher by name; chosen by policy")
    scheduler: str | dict[str, Any] | None = Field(None, description="with ray, a scheduler by name; chosen by policy")
    hang_seconds: int = Field(
        600, description="with ray, seconds without a validation check after which it is started anew", ge=10
    )
    objectives: tuple[Literal["loss", "seconds", "parameters"], ...] = Field(
        ("loss",), description="what to minimise; several can be explained, not tuned yet", min_length=1
    )
    id_col: str = Field("unique_id", description="column that names the series")
    time_col: str = Field("ds", description="column with the time stamps")
    target_col: str = Field("y", description="column with the values to forecast")
    hist_exog: tuple[str, ...] = Field((), description="columns known up to now")
    futr_exog: tuple[str, ...] = Field((), description="columns known for the horizon too")
    stat_exog: tuple[str, ...] = Field((), description="columns that are constant within a series")
    futr_data: str | None = Field(None, description="file with the future columns' values for the horizon")
    hierarchy: str | tuple[tuple[float, ...], ...] | None = Field(
        None, description="file with the summing matrix of series that add up: unique_id and the bottom series"
    )
    reconciliation: Literal["BottomUp", "MinTraceOLS", "MinTraceWLS", "Identity"] = Field(
        "BottomUp", description="with a hierarchy, how forecasts are made to add up"
    )
    without: tuple[str, ...] = Field((), description="levers of speed to leave out: " + ", ".join(LEVERS))
    short_series: Literal["error", "drop"] = Field("error", description="what to do with series that are too short")

    @field_validator("name")
    @classmethod
    def _name_is_a_folder_name(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", name):
            raise ValueError("write letters, digits, '.', '_' and '-' only, and a letter or digit first")
        return name

    @field_validator("without")
    @classmethod
    def _levers_are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in LEVERS:
                raise ValueError(did_you_mean(name, LEVERS))
        return tuple(sorted(set(names)))

    @model_validator(mode="before")
    @classmethod
    def _other_budgets_come_first(cls, values: dict[str, Any]) -> dict[str, Any]:
        if any(values.get(name) is not None for name in ("time_budget", "steps_budget")):
            return {"trials": TRIALS_WITHIN_BUDGETS, **values}
        return values

    @field_validator("time_budget", mode="before")
    @classmethod
    def _time_budget_has_a_unit(cls, given: object) -> object:
        units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
        if isinstance(given, str) and (found := re.fullmatch(r"(\d+(?:\.\d+)?) ?([smhd]?)", given.strip().lower())):
            return float(found[1]) * units[found[2]]
        if isinstance(given, str):
            raise ValueError("write seconds, or a number with its unit as 30m or 2h")
        return given

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
        # Where all are in, as ever, nothing is said: studies of before there was a choice go on.
        left_out = {"without": list(self.without)} if self.without else {}
        windows = {"val_size": self.validation_size, "val_step_size": self.validation_step_size}
        return {**meaning, **left_out, **windows, "data": dataset}

    def wishes(self, workers: int, base_space: Mapping[str, Any] | None = None) -> Wishes:
        """Return what the policies need to know of the user's wishes."""
        sampler, sampler_arguments = _named(self.sampler, "sampler")
        pruner, pruner_arguments = _named(self.pruner, "pruner")
        searcher, searcher_arguments = _named(self.searcher, "searcher")
        scheduler, scheduler_arguments = _named(self.scheduler, "scheduler")
        return Wishes(
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
            without=frozenset(self.without),
            limit=Limit(self.time_budget, self.steps_budget),
        )


def _named(given: str | dict[str, Any] | None, field: str) -> tuple[str | None, dict[str, Any]]:
    if given is None or isinstance(given, str):
        return given, {}
    arguments = dict(given)
    name = arguments.pop("name", None)
    if not isinstance(name, str):
        raise InputError(field, given, "write its name too, e.g. {name: CmaEs, sigma0: 0.3}.")
    return name, arguments


def make_spec(values: Mapping[str, Any]) -> StudySpec:
    """Check the values and return the spec.

    Raises:
        InputError: the first wrong value, with its field and what to write instead.
    """
    try:
        spec = StudySpec(**values)
    except ValidationError as error:
        raise _in_one_sentence(error) from None
    _refuse_the_other_backend(spec)
    if spec.validation_size < spec.horizon:
        raise InputError("val_size", spec.val_size, f"write at least the horizon, {spec.horizon}.")
    return spec


def _refuse_the_other_backend(spec: StudySpec) -> None:
    if spec.backend == "ray" and spec.pruner is not None:
        raise InputError("pruner", spec.pruner, "with --backend ray a scheduler stops trials: write --scheduler.")
    if spec.backend == "optuna":
        for field in ("searcher", "scheduler"):
            if (given := getattr(spec, field)) is not None:
                instead = {"searcher": "sampler", "scheduler": "pruner"}[field]
                raise InputError(field, given, f"write --backend ray with it, or --{instead} instead.")


def _in_one_sentence(error: ValidationError) -> InputError:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][:1])
    kind, got = first["type"], first["input"]
    if kind == "extra_forbidden":
        return InputError("spec", f"the key {field!r}", did_you_mean(field, StudySpec.model_fields))
    if kind == "missing":
        what = StudySpec.model_fields[field].description
        return InputError(field, "nothing", f"write --{field.replace('_', '-')}: {what}.")
    if kind == "greater_than_equal":
        return InputError(field, got, f"write a number of at least {first['ctx']['ge']}.")
    if kind == "greater_than":
        return InputError(field, got, f"write a number above {first['ctx']['gt']:g}.")
    if kind == "less_than":
        return InputError(field, got, f"write a number below {first['ctx']['lt']}.")
    remedy = first["msg"].removeprefix("Value error, ")
    sentence = f"{remedy[0].lower()}{remedy[1:]}"
    return InputError(field, repr(got), sentence if sentence.endswith(("?", ".")) else f"{sentence}.")


def read_spec(path: Path) -> dict[str, Any]:
    """Return the values in a YAML spec. Paths in it are relative to its folder.

    Raises:
        InputError: the file is missing, not YAML, or not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError("spec", path, f"it cannot be read ({reason}).") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise InputError("spec", path, f"it is not YAML{line}: {getattr(error, 'problem', 'unreadable')}.") from None
    if not isinstance(values, dict):
        raise InputError("spec", path, "write 'key: value' lines, e.g. model: NHITS.")
    for field in ("data", "futr_data", "hierarchy"):
        if isinstance(values.get(field), str) and not Path(values[field]).is_absolute():
            values[field] = str(path.parent / values[field])
    return values
