"""Commands that take what a user wants: tune, create, explain, models."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from workers.cli_shared import Data, Demo, Json, Quiet, print_json, print_result, sentences
from workers.options import demo_table, spec_values, takes_spec


@takes_spec
def tune(data: Data = None, demo: Demo = False, quiet: Quiet = False, as_json: Json = False, **options: Any) -> None:
    """Tune models and write the fitted winner.

    Creates or resumes a study for each model and runs their workers on this machine.
    """
    with sentences():
        values = spec_values(data, demo, options)
        from workers.tuning import load_early, run

        call = load_early(values)
        made = run(values, call(demo_table) if demo else None, progress="quiet" if quiet else "auto")
        print_result(made, as_json)


@takes_spec
def create(data: Data = None, demo: Demo = False, as_json: Json = False, **options: Any) -> None:
    """Create a study a model, for workers started elsewhere."""
    with sentences():
        values, table = spec_values(data, demo, options), demo_table() if demo else None
        from sampler_policies.decision import in_words
        from storage.store import open_store
        from workers.lineup import line_up
        from workers.logs import quiet
        from workers.study import draft_study, save_study

        quiet()
        entrants = line_up(values, table).entrants
        drafts = [draft_study(own.spec, table) for own in entrants]
        with open_store(entrants[0].spec.storage) as store:
            made = [(save_study(store, draft).name, draft.job.plan) for draft in drafts]
            if as_json:
                values_of = [{"study": name, "storage": store.address, "plan": plan.to_json()} for name, plan in made]
                print_json(values_of[0] if len(values_of) == 1 else values_of)
                return
            for name, plan in made:
                typer.echo(f"study {name} in {store.address}\n{in_words(plan.decisions)}")
                for warning in plan.warnings:
                    typer.echo(f"warning: {warning}", err=True)


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
            print_json(explained[0] if len(explained) == 1 else explained)
        else:
            for line in choice_lines(lineup.decisions):
                typer.echo(line)
            typer.echo("\n\n".join(as_text(own) for own in plans))


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
                print_json(values_of(found, horizon))
            else:
                typer.echo(in_detail(found, horizon))
        elif as_json:
            print_json([values_of(own, horizon) for own in known_models().values()])
        else:
            typer.echo(listed(known_models().values(), horizon))
