"""The displays of a run: lines, the table, the one-line summary."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from castpool.storage.budget.kinds import STEPS, TIME, Budget
from castpool.storage.budget.outcome import Outcome
from castpool.storage.budget.phase import Phase
from castpool.storage.budget.slots import SlotCounts
from castpool.storage.study.snapshot import Snapshot, TrialView
from castpool.workers.monitoring.progress import Lines, LiveTable, Quiet, progress_for, summarize_study


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
        "outcome": {"COMPLETE": Outcome.COMPLETE, "PRUNED": Outcome.PRUNED}.get(state),
    }
    return TrialView(number=number, state=state, **{**given, **values})


VIEW = Snapshot(
    SlotCounts(slots=6, ended=4, leased=1),
    (
        trial(0, "COMPLETE", value=12.0, step=500, last_value=13.0),
        trial(1, "PRUNED", step=100, last_value=40.0),
        trial(2, "COMPLETE", value=9.5, step=500, last_value=9.5),
        trial(3, "FAIL", slot=None, reason="lost: the worker stopped beating"),
        trial(4, "FAIL", slot=3, outcome=Outcome.FAILED, reason="RuntimeError: shapes"),
        trial(5, "RUNNING", slot=4, step=25, last_value=33.0),
    ),
)


def test_the_summary_counts_slots_and_compares_with_the_default() -> None:
    assert summarize_study(VIEW) == "4/6 trials, 1 pruned, 1 failed, best 9.5 (trial 2), default 12"


def test_other_budgets_are_shown_and_the_one_that_is_reached_first_tells_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr("castpool.workers.monitoring.progress.time.monotonic", lambda: now)
    lines = Lines()
    lines.show({"study": Snapshot(SlotCounts(200, 1, 1, budgets=(Budget(TIME, 1800.0),)), ())})
    capsys.readouterr()
    now += 60.0
    counts = SlotCounts(200, 5, 2, budgets=(Budget(STEPS, 1000, 300), Budget(TIME, 1800.0, 60.0)))
    lines.show({"study": Snapshot(counts, ())})
    (line,) = capsys.readouterr().err.splitlines()
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


def test_a_backtest_shows_its_evaluations_and_not_the_trials_of_before(capsys: pytest.CaptureFixture[str]) -> None:
    counts = SlotCounts(4, 4, 0, phase=Phase.BACKTEST, evaluations=12, evaluated=3)
    lines = Lines()
    lines.show({"study": Snapshot(counts, VIEW.trials[:3])})
    lines.show({"study": Snapshot(replace(counts, phase=Phase.DONE), VIEW.trials[:3])})
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "4/4 trials, 1 pruned, backtest: 3/12 evaluations, best 9.5 (trial 2), default 12"


def test_the_table_shows_running_trials_states_and_the_whole() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with LiveTable(console) as table:
        table.say("study demo")
        table.show({"study": VIEW})
    assert isinstance(console.file, io.StringIO)
    drawn = console.file.getvalue()
    for word in ("study demo", "running", "complete", "pruned", "failed", "4/6 trials", "9.5"):
        assert word in drawn
    assert any(line.startswith("4/6 trials") for line in drawn.splitlines()), "the summary has a line below the bar"


def test_time_left_is_judged_by_what_ended_while_watching(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr("castpool.workers.monitoring.progress.time.monotonic", lambda: now)
    lines = Lines()
    lines.show({"study": Snapshot(SlotCounts(6, 1, 1), ())})
    now += 60.0
    lines.show({"study": Snapshot(SlotCounts(6, 3, 1), ())})
    assert capsys.readouterr().err.splitlines()[-1] == "3/6 trials, 0 pruned, about 1:30 left"


@pytest.mark.parametrize("reason", ["released: worker is shutting down", "handed back: the worker was asked to stop"])
def test_the_state_of_an_attempt_that_is_tried_again_is_in_its_reason(
    reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Lines().show({"study": Snapshot(SlotCounts(6, 0, 1), (trial(0, "FAIL", slot=None, step=25, reason=reason),))})
    assert f"trial 0 {reason.split(':')[0]} at step 25: {reason}\n" in capsys.readouterr().err


def test_several_studies_are_distinguished(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_quiet_displays_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(progress_for("auto"), Lines)
    assert isinstance(progress_for("live"), LiveTable)
    with Quiet() as quiet:
        quiet.say("a word")
        quiet.show({"study": VIEW})
    assert capsys.readouterr() == ("", "")
