"""Showing a study while it runs: a live table on a terminal, plain lines elsewhere, or nothing."""

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

from storage.snapshot import Snapshot, TrialView
from workers.logs import get_logger, logs_json

log = get_logger("progress")

SHOWN_TRIALS = 12
LINE_SECONDS = 10.0
LOG_SECONDS = 30.0


class Progress(Protocol):
    """Where a run says what it does."""

    def say(self, line: str) -> None:
        """Say something once."""

    def show(self, views: Mapping[str, Snapshot]) -> None:
        """Show the present state of the studies, by their names."""

    def __enter__(self) -> object: ...

    def __exit__(self, *error: object) -> None: ...


def progress_for(name: str) -> Progress:
    """Return what shows progress: ``live``, ``lines``, ``quiet``, or ``auto`` by where standard error goes."""
    if name == "quiet":
        return Quiet()
    if name == "auto" and logs_json():
        return Logged()
    if name == "live" or (name == "auto" and sys.stderr.isatty()):
        return LiveTable()
    return Lines()


class Quiet:
    """Says nothing."""

    def say(self, line: str) -> None:
        """Say nothing."""

    def show(self, views: Mapping[str, Snapshot]) -> None:
        """Show nothing."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *error: object) -> None:
        return None


class Lines(Quiet):
    """A line on standard error when a trial ends, and every ten seconds."""

    def __init__(self) -> None:
        self._clock = _Clock()
        self._seen: set[tuple[str, int]] = set()
        self._said_at = 0.0

    def say(self, line: str) -> None:
        """Write the line."""
        print(line, file=sys.stderr, flush=True)

    def show(self, views: Mapping[str, Snapshot]) -> None:
        """Write a line for each trial that has ended since, and one on the whole now and then."""
        self._clock.note(views)
        for name, view in views.items():
            for trial in view.trials:
                if trial.state in ("RUNNING", "WAITING") or (name, trial.number) in self._seen:
                    continue
                self._seen.add((name, trial.number))
                reason = f": {trial.reason}" if trial.reason and trial.state == "FAIL" else ""
                loss = f", loss {_loss(_shown(trial))}" if _shown(trial) is not None else ""
                what = f"trial {trial.number} {_state(trial)} at step {trial.step or 0}{loss}{reason}"
                self.say(what if len(views) == 1 else f"{name}: {what}")
                self._said_at = 0.0
        if time.monotonic() - self._said_at >= LINE_SECONDS:
            self._said_at = time.monotonic()
            for line in summaries(views, self._clock):
                self.say(line)


class Logged(Quiet):
    """A line of the log every half a minute: each trial's own lines are its worker's."""

    def __init__(self) -> None:
        self._clock = _Clock()
        self._said_at = -math.inf

    def say(self, line: str) -> None:
        """Log the line."""
        log.info(line)

    def show(self, views: Mapping[str, Snapshot]) -> None:
        """Log how far the studies are, now and then and at their end."""
        self._clock.note(views)
        is_done = all(own.counts.is_done for own in views.values())
        if is_done or time.monotonic() - self._said_at >= LOG_SECONDS:
            self._said_at = time.monotonic()
            for name, view in views.items():
                counts = view.counts
                best = view.best.value if view.best is not None else None
                log.info("progress", study=name, ended=counts.ended, slots=counts.slots, best_loss=best)


class LiveTable(Quiet):
    """A table that is drawn anew in place: running trials, the latest ended ones, the whole."""

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
        self._live.update(draw(views, self._clock), refresh=True)

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()


class _Clock:
    """How long the rest may take, from what ended while somebody watched."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self.left_seconds: float | None = None

    def note(self, views: Mapping[str, Snapshot]) -> None:
        now, spent = time.monotonic(), spent_of(views)
        if self._first is None:
            self._first = (now, spent)
        since, before = self._first
        if spent > before:
            self.left_seconds = (now - since) / (spent - before) * (1 - spent) or None


def spent_of(views: Mapping[str, Snapshot]) -> float:
    """Return the share that is spent of all budgets together, by the number of trials."""
    slots = sum(own.counts.slots for own in views.values())
    return sum(own.counts.spent * own.counts.slots for own in views.values()) / max(slots, 1)


def draw(views: Mapping[str, Snapshot], clock: _Clock) -> Group:
    """Return the live table: the latest trials, a column for their study where there are several, and the whole."""
    table = Table(box=None, pad_edge=False)
    titles = ("trial", "worker", "state", "step", "loss")
    for title in titles if len(views) == 1 else ("study", *titles):
        table.add_column(title, justify="left" if title in ("study", "state") else "right")
    for name, view in views.items():
        running = [own for own in view.trials if own.state == "RUNNING"]
        ended = [own for own in view.trials if own.state not in ("RUNNING", "WAITING")]
        best = view.best
        for trial in [*ended[-max(1, SHOWN_TRIALS // len(views) - len(running)) :], *running]:
            style = "bold green" if best is not None and trial.number == best.number else STYLES.get(_state(trial), "")
            worker = str(trial.note["worker"]) if trial.note else ""
            row = (str(trial.number), worker, _state(trial), str(trial.step or ""), _loss(_shown(trial)))
            table.add_row(*(row if len(views) == 1 else (name, *row)), style=style)
    bar = ProgressBar(total=1.0, completed=spent_of(views), width=40)
    return Group(table, bar, *(Text(line) for line in summaries(views, clock)))


STYLES = {"running": "cyan", "pruned": "dim", "failed": "red", "diverged": "red", "handed back": "dim", "lost": "dim"}


def summaries(views: Mapping[str, Snapshot], clock: _Clock) -> Iterator[str]:
    """Return a line for each study, the time left behind the last."""
    *others, last = views
    for name in others:
        yield f"{name}: {summary(views[name])}"
    left = f", about {_minutes(clock.left_seconds)} left" if clock.left_seconds is not None else ""
    yield f"{f'{last}: ' if others else ''}{summary(views[last])}{left}"


def summary(view: Snapshot) -> str:
    """Return the study in one line: done, pruned, failed, best against the default."""
    counts = view.counts
    parts = [f"{counts.ended}/{counts.slots} trials"]
    if counts.budget_steps is not None:
        parts.append(f"{counts.steps}/{counts.budget_steps} steps")
    if counts.budget_seconds is not None:
        parts.append(f"{_minutes(counts.seconds)} of {_minutes(counts.budget_seconds)}")
    parts.append(f"{view.ended_as('pruned')} pruned")
    for outcome in ("diverged", "failed"):
        if number := view.ended_as(outcome):
            parts.append(f"{number} {outcome}")
    if view.best is not None:
        parts.append(f"best {_loss(view.best.value)} (trial {view.best.number})")
    if view.default is not None:
        parts.append(f"default {_loss(view.default.value)}")
    return ", ".join(parts)


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _state(trial: TrialView) -> str:
    if trial.outcome is not None:
        return trial.outcome
    # An attempt that did not end its slot was lost or handed back; its reason begins with which.
    return (trial.reason or "failed").split(":")[0] if trial.state == "FAIL" else trial.state.lower()


def _shown(trial: TrialView) -> float | None:
    return trial.value if trial.state == "COMPLETE" else trial.last_value


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
