"""The policies of the baselines: the length of a season, and which simple methods a study is compared with."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.rules.rule import no_objection

SECONDS_A_DAY = 86_400
# The step in seconds, for steps shorter than a day, whose season is a day; weeks and longer have a year.
SHORT_STEPS = {"h": 3600, "min": 60, "s": 1, "ms": 1e-3, "us": 1e-6}
OLD_ALIASES = {"H": "h", "T": "min", "S": "s", "M": "ME", "Q": "QE", "A": "YE", "Y": "YE"}
SEASONS = {"D": 7, "B": 5, "W": 52, "MS": 12, "ME": 12, "BMS": 12, "BME": 12, "QS": 4, "QE": 4, "BQS": 4, "BQE": 4}
# A day of shorter steps is longer than what seasonal methods and most series bear: their season is an hour.
LONGEST_SEASON = 1440
# A season counts as seen where the series holds two of them; so does `statsforecast`.
SEASONS_NEEDED = 2
# Average demand interval, from Syntetos, Boylan and Croston, "On the categorization of demand patterns" (2005).
INTERMITTENT = 1.32
# Seconds an observation of one series on one core, measured at lengths of 100 to 5000; the first is without a season.
SECONDS_ETS = (0.0005, 0.005)
SECONDS_THETA = (0.001, 0.002)
# AutoETS at a length of 1000: 4.4 s with a season of 48, 16.8 s with one of 168.
COSTLY_SEASON = 48
SECONDS_CROSTON = (0.0001, 0.0001)
# What all baselines may take where the study has no budget of time.
USUAL_SECONDS = 60.0


def choose_season(freq: str | int, horizon: int, shortest: int, given: int | None = None) -> Decision:
    """Decide how many observations are a season: a day of hours, a week of days, a year of months.

    Args:
        freq: pandas' alias of the step, or an integer.
        horizon: observations to forecast.
        shortest: the length of the shortest series, without what is held out.
        given: the season that the user set, or None.

    Returns:
        A decision with the argument ``season``; 1 is no season.

    Raises:
        InputError: a season below 1.
    """
    if given is not None:
        if given < 1:
            raise InputError("season", given, "write a number of observations of at least 1; 1 is no season.")
        return _season(given, "set by the user")
    usual = _usual_season(freq)
    if usual == 1:
        return _season(1, f"a step of {freq!r} has no usual season")
    if shortest < SEASONS_NEEDED * usual:
        few = f"the shortest series, {shortest} observations, holds less than {SEASONS_NEEDED} seasons of {usual}"
        return _season(1, few)
    repeated = f"; the horizon of {horizon} repeats it" if horizon > usual else ""
    return _season(usual, f"the usual season of a step of {freq!r}{repeated}")


def _season(length: int, reason: str) -> Decision:
    return Decision("season", str(length), reason, {"season": length})


def _usual_season(freq: str | int) -> int:
    """Return the observations of the usual season; 1 where there is none, or a whole number of steps is none."""
    match = re.fullmatch(r"(\d*)([A-Za-z]+)(-[A-Za-z]+)?", str(freq)) if isinstance(freq, str) else None
    if match is None:
        return 1
    multiple, alias = int(match[1] or 1), OLD_ALIASES.get(match[2], match[2])
    if multiple < 1:
        return 1
    if alias in SHORT_STEPS:
        step = multiple * SHORT_STEPS[alias]
        # Steps of a second: a day of them is beyond every method.
        lengths = [period / step for period in (SECONDS_A_DAY, 3600, 60)]
        return next((round(n) for n in lengths if n.is_integer() and 1 < n <= LONGEST_SEASON), 1)
    season, rest = divmod(SEASONS.get(alias, 1), multiple)
    return season if rest == 0 and season > 1 else 1


@dataclass(frozen=True)
class BaselineFacts:
    """Facts for the policy of the baselines.

    Attributes:
        n_series: the number of series.
        median_length: the median of their lengths.
        season: observations in a season; 1 is none.
        demand_interval: the median over the series of the average demand interval: observations for each one that is
            not zero; 1 where there are no zeros.
        is_installed: whether `statsforecast` is.
        n_windows: the number of fits of each series.
        seconds: core seconds that all baselines may take; None where time is no budget.
    """

    n_series: int
    median_length: int
    season: int = 1
    demand_interval: float = 1.0
    is_installed: bool = True
    n_windows: int = 1
    seconds: float | None = None

    def cost(self, seconds: tuple[float, float]) -> float:
        """Return the core seconds of a method, from those of an observation without and with a season."""
        longer = max(1.0, self.season / COSTLY_SEASON)
        return seconds[self.season > 1] * longer * self.n_series * self.median_length * self.n_windows


@dataclass(frozen=True)
class BaselineRule:
    """A baseline that the policy may choose; all without an objection are chosen, while their costs fit together.

    Attributes:
        name: of the baseline.
        condition: in words, the studies that it is for.
        reason: why it is chosen.
        seconds: of one observation, without and with a season; None costs nothing.
        objection: returns why it is rejected for these facts, or None.
    """

    name: str
    condition: str
    reason: str
    seconds: tuple[float, float] | None
    objection: Callable[[BaselineFacts], str | None]


def choose_baselines(facts: BaselineFacts) -> Decision:
    """Decide which baselines a study is compared with; seasonal naive always.

    Returns:
        A decision with the arguments ``names``, in the order of their cost, and ``season``; ``rejected`` says why each
        other baseline is left out.
    """
    left = USUAL_SECONDS if facts.seconds is None else facts.seconds
    chosen, rejected = [], {}
    for rule in BASELINES:
        cost = 0.0 if rule.seconds is None else facts.cost(rule.seconds)
        objection = rule.objection(facts)
        if objection is None and cost > left:
            objection = f"about {cost:.0f} s of a core are more than the {left:.0f} s that are left for it"
        if objection is None:
            chosen.append(rule)
            left -= cost
        else:
            rejected[rule.name] = objection
    names = [rule.name for rule in chosen]
    reason = "; ".join(f"{rule.name}: {rule.reason}" for rule in chosen)
    return Decision(
        "baselines", ", ".join(names), reason, {"names": names, "season": facts.season}, "affordable", rejected
    )


def _not_installed(facts: BaselineFacts) -> str | None:
    return None if facts.is_installed else "statsforecast is not installed: pip install 'castpool[baselines]'"


def _not_intermittent(facts: BaselineFacts) -> str | None:
    if (missing := _not_installed(facts)) is not None:
        return missing
    if facts.demand_interval <= INTERMITTENT:
        return f"a value that is not zero every {facts.demand_interval:.2f} observations is not intermittent demand"
    return None


BASELINES: tuple[BaselineRule, ...] = (
    BaselineRule("SeasonalNaive", "everything", "the last season costs nothing", None, no_objection),
    BaselineRule(
        "CrostonOptimized",
        f"a value that is not zero every {INTERMITTENT} observations or more seldom",
        "the series are zero most often",
        SECONDS_CROSTON,
        _not_intermittent,
    ),
    BaselineRule("AutoTheta", "where time allows", "hard to beat on few data", SECONDS_THETA, _not_installed),
    BaselineRule(
        "AutoETS",
        "where time allows, after AutoTheta",
        "level, trend and season of each series by itself",
        SECONDS_ETS,
        _not_installed,
    ),
)
