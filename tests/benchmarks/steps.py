"""Steps per second of a trial's training beside NeuralForecast's own fit of the same configuration.

    python -m tests.benchmarks.steps [--models NHITS MLP ...] [--data demo] [--steps 200] [--repeats 3]

Both train in this process with one thread, in turns, and castpool's also without each lever of a step; each model's
fastest run of each kind counts. ``equal`` says how far apart the validation losses are at the last check, relative: the
fused optimiser rounds otherwise, and small differences grow with the steps; without it (the last column) every bit is
the same. Then where the time of castpool's own training goes,
from a profile, which slows small calls more than large ones.
"""

from __future__ import annotations

import argparse
import cProfile
import math
import pstats
import time
from statistics import fmean
from typing import Any

import pytorch_lightning as pl
import torch
from neuralforecast.tsdataset import TimeSeriesDataset

from sampler_policies.catalogue import entry
from tests.benchmarks.time_to_loss.pairs import PAIRS
from workers.logs import quiet
from workers.objective import TRAINER
from workers.quick_steps import STEP_LEVERS, QuickSteps

MODELS = ("NHITS", "NBEATS", "MLP", "DLinear", "TFT", "PatchTST", "GRU", "TCN", "iTransformer", "TSMixer")
# Where a step goes: the functions that a profile finds, by what they are for.
PLACES = {
    "backward": ("run_backward",),
    "forward": ("forward",),
    "optimiser": ("_fused_adam_", "_single_tensor_adam"),
    "windows": ("_create_windows", "_sample_windows", "_normalization", "_parse_windows"),
    "loading": ("_next_data",),
    "validation": ("on_validation_start", "validation_step"),
}


def fit(name: str, dataset: TimeSeriesDataset, horizon: int, steps: int, callbacks: list[pl.Callback]) -> Any:
    """Train a model with its defaults, as a trial does."""
    model = entry(name)
    arguments = {"n_series": dataset.n_groups} if model.needs_n_series else {}
    built = model.model_class(
        h=horizon,
        input_size=2 * horizon,
        max_steps=steps,
        val_check_steps=max(1, steps // 4),
        windows_batch_size=64,
        callbacks=callbacks,
        **TRAINER,
        **arguments,
    )
    return built.fit(dataset, val_size=horizon)


def timed(*arguments: Any) -> tuple[float, Any]:
    """Return the seconds of processor that a training takes, and the model."""
    started = time.process_time()
    model = fit(*arguments)
    return time.process_time() - started, model


def places(profile: cProfile.Profile) -> dict[str, float]:
    """Return the share of a profile's time by what it went into."""
    stats: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    total = max(own[3] for own in stats.values())
    shares = {}
    for place, names in PLACES.items():
        # Of functions that call themselves, or each other, by one name, the outermost takes longest.
        own = [max((row[3] for key, row in stats.items() if name in key[2]), default=0.0) for name in names]
        shares[place] = sum(own) / total
    return {**shares, "Lightning and the rest": max(0.0, 1 - sum(shares.values()))}


def _mean(ratios: list[float]) -> float:
    return math.exp(fmean(map(math.log, ratios)))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--data", choices=sorted({own.data for own in PAIRS.values()}), default="demo")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    quiet()
    torch.set_num_threads(1)
    pair = next(own for own in PAIRS.values() if own.data == options.data)
    dataset, *_ = TimeSeriesDataset.from_df(pair.read()[0])
    print(f"{options.data}, horizon {pair.horizon}, {options.steps} steps, one thread\n")
    head = ["model", "NeuralForecast, steps/s", "castpool, steps/s", "ratio", "equal"]
    head += [*(f"without {own}" for own in STEP_LEVERS), "equal"]
    print("|", " | ".join(head), "|")
    print("| --- " * len(head) + "|", flush=True)
    ratios: list[float] = []
    left_out: dict[str, list[float]] = {own: [] for own in STEP_LEVERS}
    profiles = {}
    for name in options.models:
        ways: dict[str, list[Any]] = {"own": [], "quick": [QuickSteps()]}
        ways |= {lever: [QuickSteps([lever])] for lever in STEP_LEVERS}
        fit(name, dataset, pair.horizon, 8, [])  # what a first call loads
        seconds = dict.fromkeys(ways, math.inf)
        losses = {}
        for _ in range(options.repeats):
            for way, callbacks in ways.items():
                taken, model = timed(name, dataset, pair.horizon, options.steps, callbacks)
                seconds[way] = min(seconds[way], taken)
                losses[way] = model.valid_trajectories[-1][1]
        profile = cProfile.Profile()
        profile.runcall(fit, name, dataset, pair.horizon, options.steps, [QuickSteps()])
        profiles[name] = places(profile)
        ratio = {way: seconds["own"] / seconds[way] for way in ways}
        apart = {way: abs(losses[way] / losses["own"] - 1) for way in ways}
        cells = [name, *(f"{options.steps / seconds[way]:.0f}" for way in ("own", "quick"))]
        cells += [f"{ratio['quick']:.2f}", f"{apart['quick']:.1e}", *(f"{ratio[own]:.2f}" for own in STEP_LEVERS)]
        print("|", " | ".join([*cells, f"{apart['fused-optimizer']:.1e}"]), "|", flush=True)
        ratios.append(ratio["quick"])
        for own in STEP_LEVERS:
            left_out[own].append(ratio[own])
    without = ", ".join(f"{_mean(own):.2f} without {lever}" for lever, own in left_out.items())
    print(f"\ngeometric mean {_mean(ratios):.2f}, smallest {min(ratios):.2f}; {without}\n")
    print("| model |", " | ".join(next(iter(profiles.values()))), "|")
    print("| --- " * (1 + len(next(iter(profiles.values())))) + "|")
    for name, shares in profiles.items():
        print(f"| {name} | {' | '.join(f'{own:.2f}' for own in shares.values())} |")


if __name__ == "__main__":
    main()
