"""The command line. Every command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from workers.options import Commands, demo_table, spec_values, takes_spec

app = typer.Typer(
    cls=Commands,
    help="Tune NeuralForecast's Auto models with a pool of workers that share one Optuna study in PostgreSQL.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Data = Annotated[str | None, typer.Argument(help="CSV or Parquet with unique_id, ds, y; or a spec in YAML.")]
Demo = Annotated[bool, typer.Option("--demo", help="Use the AirPassengers series that neuralforecast ships.")]
Storage = Annotated[
    str | None,
    typer.Option(envvar="CASTPOOL_STORAGE", help="postgresql://user@host/db; by default the embedded server."),
]
Study = Annotated[str | None, typer.Argument(help="The study's name; by default the one that is not finished.")]
Studies = Annotated[list[str] | None, typer.Argument(help="Their names; by default all that are not finished.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@app.command()
@takes_spec
def tune(data: Data = None, demo: Demo = False, quiet: Quiet = False, as_json: Json = False, **options: Any) -> None:
    """Tune models and write the fitted winner.

    Creates or resumes a study for each model and runs their workers on this machine.
    """
    with sentences():
        values = spec_values(data, demo, options)
        from workers.tuning import run

        result = run(values, demo_table() if demo else None, progress="quiet" if quiet else "auto")
        if as_json:
            _print_json({**result.best, "out": str(result.out)})
        else:
            from workers.result import FILES, in_a_sentence

            typer.echo(in_a_sentence(result.best))
            for name in FILES:
                typer.echo(f"  {result.out / name}")


@app.command()
@takes_spec
def create(data: Data = None, demo: Demo = False, as_json: Json = False, **options: Any) -> None:
    """Create a study a model, for workers started elsewhere."""
    with sentences():
        values, table = spec_values(data, demo, options), demo_table() if demo else None
        from sampler_policies.decision import in_words
        from storage.store import open_store
        from workers.lineup import line_up
        from workers.objective import quiet
        from workers.study import draft_study, save_study

        quiet()
        entrants = line_up(values, table).entrants
        drafts = [draft_study(own.spec, table) for own in entrants]
        with open_store(entrants[0].spec.storage) as store:
            made = [(save_study(store, draft).name, draft.job.plan) for draft in drafts]
            if as_json:
                values_of = [{"study": name, "storage": store.address, "plan": plan.to_json()} for name, plan in made]
                _print_json(values_of[0] if len(values_of) == 1 else values_of)
                return
            for name, plan in made:
                typer.echo(f"study {name} in {store.address}\n{in_words(plan.decisions)}")
                for warning in plan.warnings:
                    typer.echo(f"warning: {warning}", err=True)


@app.command()
@takes_spec
def explain(data: Data = None, demo: Demo = False, as_json: Json = False, **options: Any) -> None:
    """Explain what would be decided and why; nothing runs."""
    with sentences():
        values, table = spec_values(data, demo, options), demo_table() if demo else None
        from workers.explain import as_text, as_values, choice_lines
        from workers.known_models import known_model
        from workers.lineup import line_up
        from workers.planning import plan_study

        lineup = line_up(values, table)
        plans = [plan_study(own.spec, known_model(own.spec.model), table) for own in lineup.entrants]
        if as_json:
            explained = [as_values(own) for own in plans]
            _print_json(explained[0] if len(explained) == 1 else explained)
        else:
            for line in choice_lines(lineup.decisions):
                typer.echo(line)
            typer.echo("\n\n".join(as_text(own) for own in plans))


@app.command()
def models(
    model: Annotated[str | None, typer.Argument(help="One model, in detail; else the list of all.")] = None,
    horizon: Annotated[int, typer.Option(min=1, help="The horizon that default spaces are shown for.")] = 12,
    as_json: Json = False,
) -> None:
    """List the models that can be tuned, and what each takes."""
    with sentences():
        from workers.known_models import known_model, known_models
        from workers.models import in_detail, listed, values_of

        if model is not None:
            found = known_model(model)
            if as_json:
                _print_json(values_of(found, horizon))
            else:
                typer.echo(in_detail(found, horizon))
        elif as_json:
            _print_json([values_of(own, horizon) for own in known_models().values()])
        else:
            typer.echo(listed(known_models().values(), horizon))


@app.command()
def worker(studies: Studies = None, storage: Storage = None) -> None:
    """Work on studies until they are done, in one process.

    It may run on any machine that reaches the storage.
    """
    with sentences():
        from workers.entry import main

        raise typer.Exit(main(storage, studies or ()))


@app.command()
def pool(
    studies: Studies = None,
    workers: Annotated[int, typer.Option(min=0, help="Worker processes; 0 is one a core.")] = 0,
    storage: Storage = None,
    quiet: Quiet = False,
) -> None:
    """Run N workers of studies, each with its share of the cores."""
    with sentences():
        from storage.store import open_store
        from workers.entry import studies_to_serve
        from workers.pool import cores, warm_up
        from workers.progress import progress_for
        from workers.signals import StopRequest
        from workers.tuning import run_pool

        n_workers = workers or cores()
        warm_up(n_workers)
        with StopRequest() as stop, open_store(storage, application_name="castpool pool") as store:
            shown = progress_for("quiet" if quiet else "auto")
            run_pool(store, studies_to_serve(store, studies or ()), n_workers, stop, shown)


@app.command()
def status(
    study: Study = None,
    storage: Storage = None,
    reap: Annotated[bool, typer.Option("--reap", help="First open the slots of workers that are gone.")] = False,
    as_json: Json = False,
) -> None:
    """Show how far a study is, who works on it, and retries."""
    with sentences():
        from storage.store import open_store
        from workers.status import as_text, as_values, read_status

        with open_store(storage) as store:
            read = read_status(store, study, reaps=reap)
        if as_json:
            _print_json(as_values(read))
        else:
            typer.echo(as_text(read))


@app.command()
def best(study: Study = None, storage: Storage = None, as_json: Json = False) -> None:
    """Show the best configuration so far, and the default loss."""
    with sentences():
        from storage.store import open_store
        from workers.status import best_of, best_text

        with open_store(storage) as store:
            found = best_of(store, study)
        if as_json:
            _print_json(found)
        else:
            typer.echo(best_text(found))


@app.command()
def leaderboard(storage: Storage = None, as_json: Json = False) -> None:
    """Compare studies of the same data, horizon and loss."""
    with sentences():
        from storage.store import open_store
        from workers.leaderboard import as_text, as_values, read_leaderboard

        with open_store(storage) as store:
            groups = read_leaderboard(store)
        if as_json:
            _print_json(as_values(groups))
        else:
            typer.echo(as_text(groups))


@app.command()
def forecast(
    result: Annotated[Path, typer.Argument(help="The folder that `castpool tune` wrote.")],
    data: Annotated[str | None, typer.Option(help="Newer data to forecast from; else what it was fitted on.")] = None,
    futr_data: Annotated[str | None, typer.Option(help="The future columns for the horizon.")] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write; else standard output.")] = None,
) -> None:
    """Forecast again from a saved model."""
    with sentences():
        from workers.forecast import forecast_again
        from workers.objective import quiet

        quiet()
        frame = forecast_again(result, data, futr_data)
        frame.to_csv(out if out is not None else sys.stdout, index=False)


@app.command()
def dashboard(
    storage: Storage = None,
    host: Annotated[str, typer.Option(help="Address to listen on; any but localhost is open to all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8080,
) -> None:
    """Serve optuna-dashboard on the same storage, live."""
    with sentences():
        from storage.store import open_store
        from workers.dashboard import serve

        with open_store(storage, application_name="castpool dashboard") as store:
            serve(store, host, port)


@contextmanager
def sentences() -> Iterator[None]:
    """Turn what a user can mend into one sentence on standard error and an exit code; let bugs be seen."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        code = getattr(error, "exit_code", None)
        message = str(error)
        if code is None:
            from storage.engine import is_passing

            if not is_passing(error):
                raise
            code, message = 3, "storage: the server went away and did not come back; the same command goes on."
        typer.echo(f"castpool: {message}", err=True)
        raise typer.Exit(code) from None


def _print_json(values: Any) -> None:
    typer.echo(json.dumps(values, indent=2, default=str))
