"""The comparison of systems as tables and plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean

from tests.benchmarks.time_to_loss.records import Record
from tests.benchmarks.time_to_loss.systems import BASELINES, OURS, SYSTEMS

PEERS = tuple(system for system in SYSTEMS if system not in OURS)
# A plot ends at this multiple of the best loss: a diverged trial would press all other curves to the bottom.
HIGHEST_PLOTTED = 30


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean of the finite values; NaN if there are none."""
    logs = [math.log(value) for value in values if math.isfinite(value) and value > 0]
    return math.exp(fmean(logs)) if logs else math.nan


def time_ratio(ours: Record, peer: Record) -> float:
    """Return castpool's time to the peer's final loss, divided by the peer's time to it.

    A peer without a finished trial counts as the whole budget, and castpool's first result matches it. Where castpool
    never reaches the loss, it counts as the whole budget, which is less than it would take.
    """
    theirs = peer.time_to(peer.final) if peer.curve else peer.budget
    needed = ours.time_to(peer.final) if peer.curve else (ours.curve[0][0] if ours.curve else math.inf)
    return min(needed, ours.budget) / theirs


def was_reached(ours: Record, peer: Record) -> bool:
    """Whether castpool reached the peer's final loss."""
    return ours.final <= peer.final


def loss_ratio(ours: Record, peer: Record) -> float:
    """Return castpool's final loss divided by the peer's; NaN if the peer had none."""
    return ours.final / peer.final if peer.curve else math.nan


def test_ratio(ours: Record, peer: Record) -> float:
    """Return castpool's test error divided by the peer's; NaN if one is missing."""
    return ours.test / peer.test if ours.test is not None and peer.test else math.nan


class Comparison:
    """The records of all systems, pairs and seeds."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = {(record.pair, record.seed, record.system): record for record in records}
        self.pairs = list(dict.fromkeys(record.pair for record in records))
        self.seeds = sorted({record.seed for record in records})

    def ratios_by_seed(
        self, pair: str, peer: str, ratio: Callable[[Record, Record], float], system: str = "castpool"
    ) -> list[float]:
        """Return a ratio of castpool to a peer on a pair, one for each seed that both have."""
        found = []
        for seed in self.seeds:
            ours = self._records.get((pair, seed, system))
            # A baseline does not depend on the seed, so it is run once.
            theirs = self._records.get((pair, seed, peer)) or self._records.get((pair, self.seeds[0], peer))
            if ours is not None and theirs is not None:
                found.append(ratio(ours, theirs))
        return found

    def runs(self, peer: str) -> list[tuple[Record, Record]]:
        """Return castpool's record and the peer's for each pair and seed that both have."""
        keys = [(pair, seed) for pair in self.pairs for seed in self.seeds]
        found = [(self._records.get((*key, "castpool")), self._records.get((*key, peer))) for key in keys]
        return [(ours, theirs) for ours, theirs in found if ours is not None and theirs is not None]

    def losses(self) -> str:
        """Return the results by pair and system, as means over the seeds.

        A loss on other validation windows cannot be compared and is left out.
        """
        lines = [
            "| pair | system | best validation loss | test error | trials | training steps |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for pair in self.pairs:
            for system, label in {**SYSTEMS, **BASELINES}.items():
                found = [self._records[key] for key in self._records if key[0] == pair and key[2] == system]
                if not found:
                    continue
                finals = [record.final for record in found if record.curve and system != "typed"]
                tests = [record.test for record in found if record.test is not None]
                cells = ["-" if not values else f"{fmean(values):.4g}" for values in (finals, tests)]
                trials, steps = (fmean(getattr(record, name) for record in found) for name in ("trials", "steps"))
                counts = ["-", "-"] if system in BASELINES else [f"{trials:.1f}", f"{steps:.0f}"]
                lines.append(f"| {pair} | {label} | {' | '.join([*cells, *counts])} |")
        lines += [
            f"\n{record.pair}, {SYSTEMS[record.system]}, failed: {record.died}"
            for record in self._records.values()
            if record.died
        ]
        return "\n".join(lines)

    def ratios(self) -> str:
        """Return castpool's ratios to each peer: time to its final loss, loss at equal time, test error."""
        lines = [
            "| pair | compared with | time to its final loss | reached | loss at equal time | test error | (4b)'s |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        whole: dict[str, list[list[float]]] = {peer: [[], [], [], []] for peer in (*PEERS, *BASELINES)}
        for pair in self.pairs:
            for peer in (*PEERS, *BASELINES):
                is_peer = peer in PEERS
                reached = self.ratios_by_seed(pair, peer, was_reached) if is_peer else []
                values = [
                    geometric_mean(self.ratios_by_seed(pair, peer, ratio))
                    if is_peer or ratio is test_ratio
                    else math.nan
                    for ratio in (time_ratio, loss_ratio, test_ratio)
                ]
                values.append(geometric_mean(self.ratios_by_seed(pair, peer, test_ratio, "typed")))
                for known, value in zip(whole[peer], values, strict=True):
                    known.append(value)
                if not all(map(math.isnan, values)):
                    share = f"{int(sum(reached))} of {len(reached)}" if is_peer else "-"
                    lines.append(_line(pair, peer, values, share))
        for peer, columns in whole.items():
            values = [geometric_mean(column) for column in columns]
            if not all(map(math.isnan, values)):
                lines.append(_line("all, geometric mean", peer, values, ""))
        return "\n".join(lines)

    def plot(self, folder: Path) -> list[Path]:
        """Draw the loss over time of each pair, one line for each system and seed; return the files."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        paths = []
        folder.mkdir(parents=True, exist_ok=True)
        for pair in self.pairs:
            figure, axes = pyplot.subplots(figsize=(6, 3.6))
            best = math.inf
            for index, system in enumerate((*PEERS, "castpool")):
                label: str | None = SYSTEMS[system]
                for record in (found for key, found in self._records.items() if key[0] == pair and key[2] == system):
                    best = min(best, record.final)
                    if record.curve:
                        times = [*(seconds for seconds, _ in record.curve), record.budget]
                        losses = [*(loss for _, loss in record.curve), record.final]
                        axes.step(times, losses, where="post", color=f"C{index}", label=label, alpha=0.8)
                        label = None
            axes.set(title=pair, xlabel="seconds since the command", ylabel="best validation loss", yscale="log")
            if math.isfinite(best):
                axes.set_ylim(0.95 * best, min(axes.get_ylim()[1], HIGHEST_PLOTTED * best))
            axes.legend(fontsize="x-small")
            path = folder / f"{pair}.png"
            figure.savefig(path, dpi=80, bbox_inches="tight")
            pyplot.close(figure)
            paths.append(path)
        return paths


def _line(pair: str, peer: str, values: Sequence[float], reached: str) -> str:
    time, *others = ("-" if math.isnan(value) else f"{value:.3f}" for value in values)
    return f"| {pair} | {({**SYSTEMS, **BASELINES})[peer]} | {time} | {reached} | {' | '.join(others)} |"
