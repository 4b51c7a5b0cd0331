"""Which trials are judged again: the best distinct configurations, pruned ones too, and the default one always."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState

from castpool import attributes
from castpool.workers.evaluation.finalists import find_finalists


def trial(
    number: int,
    value: float | None,
    state: TrialState = TrialState.COMPLETE,
    *,
    config: dict[str, Any] | None = None,
    reports: dict[int, float] | None = None,
    best_step: int | None = 10,
    seconds: float = 3.0,
    is_default: bool = False,
) -> FrozenTrial:
    """Return a trial as a worker ends it."""
    attrs: dict[str, Any] = {
        attributes.CONFIG: {"width": number} if config is None else config,
        attributes.TRAINING_SECONDS: seconds,
        attributes.ATTEMPT: {"slot": 0 if is_default else number + 1, "attempt": 1},
    }
    if best_step is not None:
        attrs[attributes.BEST_STEP] = best_step
    made = optuna.trial.create_trial(
        state=state, value=value, user_attrs=attrs, intermediate_values=reports or {10: 9.0, 20: 9.5}
    )
    made.number = number
    return made


def test_the_best_distinct_configurations_come_best_first() -> None:
    trials = [
        trial(0, 3.0),
        trial(1, 1.0, config={"a": 1, "b": 2}),
        trial(2, 2.0),
        trial(3, 1.5, config={"b": 2, "a": 1}),
    ]
    assert [finalist.trial for finalist in find_finalists(trials, 8)] == [1, 2, 0]
    assert [finalist.trial for finalist in find_finalists(trials, 2)] == [1, 2]


def test_the_order_of_the_trials_changes_nothing() -> None:
    trials = [trial(number, value) for number, value in enumerate([2.0, 1.0, 1.0, 3.0])]
    assert [finalist.trial for finalist in find_finalists(trials, 3)] == [1, 2, 0]
    assert find_finalists(trials[::-1], 3) == find_finalists(trials, 3)


def test_a_pruned_trial_has_its_best_loss_and_the_time_up_to_it() -> None:
    pruned = trial(1, 7.0, TrialState.PRUNED, reports={10: 1.0, 20: 4.0, 30: 7.0}, best_step=10, seconds=6.0)
    (finalist,) = find_finalists([pruned], 8)
    assert (finalist.value, finalist.step) == (1.0, 10)
    assert finalist.seconds == pytest.approx(2.0)


def test_what_has_no_loss_is_no_finalist() -> None:
    trials = [
        trial(0, None, TrialState.FAIL),
        trial(1, None, TrialState.RUNNING),
        trial(2, 1.0, best_step=None),
        trial(3, 1.0, TrialState.PRUNED, best_step=0),  # diverged before the first check
    ]
    assert find_finalists(trials, 8) == []


def test_the_default_configuration_is_always_among_them() -> None:
    trials = [trial(0, 9.0, is_default=True), *(trial(number, float(number)) for number in range(1, 6))]
    finalists = find_finalists(trials, 2)
    assert [finalist.trial for finalist in finalists] == [1, 2, 0]
    assert [finalist.is_default for finalist in finalists] == [False, False, True]
    trials[0] = trial(0, 0.5, is_default=True)
    assert [finalist.trial for finalist in find_finalists(trials, 2)] == [0, 1]


def test_a_later_trial_of_the_default_configuration_stands_for_it() -> None:
    trials = [
        trial(0, 3.0, is_default=True, config={"width": 8}),
        trial(1, 2.0, config={"width": 4}),
        trial(2, 1.0, config={"width": 8}),
    ]
    assert [(finalist.trial, finalist.is_default) for finalist in find_finalists(trials, 8)] == [(2, True), (1, False)]
    assert [(finalist.trial, finalist.is_default) for finalist in find_finalists(trials, 1)] == [(2, True)]


@st.composite
def studies(draw: st.DrawFn) -> list[FrozenTrial]:
    """Trials with few configurations, so that many have the same; retries of the default slot may change its own."""
    losses = st.integers(1, 4).map(float)
    made = []
    for number in range(draw(st.integers(0, 10))):
        state = draw(st.sampled_from([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]))
        reports = {step: draw(losses) for step in range(10, 10 * draw(st.integers(1, 3)) + 1, 10)}
        best_step = min(reports, key=lambda step: reports[step])
        made.append(
            trial(
                number,
                None if state == TrialState.FAIL else reports[best_step],
                state,
                config={"width": draw(st.integers(1, 3)), "layers": [1, draw(st.integers(1, 2))]},
                reports=reports,
                best_step=draw(st.sampled_from([None, best_step, best_step])),
                is_default=draw(st.integers(0, 3)) == 0,
            )
        )
    return made


@given(trials=studies(), most=st.integers(1, 5))
def test_finalists_are_the_best_distinct_configurations_and_the_default_once(
    trials: list[FrozenTrial], most: int
) -> None:
    finalists = find_finalists(trials, most)
    judged = [one for one in trials if one.state != TrialState.FAIL and one.user_attrs.get(attributes.BEST_STEP)]
    lowest: dict[str, float] = {}
    for one in judged:
        loss = min(one.intermediate_values.values())
        lowest[configuration(one)] = min(loss, lowest.get(configuration(one), loss))
    by_number = {one.number: one for one in judged}
    found = [configuration(by_number[finalist.trial]) for finalist in finalists]
    assert len(set(found)) == len(found)
    # Each with the best loss of its configuration, and the best `most` of those, best first.
    assert [finalist.value for finalist in finalists] == [lowest[each] for each in found]
    assert [finalist.value for finalist in finalists[:most]] == sorted(lowest.values())[:most]
    assert len(finalists) <= most + 1
    # The default configuration once, where it was trained; only it may come after the best.
    defaults = {configuration(one) for one in judged if _is_attempt_at_defaults(one)}
    marked = [each for each, finalist in zip(found, finalists, strict=True) if finalist.is_default]
    assert len(marked) == bool(defaults)
    assert set(marked) <= defaults
    assert all(finalist.is_default for finalist in finalists[most:])


def configuration(trial: FrozenTrial) -> str:
    return str(trial.user_attrs[attributes.CONFIG])


def _is_attempt_at_defaults(trial: FrozenTrial) -> bool:
    return bool(trial.user_attrs[attributes.ATTEMPT]["slot"] == 0)
