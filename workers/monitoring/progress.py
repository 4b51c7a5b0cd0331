"""The display of running studies: a live table on a terminal, plain lines elsewhere, or no output."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.phase import Phase
from castpool.storage.study.snapshot import Snapshot, TrialView
from castpool.workers.support.logs import get_logger, logs_json

log = get_logger("progress")

SHOWN_TRIALS = 12
LINE_SECONDS = 10.0
LOG_SECONDS = 30.0


class Progress(Protocol):
    """Displays what a run does."""

    def say(self, line: str) -> None:
        """Display a line once."""

    def show(self, views: Mapping[str, Snapshot]) -> None:
        """Display the current state of the studies, by their names."""

    def __enter__(self) -> object: ...

    def __exit__(self, *error: object) -> None: ...


def progress_for(name: str) -> Progress:
    """Return the display of that name: ``live``, ``lines``, ``quiet``, or ``auto``, which looks at standard error."""
    if name == "quiet":
        return Quiet()
    if name == "auto" and logs_json():
        return Logged()
    if name == "live" or (name == "auto" and sys.stderr.isatty()):
        return LiveTable()
    return Lines()


class Quiet:
    """Displays nothing."""

    def say(self, line: str) -> None:
        """Display nothing."""

    def show(self, views: Mapping[str, Snapshot]) -> None:
        """Display nothing."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *error: object) -> None:
        return None


class Lines(Quiet):
    """Writes a line to standard error when a trial ends, and a summary every ten seconds."""

    def __init__(self) -> None:
        self._clock = _Clock()
        self._seen: set[tuple[str, int]] = set()
        self._written_at = 0.0

    def say(self, line: str) -> None:
        """Write the line."""
        print(line, file=sys.stderr, flush=True)

    def show(self, views: Mapping[str, Snapshot]) -> None:
        """Write a line for each trial that has ended since the last call, and a summary at intervals."""
        self._clock.note(views)
        for name, view in views.items():
            for trial in view.trials:
                if trial.state in ("RUNNING", "WAITING") or (name, trial.number) in self._seen:
                    continue
                self._seen.add((name, trial.number))
                if view.counts.phase == Phase.BACKTEST:
                    continue  # the search is over: its command has shown its trials
                reason = f": {trial.reason}" if trial.reason and trial.state == "FAIL" else ""
                loss = f", loss {_format_loss(_latest_loss(trial))}" if _latest_loss(trial) is not None else ""
                line = f"trial {trial.number} {_state(trial)} at step {trial.step or 0}{loss}{reason}"
                self.say(line if len(views) == 1 else f"{name}: {line}")
                self._written_at = 0.0
        if time.monotonic() - self._written_at >= LINE_SECONDS:
            self._written_at = time.monotonic()
            for line in summarize_studies(views, self._clock.left_seconds):
                self.say(line)


class Logged(Quiet):
    """Logs a line every half a minute; the workers log the lines of their trials."""

    def __init__(self) -> None:
        self._clock = _Clock()
        self._written_at = -math.inf

    def say(self, line: str) -> None:
        """Log the line."""
        log.info(line)

    def show(self, views: Mapping[str, Snapshot]) -> None:
        """Log the progress of the studies at intervals and at their end."""
        self._clock.note(views)
        is_done = all(view.counts.is_done for view in views.values())
        if is_done or time.monotonic() - self._written_at >= LOG_SECONDS:
            self._written_at = time.monotonic()
            for name, view in views.items():
                counts = view.counts
                best = view.best.value if view.best is not None else None
                log.info("progress", study=name, ended=counts.ended, slots=counts.slots, best_loss=best)


class LiveTable(Quiet):
    """A table that is redrawn in place: running trials, the latest ended trials, a summary of each study."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._clock = _Clock()
        self._live = Live(console=self._console, auto_refresh=False, transient=False)

    def say(self, line: str) -> None:
        """Write the line above the table."""
        self._console.print(Text(line))

    def show(self, views: Mapping[str, Snapshot]) -> None:
        """Draw the table."""
        self._clock.note(views)
        self._live.update(draw_table(views, self._clock.left_seconds), refresh=True)

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()


class _Clock:
    """Estimates the remaining time from the share of the budget that was spent since the first observation."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self.left_seconds: float | None = None

    def note(self, views: Mapping[str, Snapshot]) -> None:
        now, spent = time.monotonic(), spent_share(views)
        if self._first is None:
            self._first = (now, spent)
        since, before = self._first
        if spent > before:
            self.left_seconds = (now - since) / (spent - before) * (1 - spent) or None


def spent_share(views: Mapping[str, Snapshot]) -> float:
    """Return the spent share of all budgets, weighted by the studies' numbers of trials."""
    slots = sum(view.counts.slots for view in views.values())
    return sum(view.counts.spent * view.counts.slots for view in views.values()) / max(slots, 1)


def draw_table(views: Mapping[str, Snapshot], left_seconds: float | None) -> Group:
    """Return the live table: the latest trials, a progress bar and the summaries.

    Args:
        views: the studies by their names; with several, the table has a column for the name.
        left_seconds: the estimated remaining time, if known.
    """
    table = Table(box=None, pad_edge=False)
    titles = ("trial", "worker", "state", "step", "loss")
    for title in titles if len(views) == 1 else ("study", *titles):
        table.add_column(title, justify="left" if title in ("study", "state") else "right")
    for name, view in views.items():
        running = [trial for trial in view.trials if trial.state == "RUNNING"]
        ended = [trial for trial in view.trials if trial.state not in ("RUNNING", "WAITING")]
        best = view.best
        for trial in [*ended[-max(1, SHOWN_TRIALS // len(views) - len(running)) :], *running]:
            style = "bold green" if best is not None and trial.number == best.number else STYLES.get(_state(trial), "")
            worker = str(trial.note["worker"]) if trial.note else ""
            row = (str(trial.number), worker, _state(trial), str(trial.step or ""), _format_loss(_latest_loss(trial)))
            table.add_row(*(row if len(views) == 1 else (name, *row)), style=style)
    # In a grid: alone, the bar ends without a line break.
    bar = Table.grid()
    bar.add_row(ProgressBar(total=1.0, completed=spent_share(views), width=40))
    return Group(table, bar, *(Text(line) for line in summarize_studies(views, left_seconds)))


STYLES = {
    "running": "cyan",
    "pruned": "dim",
    "failed": "red",
    "diverged": "red",
    "released": "dim",
    "handed back": "dim",  # as studies of earlier versions store it
    "lost": "dim",
}


def summarize_studies(views: Mapping[str, Snapshot], left_seconds: float | None) -> Iterator[str]:
    """Yield a line for each study; the last line ends with the remaining time, if it is known."""
    *others, last = views
    for name in others:
        yield f"{name}: {summarize_study(views[name])}"
    left = f", about {_format_minutes(left_seconds)} left" if left_seconds is not None else ""
    yield f"{f'{last}: ' if others else ''}{summarize_study(views[last])}{left}"


def summarize_study(view: Snapshot) -> str:
    """Return the study in one line: ended, pruned and failed trials, the best loss and the default's."""
    counts = view.counts
    parts = [f"{counts.ended}/{counts.slots} trials"]
    for budget in counts.budgets:
        if budget.limit is not None:
            parts.append(budget.kind.format_progress(budget.spent, budget.limit))
    parts.append(f"{view.ended_as(Outcome.PRUNED)} pruned")
    for outcome in (Outcome.DIVERGED, Outcome.FAILED):
        if number := view.ended_as(outcome):
            parts.append(f"{number} {outcome}")
    if counts.evaluations and counts.phase in (Phase.VERIFICATION, Phase.HOLDOUT, Phase.BACKTEST):
        parts.append(f"{counts.phase}: {counts.evaluated}/{counts.evaluations} evaluations")
    if view.best is not None:
        parts.append(f"best {_format_loss(view.best.value)} (trial {view.best.number})")
    if view.default is not None:
        parts.append(f"default {_format_loss(view.default.value)}")
    return ", ".join(parts)


def _format_minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _state(trial: TrialView) -> str:
    if trial.outcome is not None:
        return trial.outcome.value
    # An attempt that did not end its slot was lost or released: the first word of its reason says which.
    return (trial.reason or "failed").split(":")[0] if trial.state == "FAIL" else trial.state.lower()


def _latest_loss(trial: TrialView) -> float | None:
    return trial.value if trial.state == "COMPLETE" else trial.last_value


def _format_loss(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
