"""What a run shows: lines, the table, the one-line summary."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from storage.slots import SlotCounts
from storage.snapshot import Snapshot, TrialView
from workers.progress import Lines, LiveTable, Quiet, progress_for, summaries, summary


def trial(number: int, state: str, **values: Any) -> TrialView:
    given: dict[str, Any] = {
        "trial_id": number + 100,
        "started_at": None,
        "ended_at": None,
        "value": None,
        "step": None,
        "last_value": None,
        "note": {"worker": 1},
        "reason": None,
        "slot": number,
        "outcome": {"COMPLETE": "complete", "PRUNED": "pruned"}.get(state),
    }
    return TrialView(number=number, state=state, **{**given, **values})


VIEW = Snapshot(
    SlotCounts(slots=6, ended=4, leased=1),
    (
        trial(0, "COMPLETE", value=12.0, step=500, last_value=13.0),
        trial(1, "PRUNED", step=100, last_value=40.0),
        trial(2, "COMPLETE", value=9.5, step=500, last_value=9.5),
        trial(3, "FAIL", slot=None, reason="lost: the worker stopped beating"),
        trial(4, "FAIL", slot=3, outcome="failed", reason="RuntimeError: shapes"),
        trial(5, "RUNNING", slot=4, step=25, last_value=33.0),
    ),
)


def test_the_summary_counts_slots_and_compares_with_the_default() -> None:
    assert summary(VIEW) == "4/6 trials, 1 pruned, 1 failed, best 9.5 (trial 2), default 12"


def test_other_budgets_are_shown_and_the_one_that_is_reached_first_tells_the_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("workers.progress.time.monotonic", lambda: now)
    lines = Lines()
    lines.show({"study": Snapshot(SlotCounts(200, 1, 1, budget_seconds=1800.0), ())})
    now = 60.0
    counts = SlotCounts(200, 5, 2, steps=300, budget_steps=1000, seconds=60.0, budget_seconds=1800.0)
    views = {"study": Snapshot(counts, ())}
    lines._clock.note(views)
    (line,) = summaries(views, lines._clock)
    assert line.startswith("5/200 trials, 300/1000 steps, 1:00 of 30:00, 0 pruned, about 2:")


def test_each_ended_trial_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.show({"study": VIEW})
    lines.show({"study": VIEW})
    err = capsys.readouterr().err
    assert err.count("trial 0 complete at step 500, loss 12\n") == 1
    assert err.count("trial 1 pruned at step 100, loss 40\n") == 1
    assert "trial 3 lost" in err
    assert "trial 4 failed at step 0: RuntimeError: shapes" in err
    assert "trial 5" not in err


def test_the_table_shows_running_trials_states_and_the_whole() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with LiveTable(console) as table:
        table.say("study demo")
        table.show({"study": VIEW})
    assert isinstance(console.file, io.StringIO)
    drawn = console.file.getvalue()
    for word in ("study demo", "running", "complete", "pruned", "failed", "4/6 trials", "9.5"):
        assert word in drawn


def test_time_left_is_judged_by_what_ended_while_watching(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("workers.progress.time.monotonic", lambda: now)
    lines = Lines()
    lines.show({"study": Snapshot(SlotCounts(6, 1, 1), ())})
    now = 60.0
    views = {"study": Snapshot(SlotCounts(6, 3, 1), ())}
    lines._clock.note(views)
    assert list(summaries(views, lines._clock)) == ["3/6 trials, 0 pruned, about 1:30 left"]


def test_several_studies_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    views = {"a-NHITS-h12": VIEW, "a-MLP-h12": Snapshot(SlotCounts(6, 1, 0), (trial(0, "COMPLETE", value=11.0),))}
    Lines().show(views)
    err = capsys.readouterr().err
    assert "a-NHITS-h12: trial 2 complete" in err
    assert "a-MLP-h12: trial 0 complete at step 0, loss 11\n" in err
    assert "a-MLP-h12: 1/6 trials, 0 pruned, best 11 (trial 0), default 11\n" in err
    console = Console(file=io.StringIO(), width=100)
    with LiveTable(console) as table:
        table.show(views)
    assert isinstance(console.file, io.StringIO)
    drawn = console.file.getvalue()
    assert drawn.index("study") < drawn.index("a-NHITS-h12") < drawn.index("a-MLP-h12")


def test_where_nobody_looks_nothing_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(progress_for("auto"), Lines)
    assert isinstance(progress_for("live"), LiveTable)
    with Quiet() as quiet:
        quiet.say("a word")
        quiet.show({"study": VIEW})
    assert capsys.readouterr() == ("", "")
