"""Workers under faults, until so many have happened.

    python -m tests.chaos [--faults 1000] [--workers 6] [--trials 50] [--seed 1] [--real 5] [--only SIGKILL] [--quick]

In each round a crew of workers runs the trials of a study while a fault happens twice a second. Simulated
trainings of a second are most of it; one round of five trains real models. In half of the others the finalists are
judged again after the search. Prints faults by kind, what was lost (which
must be nothing) and how many training steps were done again; exits with 1 where anything was lost.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from tests.chaos.arena import Outcome, Round, arena, attempts_after_restart, fight
from tests.chaos.faults import FAULTS

# After these faults, workers need a moment to reconnect.
SLOW = ("server crash and restart", "connections refused", "network cut")
# Fewer trials where the finalists are judged again: a round takes about as long, and faults come in each phase.
TRIALS, EVALUATED_TRIALS = 12, 5
QUICK = [
    *(
        Round(
            workers=4,
            trials=EVALUATED_TRIALS if number % 2 else TRIALS,
            pause=1.2 if kind in SLOW else 0.5,
            most=5,
            only=kind,
            is_evaluated=bool(number % 2),
        )
        for number, kind in enumerate(FAULTS, 1)
    ),
    Round(workers=6, trials=20, pause=0.4, most=20, is_evaluated=True),
    Round(workers=8, trials=50, pause=0.4, most=20, only="SIGKILL"),
    Round(workers=4, trials=EVALUATED_TRIALS, pause=0.4, most=15, only="SIG", is_evaluated=True),
    Round(workers=2, trials=6, pause=1.0, most=4, is_real=True),
]


def rounds(options: argparse.Namespace) -> Iterator[Round]:
    """Return the rounds that are asked for; without a number, more and more."""
    for number in range(1, options.rounds + 1) if options.rounds else itertools.count(1):
        is_real = bool(options.real) and number % options.real == 0
        trials = 12 if is_real and not options.rounds else options.trials
        is_evaluated = not is_real and number % 2 == 0
        yield Round(
            options.workers, trials, options.pause, only=options.only, is_real=is_real, is_evaluated=is_evaluated
        )


def main() -> int:
    """Fight rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=1000, help="how many faults")
    parser.add_argument("--rounds", type=int, help="how many rounds, in place of faults")
    parser.add_argument("--workers", type=int, default=6, help="workers at once")
    parser.add_argument("--trials", type=int, default=50, help="trials of each study")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between faults")
    parser.add_argument("--seed", type=int, default=1, help="of the faults")
    parser.add_argument("--real", type=int, default=5, help="each so many rounds one trains models; 0 never")
    parser.add_argument("--only", help="only faults whose name has this in it")
    parser.add_argument("--quick", action="store_true", help="a round for each kind of fault, and four of more")
    options = parser.parse_args()
    chance, total, fought, started = random.Random(options.seed), Outcome(), 0, time.monotonic()
    restarted = 0
    with arena() as where:
        for round_ in QUICK if options.quick else rounds(options):
            if not (options.quick or options.rounds) and total.faults.total() >= options.faults:
                break
            fought += 1
            outcome = fight(where, f"round-{fought}", chance, round_)
            restarted += attempts_after_restart(where, f"round-{fought}", 3)
            total.add(outcome)
            kind = "real" if round_.is_real else "simulated"
            print(
                f"round {fought} ({kind}): {outcome.faults.total()} faults, {outcome.attempts} attempts for "
                f"{outcome.trials} trials, {outcome.evaluation_attempts} for {outcome.evaluations} evaluations, "
                f"{outcome.repeated} of {outcome.steps} steps again, losses: {outcome.losses}",
                file=sys.stderr,
            )
    table = Table("fault", "times")
    for name, times in total.faults.most_common():
        table.add_row(name, str(times))
    table.add_section()
    for name, value in {
        "faults": str(total.faults.total()),
        "rounds, each with exactly its number of trials ended": str(fought),
        "trials": str(total.trials),
        "attempts": str(total.attempts),
        "evaluations": str(total.evaluations),
        "attempts at evaluations": str(total.evaluation_attempts),
        "attempts by workers restarted on finished studies": str(restarted),
        "losses": str(len(total.losses)),
        "training steps": str(total.steps),
        "done again, per fault": f"{total.repeated / max(total.faults.total(), 1):.1f}",
        "seconds": f"{time.monotonic() - started:.0f}",
    }.items():
        table.add_row(name, value)
    Console().print(table)
    for loss in total.losses:
        print(loss)
    return 1 if total.losses or restarted else 0


if __name__ == "__main__":
    sys.exit(main())
