"""The policies of the pruner's resource: training steps of a trial, and steps between its validation checks."""

from __future__ import annotations

from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.spaces.space import Space

# Longer trainings of the default spaces are not needed to compare trials (docs/decisions/0002-resource.md).
LONGEST_BY_DEFAULT = 2000
# A learning rate that decays after thirds of the training never decays where time ends the study first.
LONGEST_WITHIN_TIME = 1000
FEWEST_CHECKS = 15
# The first comparison of slow trials should not take a large part of the time budget.
FEWEST_CHECKS_WITHIN_TIME = 40
# After a third of the training the next decay of the learning rate has had its effect: neuralforecast's models that
# have a schedule by default decay three times.
LEAST_PATIENCE = 3
ROUND_STEPS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10_000)


def choose_max_steps(
    default_space: Space, space: Space, default: int, given: int | None, limited_by: str = "trials"
) -> Decision:
    """Decide the number of training steps of a trial that is not stopped early.

    Args:
        default_space: the Auto class's default space, before `max_steps` is removed from it.
        space: what the trials search, in which the user may have put `max_steps` back.
        default: the model's default.
        given: the number that the user set, or None.
        limited_by: the kind of budget that ends the study (`Limit.by`).

    Raises:
        InputError: less than one step.
    """
    if given is not None:
        if given < 1:
            raise InputError("max_steps", given, "write a number of training steps of at least 1.")
        return Decision("max_steps", str(given), "set by the user")
    if "max_steps" in space:
        longest = max(space["max_steps"].extremes())
        return Decision("max_steps", str(longest), "it is the longest training in the space")
    longest = max(default_space["max_steps"].extremes()) if "max_steps" in default_space else default
    most = LONGEST_WITHIN_TIME if limited_by == "time" else LONGEST_BY_DEFAULT
    if longest <= most:
        return Decision("max_steps", str(longest), "it is the longest training in neuralforecast's defaults")
    if limited_by == "time":
        reason = f"neuralforecast's defaults go to {longest}, which leaves time for few trials; max_steps sets more"
    else:
        reason = (
            f"neuralforecast's defaults go to {longest}, far more than the comparison of trials needs; max_steps "
            "sets more"
        )
    return Decision("max_steps", str(most), reason)


def choose_patience(max_steps: int, val_check_steps: int, objection: str | None) -> Decision:
    """Decide after how many validation checks without an improvement a trial ends; 0 is never.

    Args:
        max_steps: training steps of a trial that is not stopped early.
        val_check_steps: training steps between two checks.
        objection: why trials must not end early, or None.
    """
    checks = max_steps // val_check_steps
    patience = max(LEAST_PATIENCE, -(-checks // 3))
    if objection is None and 2 * patience > checks:
        objection = f"{checks} checks are too few for early stopping"
    if objection is not None:
        return Decision("patience", "0", objection)
    steps = patience * val_check_steps
    reason = f"a trial's value is its best validation loss; it ends after {steps} steps without an improvement"
    return Decision("patience", str(patience), reason)


def choose_val_check_steps(max_steps: int, given: int | None, limited_by: str = "trials") -> Decision:
    """Decide the number of training steps between two validation checks.

    Args:
        max_steps: training steps of a trial that is not stopped early.
        given: the number that the user set, or None.
        limited_by: the kind of budget that ends the study (`Limit.by`).

    Raises:
        InputError: a number that leaves no check.
    """
    if given is not None:
        if not 1 <= given <= max_steps:
            raise InputError("val_check_steps", given, f"write a number from 1 to max_steps ({max_steps}).")
        return Decision("val_check_steps", str(given), "set by the user")
    fewest = FEWEST_CHECKS_WITHIN_TIME if limited_by == "time" else FEWEST_CHECKS
    fitting = [steps for steps in ROUND_STEPS if steps * fewest <= max_steps]
    steps = fitting[-1] if fitting else 1
    reason = f"{max_steps // steps} checks per trial are enough for a pruner"
    return Decision("val_check_steps", str(steps), reason)
