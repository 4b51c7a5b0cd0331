"""Record a table of real trainings for `tests.benchmarks.samplers --table`.

    python -m tests.benchmarks.record DATA --model MLP --horizon 24 --trials 200 --max-steps 500 --out FILE

Random configurations of the model's own space, each trained to its end: a castpool study with the Random sampler and no
pruner, written as JSON lines with ``config``, ``curve`` ([[step, validation loss], ...]), ``seconds`` and ``error``.
Interrupted and run again it goes on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import optuna

from storage.store import open_store
from workers import tune


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
        out=str(arguments.out.with_suffix("")),
    )
    with open_store() as store, arguments.out.open("w") as file:
        for trial in optuna.load_study(study_name=name, storage=store.trials).trials:
            if not trial.state.is_finished() or "training_seconds" not in trial.user_attrs:
                continue
            row = {
                "config": trial.user_attrs.get("config"),
                "curve": sorted(trial.intermediate_values.items()),
                "seconds": trial.user_attrs["training_seconds"],
                "error": trial.user_attrs.get("reason"),
            }
            file.write(json.dumps(row) + "\n")
    print(f"{arguments.out}: {arguments.trials} trainings")


if __name__ == "__main__":
    main()
