"""The phases of a study that evaluates its finalists after the search."""

from __future__ import annotations

from enum import Enum


class Phase(str, Enum):
    """Where a study is. Its value is what the storage holds; all but the search and the end are kinds of slots too."""

    SEARCH = "search"
    # The finalists are trained again with other seeds, and forecast older windows that the search did not use.
    VERIFICATION = "verification"
    # What was selected forecasts the holdout, which nothing has seen.
    HOLDOUT = "holdout"
    DONE = "done"
    # Asked for after the end, any number of times: past windows are forecast. It is no part of the study's budgets.
    BACKTEST = "backtest"

    def __str__(self) -> str:
        return self.value
