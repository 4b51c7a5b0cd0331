"""Commands that take a spec, and the list of its models: tune, create, explain, models."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from castpool.workers.cli.common import Data, Demo, ImportFrom, Json, Quiet, print_json, print_result, report_errors
from castpool.workers.cli.spec_options import demo_table, parse_options, takes_spec


@takes_spec
def tune(
    data: Data = None,
    demo: Demo = False,
    import_from: ImportFrom = None,
    quiet: Quiet = False,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Tune models and write the fitted winner.

    Creates or resumes a study for each model and runs their workers on this machine.
    """
    with report_errors():
        request = parse_options(data, demo, options)
        from castpool.workers.results.result import NotBetterError
        from castpool.workers.support.import_path import importing_from
        from castpool.workers.tune import preload_workers, run

        with importing_from(import_from, request.spec):
            call = preload_workers(request)
            try:
                result = run(request, call(demo_table) if demo else None, call, progress="quiet" if quiet else "auto")
            except NotBetterError as error:
                print_result(error.result, as_json)
                raise
        print_result(result, as_json)


@takes_spec
def create(
    data: Data = None,
    demo: Demo = False,
    import_from: ImportFrom = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Create a study for each model, for workers started elsewhere."""
    with report_errors():
        request, table = parse_options(data, demo, options), demo_table() if demo else None
        from castpool.sampler_policies.decision import format_decisions
        from castpool.storage.store import open_store
        from castpool.workers.planning.create_study import draft_study, save_study, with_stored_holdout
        from castpool.workers.planning.model_selection import select_models
        from castpool.workers.support.import_path import importing_from
        from castpool.workers.support.logs import quiet

        quiet()
        with importing_from(import_from, request.spec):
            candidates = select_models(request, table).candidates
            drafts = [draft_study(candidate.spec, table) for candidate in candidates]
        with open_store(candidates[0].spec.storage) as store:
            drafts = [with_stored_holdout(store, draft) for draft in drafts]
            plans = [(save_study(store, draft).name, draft.job.plan) for draft in drafts]
            if as_json:
                created = [{"study": name, "storage": store.address, "plan": plan.to_json()} for name, plan in plans]
                print_json(created[0] if len(created) == 1 else created)
                return
            for name, plan in plans:
                typer.echo(f"study {name} in {store.address}\n{format_decisions(plan.decisions)}")
                for warning in plan.warnings:
                    typer.echo(f"warning: {warning}", err=True)


@takes_spec
def explain(
    data: Data = None,
    demo: Demo = False,
    import_from: ImportFrom = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Explain the decisions for a study; nothing runs."""
    with report_errors():
        request, table = parse_options(data, demo, options), demo_table() if demo else None
        from castpool.workers.monitoring.explain import (
            explanation_values,
            format_explanation,
            format_model_selection,
        )
        from castpool.workers.planning.model_cache import known_model
        from castpool.workers.planning.model_selection import select_models
        from castpool.workers.planning.plan_study import plan_study
        from castpool.workers.support.import_path import importing_from

        with importing_from(import_from, request.spec):
            selection = select_models(request, table)
            specs = [candidate.spec for candidate in selection.candidates]
            plans = [plan_study(spec, known_model(spec.model), table) for spec in specs]
        if as_json:
            explained = [explanation_values(planned) for planned in plans]
            print_json(explained[0] if len(explained) == 1 else explained)
        else:
            for line in format_model_selection(selection.decisions):
                typer.echo(line)
            typer.echo("\n\n".join(format_explanation(planned) for planned in plans))


def models(
    model: Annotated[str | None, typer.Argument(help="Model to show in detail; by default a list of all.")] = None,
    horizon: Annotated[int, typer.Option(min=1, help="Horizon of the default spaces that are shown.")] = 12,
    as_json: Json = False,
) -> None:
    """List the models, and the columns and options of each."""
    with report_errors():
        from castpool.workers.monitoring.model_list import format_model, format_models, model_values
        from castpool.workers.planning.model_cache import known_model, known_models

        if model is not None:
            found = known_model(model)
            if as_json:
                print_json(model_values(found, horizon))
            else:
                typer.echo(format_model(found, horizon))
        elif as_json:
            print_json([model_values(entry, horizon) for entry in known_models().values()])
        else:
            typer.echo(format_models(known_models().values(), horizon))
