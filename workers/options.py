"""The spec's fields as options of the command line: one list of fields, one description of each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from sampler_policies.errors import InputError
from workers.spec import StudySpec, read_spec

# AirPassengersDF, as neuralforecast ships it: 144 months of one series, for which 500 steps are plenty.
DEMO = {"name": "demo", "model": "NHITS", "horizon": 12, "max_steps": 500}
REPEATED = ("hist_exog", "futr_exog", "stat_exog", "space")
NUMBERS = ("horizon", "trials", "workers", "val_size", "val_step_size", "max_steps", "val_check_steps", "seed")
VARIABLES = {"storage": "CASTPOOL_STORAGE"}


def with_spec_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a Typer command an option for each field of the spec; it gets them as its keyword arguments."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    parameters = [*own, *(_option(name) for name in StudySpec.model_fields if name != "data")]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _option(name: str) -> inspect.Parameter:
    field = StudySpec.model_fields[name]
    text = f"{field.description}."
    if not field.is_required() and field.default not in (None, (), {}, 0):
        text += f"  [default: {field.default}]"
    if name in REPEATED:
        kind: Any = list[str] | None
        text += "  (may be repeated)"
    else:
        kind = int | None if name in NUMBERS else str | None
    option = typer.Option(f"--{name.replace('_', '-')}", help=text[0].upper() + text[1:], envvar=VARIABLES.get(name))
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])


def spec_values(data: str | None, is_demo: bool, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec's values: the demo's or the YAML file's, and over them every option that was given.

    Raises:
        InputError: an option that is not readable, or no data at all.
    """
    given = {name: _parsed(name, value) for name, value in options.items() if value not in (None, [])}
    if is_demo:
        if data is not None:
            raise InputError("data", repr(data), "leave it out where you write --demo.")
        return {**DEMO, **given}
    if data is None:
        raise InputError("data", "nothing", "write the path of a CSV, Parquet or YAML spec file, or --demo.")
    if Path(data).suffix.lower() in (".yaml", ".yml"):
        values = read_spec(Path(data))
        space = {**values.get("space", {}), **given.pop("space", {})}
        return {**values, **given, **({"space": space} if space else {})}
    return {"data": data, **given}


def _parsed(name: str, value: Any) -> Any:
    if name == "space":
        space: dict[str, Any] = {}
        for fragment in value:
            parsed = _yaml(name, fragment)
            if not isinstance(parsed, dict):
                raise InputError("space", repr(fragment), "write it as 'dropout: [0.0, 0.2]'.")
            space |= parsed
        return space
    if name == "freq" and value.lstrip("-").isdigit():
        return int(value)
    if isinstance(value, str) and value.lstrip().startswith("{"):
        return _yaml(name, value)
    return value


def _yaml(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(name, repr(text), "it is not YAML; write it as '{name: MQLoss, level: [80]}'.") from None
