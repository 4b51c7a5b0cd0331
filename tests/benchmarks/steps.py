"""Steps per second of a trial's training, compared with NeuralForecast's own fit of the same configuration.

    python -m tests.benchmarks.steps [--models NHITS MLP ...] [--data demo] [--steps 200] [--repeats 3]

Both train in this process with one thread, in turns, and castpool's also without each optimization of a step; each
model's fastest run of each kind counts. ``equal`` is the relative difference of the validation losses at the last
check: the fused optimizer rounds differently, and small differences grow with the steps; without it (the last column)
every bit is the same. The second table has the shares of time in castpool's training, from a profile, which slows small
calls more than large ones.
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

from castpool.sampler_policies.spaces.model_catalogue import entry
from castpool.workers.support.logs import quiet
from castpool.workers.training.fast_step_callback import STEP_OPTIMIZATIONS, FastStepCallback
from castpool.workers.training.objective import TRAINER
from tests.benchmarks.time_to_loss.pairs import PAIRS

MODELS = ("NHITS", "NBEATS", "MLP", "DLinear", "TFT", "PatchTST", "GRU", "TCN", "iTransformer", "TSMixer")
# The functions in a profile, by their purpose.
PLACES = {
    "backward": ("run_backward",),
    "forward": ("forward",),
    "optimizer": ("_fused_adam_", "_single_tensor_adam"),
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


def time_training(*arguments: Any) -> tuple[float, Any]:
    """Return the processor seconds of a training, and the model."""
    started = time.process_time()
    model = fit(*arguments)
    return time.process_time() - started, model


def split_profile(profile: cProfile.Profile) -> dict[str, float]:
    """Return the share of a profile's time by purpose."""
    stats: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    total = max(row[3] for row in stats.values())
    shares = {}
    for place, names in PLACES.items():
        # Of functions of one name that call each other, the outermost takes longest.
        seconds = [max((row[3] for key, row in stats.items() if name in key[2]), default=0.0) for name in names]
        shares[place] = sum(seconds) / total
    return {**shares, "Lightning and the rest": max(0.0, 1 - sum(shares.values()))}


def _mean(ratios: list[float]) -> float:
    return math.exp(fmean(map(math.log, ratios)))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--data", choices=sorted({pair.data for pair in PAIRS.values()}), default="demo")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    quiet()
    torch.set_num_threads(1)
    pair = next(pair for pair in PAIRS.values() if pair.data == options.data)
    dataset, *_ = TimeSeriesDataset.from_df(pair.read()[0])
    print(f"{options.data}, horizon {pair.horizon}, {options.steps} steps, one thread\n")
    head = ["model", "NeuralForecast, steps/s", "castpool, steps/s", "ratio", "equal"]
    head += [*(f"without {optimization}" for optimization in STEP_OPTIMIZATIONS), "equal"]
    print("|", " | ".join(head), "|")
    print("| --- " * len(head) + "|", flush=True)
    ratios: list[float] = []
    disabled: dict[str, list[float]] = {optimization: [] for optimization in STEP_OPTIMIZATIONS}
    profiles = {}
    for name in options.models:
        ways: dict[str, list[Any]] = {"plain": [], "fast": [FastStepCallback()]}
        ways |= {optimization: [FastStepCallback([optimization])] for optimization in STEP_OPTIMIZATIONS}
        fit(name, dataset, pair.horizon, 8, [])  # the first call loads libraries
        seconds = dict.fromkeys(ways, math.inf)
        losses = {}
        for _ in range(options.repeats):
            for way, callbacks in ways.items():
                taken, model = time_training(name, dataset, pair.horizon, options.steps, callbacks)
                seconds[way] = min(seconds[way], taken)
                losses[way] = model.valid_trajectories[-1][1]
        profile = cProfile.Profile()
        profile.runcall(fit, name, dataset, pair.horizon, options.steps, [FastStepCallback()])
        profiles[name] = split_profile(profile)
        ratio = {way: seconds["plain"] / seconds[way] for way in ways}
        apart = {way: abs(losses[way] / losses["plain"] - 1) for way in ways}
        cells = [name, *(f"{options.steps / seconds[way]:.0f}" for way in ("plain", "fast"))]
        cells += [
            f"{ratio['fast']:.2f}",
            f"{apart['fast']:.1e}",
            *(f"{ratio[optimization]:.2f}" for optimization in STEP_OPTIMIZATIONS),
        ]
        print("|", " | ".join([*cells, f"{apart['fused-optimizer']:.1e}"]), "|", flush=True)
        ratios.append(ratio["fast"])
        for optimization in STEP_OPTIMIZATIONS:
            disabled[optimization].append(ratio[optimization])
    without = ", ".join(f"{_mean(values):.2f} without {optimization}" for optimization, values in disabled.items())
    print(f"\ngeometric mean {_mean(ratios):.2f}, smallest {min(ratios):.2f}; {without}\n")
    print("| model |", " | ".join(next(iter(profiles.values()))), "|")
    print("| --- " * (1 + len(next(iter(profiles.values())))) + "|")
    for name, shares in profiles.items():
        print(f"| {name} | {' | '.join(f'{share:.2f}' for share in shares.values())} |")


if __name__ == "__main__":
    main()
