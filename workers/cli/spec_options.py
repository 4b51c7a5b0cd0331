"""The spec's fields as options of the command line: one list of fields, one description of each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperGroup

from castpool.sampler_policies.errors import InputError

if TYPE_CHECKING:
    from castpool.workers.spec.tune_request import TuneRequest

# AirPassengersDF, as neuralforecast ships it: 144 months of one series, for which 500 steps are plenty.
DEMO = {"name": "demo", "model": "NHITS", "horizon": 12, "max_steps": 500}
REPEATED = (
    *("model", "objectives", "hist_exog", "futr_exog", "stat_exog", "space", "disable"),
    *("baselines", "level"),
)
VARIABLES = {"storage": "CASTPOOL_STORAGE", "tracking_uri": "MLFLOW_TRACKING_URI"}


class Commands(TyperGroup):
    """The commands. Those that take a spec get its fields as options when they are called, not before.

    Reading the fields takes as long as all the rest of `castpool --help`, which needs none of them.
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name, the command and its arguments; see Click."""
        name, command, rest = super().resolve_command(ctx, args)
        body = getattr(command.callback, "takes_spec", None) if command is not None else None
        if command is not None and body is not None:
            alone = typer.Typer(
                rich_markup_mode=None, add_completion=False, context_settings=ctx.command.context_settings
            )
            alone.command(help=command.help)(_with_options(body, _spec_options()))
            command = typer.main.get_command(alone)
        return name, command, rest


def takes_spec(command: Callable[..., None]) -> Callable[..., None]:
    """Mark a command that gets the spec's fields in its ``**options``."""
    listed = _with_options(command, [])
    listed.takes_spec = command  # type: ignore[attr-defined]
    return listed


def _with_options(command: Callable[..., None], options: list[inspect.Parameter]) -> Callable[..., None]:
    """Return the command with these parameters, for Typer to read, in the place of its ``**options``."""

    @wraps(command)
    def called(**values: Any) -> None:
        command(**values)

    signature = inspect.signature(command, eval_str=True)
    parameters = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    called.__signature__ = signature.replace(parameters=[*parameters, *options])  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in [*parameters, *options]}
    return called


def _spec_options() -> list[inspect.Parameter]:
    from castpool.workers.spec.field_names import RENAMED_FIELDS
    from castpool.workers.spec.study_spec import StudySpec

    options = [_option(name, field) for name, field in StudySpec.model_fields.items() if name != "data"]
    return [*options, *(_hidden_option(name) for name in RENAMED_FIELDS)]


def _hidden_option(name: str) -> inspect.Parameter:
    """Return the option by the field's old name, which is read and not shown."""
    option = typer.Option(f"--{name.replace('_', '-')}", hidden=True)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[list[str] | None, option]
    )


def _option(name: str, field: Any) -> inspect.Parameter:
    text = f"{field.description[0].upper()}{field.description[1:]}."
    if not field.is_required() and field.default not in (None, (), {}, 0):
        text += f"  [default: {field.default}]"
    if name in REPEATED:
        kind: Any = list[str] | None
        text += "  (may be repeated)"
    else:
        is_number = {*get_args(field.annotation), field.annotation} <= {int, int | None, type(None)}
        kind = int | None if is_number else str | None
    option = typer.Option(f"--{name.replace('_', '-')}", help=text, envvar=VARIABLES.get(name))
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])


def parse_options(data: str | None, is_demo: bool, options: Mapping[str, Any]) -> TuneRequest:
    """Return what the command tunes: the demo's or the YAML file's values, and over them every option that was given.

    Raises:
        InputError: an option that is not readable, a value that cannot work, or no data at all.
    """
    from castpool.workers.spec.field_names import rename_fields
    from castpool.workers.spec.tune_request import parse_request

    given = {name: _parsed(name, value) for name, value in options.items() if value not in (None, [])}
    given = rename_fields(given)
    values = rename_fields(_base_values(data, is_demo))
    if isinstance(values.get("space"), dict) and "space" in given:
        given["space"] = {**values["space"], **given["space"]}
    return parse_request({**values, **given})


def _base_values(data: str | None, is_demo: bool) -> dict[str, Any]:
    if is_demo:
        if data is not None:
            raise InputError("data", repr(data), "leave it out where you write --demo.")
        return dict(DEMO)
    if data is None:
        raise InputError("data", "nothing", "write the path of a CSV, Parquet or YAML spec file, or --demo.")
    if Path(data).suffix.lower() in (".yaml", ".yml"):
        from castpool.workers.spec.spec_file import read_spec_file

        return read_spec_file(Path(data))
    return {"data": data}


def demo_table() -> Any:
    """Return the AirPassengers series that neuralforecast ships."""
    from neuralforecast.utils import AirPassengersDF

    return AirPassengersDF


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
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(name, repr(text), "it is not YAML; write it as '{name: MQLoss, level: [80]}'.") from None
