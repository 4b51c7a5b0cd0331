"""Which season a frequency has, and which baselines a study is compared with."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castpool.sampler_policies.errors import InputError
from castpool.sampler_policies.rules.choose_baselines import (
    BASELINES,
    BaselineFacts,
    choose_baselines,
    choose_season,
)

MONTHLY = BaselineFacts(n_series=20, median_length=100, season=12)


@pytest.mark.parametrize(
    ("freq", "season"),
    [
        ("h", 24),
        ("H", 24),
        ("2h", 12),
        ("7h", 1),
        ("30min", 48),
        ("15min", 96),
        ("min", 1440),
        ("s", 60 * 60 // 60),
        ("D", 7),
        ("2D", 1),
        ("B", 5),
        ("W", 52),
        ("W-MON", 52),
        ("2W", 26),
        ("MS", 12),
        ("ME", 12),
        ("M", 12),
        ("3MS", 4),
        ("QS", 4),
        ("QE-DEC", 4),
        ("Q", 4),
        ("Y", 1),
        ("YS-JAN", 1),
        (1, 1),
        (24, 1),
        ("fortnight", 1),
        ("0h", 1),
    ],
)
def test_the_season_of_a_frequency(freq: str | int, season: int) -> None:
    decision = choose_season(freq, 12, 10_000)
    assert decision.arguments == {"season": season}
    assert repr(freq) in decision.reason


def test_a_short_series_has_no_season_and_the_users_value_wins() -> None:
    assert choose_season("MS", 6, 24).arguments == {"season": 12}
    short = choose_season("MS", 6, 23)
    assert short.arguments == {"season": 1}
    assert short.reason == "the shortest series, 23 observations, holds less than 2 seasons of 12"
    assert choose_season("MS", 6, 3, given=12).reason == "set by the user"
    with pytest.raises(InputError, match="season: got 0"):
        choose_season("MS", 6, 100, given=0)


@pytest.mark.parametrize(
    ("facts", "names", "rejected"),
    [
        (MONTHLY, ["SeasonalNaive", "AutoTheta", "AutoETS"], {"CrostonOptimized": "not intermittent"}),
        (replace(MONTHLY, demand_interval=2.0), ["SeasonalNaive", "CrostonOptimized", "AutoTheta", "AutoETS"], {}),
        (replace(MONTHLY, is_installed=False), ["SeasonalNaive"], {"AutoETS": "pip install 'castpool[baselines]'"}),
        (replace(MONTHLY, season=48), ["SeasonalNaive", "AutoTheta", "AutoETS"], {}),
        (replace(MONTHLY, n_series=10_000), ["SeasonalNaive"], {"AutoTheta": "more than the 60 s", "AutoETS": "s of"}),
        (replace(MONTHLY, seconds=5.0), ["SeasonalNaive", "AutoTheta"], {"AutoETS": "more than the 1 s that are left"}),
    ],
)
def test_what_fits_is_chosen(facts: BaselineFacts, names: list[str], rejected: dict[str, str]) -> None:
    decision = choose_baselines(facts)
    assert decision.arguments == {"names": names, "season": facts.season}
    assert decision.choice == ", ".join(names)
    for name, words in rejected.items():
        assert words in decision.rejected[name]


@given(
    st.builds(
        BaselineFacts,
        n_series=st.integers(1, 100_000),
        median_length=st.integers(1, 100_000),
        season=st.integers(1, 400),
        demand_interval=st.floats(1, 50),
        is_installed=st.booleans(),
        n_windows=st.integers(1, 10),
        seconds=st.none() | st.floats(0, 1e5),
    )
)
def test_seasonal_naive_always_and_a_reason_for_every_other(facts: BaselineFacts) -> None:
    decision = choose_baselines(facts)
    names = decision.arguments["names"]
    assert names[0] == "SeasonalNaive"
    assert set(names) | set(decision.rejected) == {rule.name for rule in BASELINES}
    assert not set(names) & set(decision.rejected)
    spent = sum(facts.cost(rule.seconds) for rule in BASELINES if rule.name in names and rule.seconds)
    assert spent <= (60 if facts.seconds is None else facts.seconds) * (1 + 1e-9)
