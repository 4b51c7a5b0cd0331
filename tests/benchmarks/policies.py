"""How long the policies take to decide, for every model: all decisions of a study from its facts.

python -m tests.benchmarks.policies [--repeats 200]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from sampler_policies.facts import DataFacts
from sampler_policies.plan import make_plan
from sampler_policies.wishes import Wishes
from workers.known_models import known_models

DATA = DataFacts(n_series=8, shortest=1000, longest=1000, n_rows=8000, horizon=24, val_size=24)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200)
    repeats = parser.parse_args().repeats
    print("| model | median, ms | 99th percentile, ms |\n| --- | --- | --- |")
    slowest = 0.0
    for model in known_models().values():
        taken = []
        for _ in range(repeats):
            started = time.perf_counter()
            make_plan(model, DATA, Wishes(trials=60, workers=4))
            taken.append(1000 * (time.perf_counter() - started))
        median, late = np.percentile(taken, [50, 99])
        slowest = max(slowest, float(late))
        print(f"| {model.name} | {median:.2f} | {late:.2f} |")
    print(f"slowest 99th percentile: {slowest:.2f} ms")


if __name__ == "__main__":
    main()
