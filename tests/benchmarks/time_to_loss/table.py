"""The comparison as tables and plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean

from tests.benchmarks.time_to_loss.records import Record
from tests.benchmarks.time_to_loss.systems import BASELINES, OURS, SYSTEMS

PEERS = tuple(own for own in SYSTEMS if own not in OURS)
# A plot ends at so many times the best loss: a trial that diverged would leave all others a line at the bottom.
HIGHEST_PLOTTED = 30


def mean(values: Iterable[float]) -> float:
    """Return the geometric mean of what is finite; not a number where nothing is."""
    logs = [math.log(own) for own in values if math.isfinite(own) and own > 0]
    return math.exp(fmean(logs)) if logs else math.nan


def time_ratio(ours: Record, peer: Record) -> float:
    """Return when castpool was as good as the peer at its end, over when the peer was.

    A peer that finished nothing counts as having taken the whole budget, and is matched by our first trial; where
    castpool never was as good, it counts as having taken the whole budget, which is less than it would.
    """
    theirs = peer.time_to(peer.final) if peer.curve else peer.budget
    own = ours.time_to(peer.final) if peer.curve else (ours.curve[0][0] if ours.curve else math.inf)
    return min(own, ours.budget) / theirs


def was_reached(ours: Record, peer: Record) -> bool:
    """Whether castpool was ever as good as the peer at its end."""
    return ours.final <= peer.final


def loss_ratio(ours: Record, peer: Record) -> float:
    """Return castpool's loss over the peer's at the end of the budget; not a number where the peer had none."""
    return ours.final / peer.final if peer.curve else math.nan


def test_ratio(ours: Record, peer: Record) -> float:
    """Return castpool's error on the test windows over the peer's."""
    return ours.test / peer.test if ours.test is not None and peer.test else math.nan


class Comparison:
    """All records of a run."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = {(own.pair, own.seed, own.system): own for own in records}
        self.pairs = list(dict.fromkeys(own.pair for own in records))
        self.seeds = sorted({own.seed for own in records})

    def _each(
        self, pair: str, peer: str, ratio: Callable[[Record, Record], float], system: str = "castpool"
    ) -> list[float]:
        found = []
        for seed in self.seeds:
            ours = self._records.get((pair, seed, system))
            # Without luck in it, a baseline is run once.
            theirs = self._records.get((pair, seed, peer)) or self._records.get((pair, self.seeds[0], peer))
            if ours is not None and theirs is not None:
                found.append(ratio(ours, theirs))
        return found

    def losses(self) -> str:
        """Return what each system reached, a line a pair and system: means over the seeds.

        A loss on other validation windows is left out: it is not to be compared.
        """
        lines = [
            "| pair | system | best validation loss | test error | trials | training steps |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for pair in self.pairs:
            for system, words in {**SYSTEMS, **BASELINES}.items():
                own = [self._records[key] for key in self._records if key[0] == pair and key[2] == system]
                if not own:
                    continue
                finals = [record.final for record in own if record.curve and system != "typed"]
                tests = [record.test for record in own if record.test is not None]
                cells = ["-" if not values else f"{fmean(values):.4g}" for values in (finals, tests)]
                trials, steps = (fmean(getattr(record, name) for record in own) for name in ("trials", "steps"))
                counts = ["-", "-"] if system in BASELINES else [f"{trials:.1f}", f"{steps:.0f}"]
                lines.append(f"| {pair} | {words} | {' | '.join([*cells, *counts])} |")
        lines += [
            f"\n{own.pair}, {SYSTEMS[own.system]}, died: {own.died}" for own in self._records.values() if own.died
        ]
        return "\n".join(lines)

    def ratios(self) -> str:
        """Return castpool's over each peer's: time to its final loss, loss at equal time, test error."""
        lines = [
            "| pair | beside | time to its final loss | reached | loss at equal time | test error | (4b)'s |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        whole: dict[str, list[list[float]]] = {own: [[], [], [], []] for own in (*PEERS, *BASELINES)}
        for pair in self.pairs:
            for peer in (*PEERS, *BASELINES):
                is_peer = peer in PEERS
                reached = self._each(pair, peer, was_reached) if is_peer else []
                values = [
                    mean(self._each(pair, peer, own)) if is_peer or own is test_ratio else math.nan
                    for own in (time_ratio, loss_ratio, test_ratio)
                ]
                values.append(mean(self._each(pair, peer, test_ratio, "typed")))
                for known, value in zip(whole[peer], values, strict=True):
                    known.append(value)
                if not all(map(math.isnan, values)):
                    share = f"{int(sum(reached))} of {len(reached)}" if is_peer else "-"
                    lines.append(_line(pair, peer, values, share))
        for peer, columns in whole.items():
            values = [mean(own) for own in columns]
            if not all(map(math.isnan, values)):
                lines.append(_line("all, geometric mean", peer, values, ""))
        return "\n".join(lines)

    def plot(self, folder: Path) -> list[Path]:
        """Draw the loss over time of each pair, a line a system and seed; return the files."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        paths = []
        folder.mkdir(parents=True, exist_ok=True)
        for pair in self.pairs:
            figure, axes = pyplot.subplots(figsize=(8, 5))
            best = math.inf
            for index, system in enumerate((*PEERS, "castpool")):
                label: str | None = SYSTEMS[system]
                for record in (own for key, own in self._records.items() if key[0] == pair and key[2] == system):
                    best = min(best, record.final)
                    if record.curve:
                        times = [*(seconds for seconds, _ in record.curve), record.budget]
                        losses = [*(loss for _, loss in record.curve), record.final]
                        axes.step(times, losses, where="post", color=f"C{index}", label=label, alpha=0.8)
                        label = None
            axes.set(title=pair, xlabel="seconds since the command", ylabel="best validation loss", yscale="log")
            if math.isfinite(best):
                axes.set_ylim(0.95 * best, min(axes.get_ylim()[1], HIGHEST_PLOTTED * best))
            axes.legend()
            path = folder / f"{pair}.png"
            figure.savefig(path, dpi=100, bbox_inches="tight")
            pyplot.close(figure)
            paths.append(path)
        return paths


def _line(pair: str, peer: str, values: Sequence[float], reached: str) -> str:
    time, *others = ("-" if math.isnan(own) else f"{own:.3f}" for own in values)
    return f"| {pair} | {({**SYSTEMS, **BASELINES})[peer]} | {time} | {reached} | {' | '.join(others)} |"
