"""Record a table of real trainings for `tests.benchmarks.samplers --table`.

    python -m tests.benchmarks.record DATA --model MLP --horizon 24 --trials 200 --max-steps 500 --out FILE.jsonl.xz

Random configurations of the model's default space, each trained to its end: a castpool study with the Random sampler
and no pruner. FILE.jsonl.xz has rows with ``config``, ``curve`` ([[step, loss], ...]), ``seconds`` and ``error``.
An interrupted run resumes when the command is repeated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import optuna

from castpool import tune
from castpool.storage.store import open_store
from tests.benchmarks.json_lines import write_json_lines


def main() -> None:
    """Run the study and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="NHITS")
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    name = f"table-{Path(arguments.data).stem}-{arguments.model}-h{arguments.horizon}"
    tune(
        arguments.data,
        name=name,
        model=arguments.model,
        horizon=arguments.horizon,
        trials=arguments.trials,
        max_steps=arguments.max_steps,
        workers=arguments.workers,
        sampler="Random",
        pruner="Nop",
        out=str(arguments.out.with_name(arguments.out.name.partition(".")[0])),
    )
    rows = []
    with open_store() as store:
        for trial in optuna.load_study(study_name=name, storage=store.trials).trials:
            if not trial.state.is_finished() or "training_seconds" not in trial.user_attrs:
                continue
            row = {
                "config": trial.user_attrs.get("config"),
                "curve": sorted(trial.intermediate_values.items()),
                "seconds": trial.user_attrs["training_seconds"],
                "error": trial.user_attrs.get("reason"),
            }
            rows.append(row)
    write_json_lines(arguments.out, rows)
    print(f"{arguments.out}: {len(rows)} trainings")


if __name__ == "__main__":
    main()
