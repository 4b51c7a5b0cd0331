"""Rules for the resource axis: how long a trial may train and how often it is checked."""

from __future__ import annotations

from sampler_policies.decision import Decision
from sampler_policies.errors import InputError
from sampler_policies.space import Space

# Where a default space asks for more, early checks tell good from bad long before (docs/decisions/0002-resource.md).
LONGEST_BY_DEFAULT = 2000
# A learning rate that falls by thirds of the training never falls where time ends the study first.
LONGEST_WITHIN_TIME = 1000
FEWEST_CHECKS = 15
# The first comparison of slow trials is not to take a large part of the time that there is.
FEWEST_CHECKS_WITHIN_TIME = 40
# Waiting for a third of the training sees what the next halving of the learning rate brings: where neuralforecast's
# models have a schedule by default, it is of three.
LEAST_PATIENCE = 3
ROUND_STEPS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10_000)


def choose_max_steps(
    default_space: Space, space: Space, usual: int, given: int | None, limited_by: str = "trials"
) -> Decision:
    """Decide how many training steps a trial that nobody stops takes.

    Args:
        default_space: the Auto class's own space, before `max_steps` is taken out of it.
        space: what the trials search, in which the user may have put `max_steps` back.
        usual: the model's own default.
        given: the user's number, or None.
        limited_by: what ends the study (`Limit.by`).

    Raises:
        InputError: less than one step.
    """
    if given is not None:
        if given < 1:
            raise InputError("max_steps", given, "write a number of training steps of at least 1.")
        return Decision("max_steps", str(given), "it was asked for")
    if "max_steps" in space:
        longest = max(space["max_steps"].extremes())
        return Decision("max_steps", str(longest), "it is the longest training that the space asks for")
    longest = max(default_space["max_steps"].extremes()) if "max_steps" in default_space else usual
    most = LONGEST_WITHIN_TIME if limited_by == "time" else LONGEST_BY_DEFAULT
    if longest <= most:
        return Decision("max_steps", str(longest), "it is the longest training in neuralforecast's defaults")
    if limited_by == "time":
        reason = f"neuralforecast's defaults go to {longest}, for which time leaves few trials; max_steps sets more"
    else:
        reason = (
            f"neuralforecast's defaults go to {longest}, far beyond where checks tell good from bad; max_steps sets "
            "more"
        )
    return Decision("max_steps", str(most), reason)


def choose_patience(max_steps: int, val_check_steps: int, against: str | None) -> Decision:
    """Decide after how many checks without a better one a trial ends; 0 is never.

    Args:
        max_steps: of a trial that nobody stops.
        val_check_steps: training steps between two checks.
        against: what speaks against any, or None.
    """
    checks = max_steps // val_check_steps
    patience = max(LEAST_PATIENCE, -(-checks // 3))
    if against is None and 2 * patience > checks:
        against = f"{checks} checks are too few to wait for a better one in vain"
    if against is not None:
        return Decision("patience", "0", against)
    steps = patience * val_check_steps
    reason = f"a trial is worth its best check, and ends where {steps} steps have brought none that is better"
    return Decision("patience", str(patience), reason)


def choose_val_check_steps(max_steps: int, given: int | None, limited_by: str = "trials") -> Decision:
    """Decide how many training steps lie between two validation checks.

    Args:
        max_steps: of a trial that nobody stops.
        given: the user's number, or None.
        limited_by: what ends the study (`Limit.by`).

    Raises:
        InputError: a number that leaves no check.
    """
    if given is not None:
        if not 1 <= given <= max_steps:
            raise InputError("val_check_steps", given, f"write a number from 1 to max_steps ({max_steps}).")
        return Decision("val_check_steps", str(given), "it was asked for")
    fewest = FEWEST_CHECKS_WITHIN_TIME if limited_by == "time" else FEWEST_CHECKS
    fitting = [steps for steps in ROUND_STEPS if steps * fewest <= max_steps]
    steps = fitting[-1] if fitting else 1
    reason = f"{max_steps // steps} checks a trial leave a pruner something to see"
    return Decision("val_check_steps", str(steps), reason)
