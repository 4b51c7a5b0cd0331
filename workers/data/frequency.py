"""The frequency of a table: the one that the user names, checked, or the one that the time stamps show."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.tseries.frequencies import to_offset

from castpool.sampler_policies.errors import InputError, did_you_mean
from castpool.workers.data.time_grid import Fit, Frequency, Stamps, fit

__all__ = ["choose_frequency"]

_KNOWN = ("min", "s", "ms", "us", "h", "D", "B", "W", "W-MON", "MS", "ME", "QS", "QE", "YS", "YE", "SMS", "SME")
_OLD_SPELLINGS = {
    "H": "h",
    "T": "min",
    "S": "s",
    "L": "ms",
    "U": "us",
    "N": "ns",
    "BH": "bh",
    "M": "ME",
    "m": "ME",
    "Q": "QE",
    "Y": "YE",
    "A": "YE",
    "AS": "YS",
    "SM": "SME",
    "BM": "BME",
    "BQ": "BQE",
    "BY": "BYE",
    "BA": "BYE",
    "BAS": "BYS",
    "CBM": "CBME",
    "hourly": "h",
    "daily": "D",
    "weekly": "W",
    "monthly": "MS",
    "quarterly": "QS",
    "yearly": "YS",
    "annual": "YS",
}
_N_SAMPLED_SERIES = 8
_N_WINDOWS = 24
_WINDOW_LENGTHS = (12, 4)  # 12 stamps cover a weekend, which tells business days from days
_DAY_NANOSECONDS = 86_400_000_000_000


def choose_frequency(stamps: Stamps, given: Frequency | None) -> tuple[Fit, tuple[str, ...]]:
    """Return the frequency, how the stamps fit it (gaps are the caller's to refuse), and notes on what was inferred.

    Raises InputError for an unknown alias, a frequency of the wrong kind or one that most steps contradict, and
    where none is given and none can be inferred.
    """
    if given is None:
        best = _infer(stamps)
        if best is None:
            got = f"none, and the time stamps of the {len(stamps.ids)} series show none"
            remedy = "write --freq with the step from one row to the next, e.g. --freq D, h or MS."
            raise InputError("freq", got, remedy)
        return best, (f"freq: inferred {best.freq!r} from the time stamps",)
    freq = _integer_step(given) if stamps.is_integer else _alias(given, stamps)
    fitted = fit(stamps, freq)
    if not _is_plausible(fitted):
        got = f"{freq!r}, which is the step of only {fitted.regular_share:.0%} of the rows"
        raise InputError("freq", got, f"write the step from one row to the next.{_looks_like(stamps)}")
    return fitted, ()


def _is_plausible(fitted: Fit) -> bool:
    return fitted.regular_share >= 0.5


def _integer_step(given: Frequency) -> int:
    try:
        step = int(given)
    except ValueError:
        remedy = "write the step as an integer, e.g. --freq 1, or write the time column as dates."
        raise InputError("freq", f"{given!r} for a time column of integers", remedy) from None
    if step < 1:
        raise InputError("freq", given, "write a step of 1 or more.")
    return step


def _alias(given: Frequency, stamps: Stamps) -> str:
    alias = str(given)
    if alias.isdigit():
        remedy = f"write a pandas alias, e.g. --freq D, h or MS.{_looks_like(stamps)}"
        raise InputError("freq", f"{given!r} for a time column of time stamps", remedy)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # pandas warns of spellings that it is going to refuse
            n_steps = to_offset(alias).n
    except (ValueError, OverflowError, Warning):
        raise InputError("freq", repr(alias), f"{_respelled(alias)}{_looks_like(stamps)}") from None
    if n_steps < 1:
        raise InputError("freq", repr(alias), "write a step forward in time.")
    return alias


def _respelled(alias: str) -> str:
    """Return which alias is probably meant: the number in front and the anchor behind (``Q-DEC``) are kept."""
    number, word, anchor = re.fullmatch(r"([\d.]*)\s*([^-]*)(-.*)?", alias.strip(), re.DOTALL).groups(default="")  # type: ignore[union-attr]
    if word in _OLD_SPELLINGS:
        return f"did you mean {number + _OLD_SPELLINGS[word] + anchor.upper()!r}?"
    return did_you_mean(word, _KNOWN)


def _looks_like(stamps: Stamps) -> str:
    best = _infer(stamps)
    return "" if best is None else f" The time stamps look like --freq {best.freq}."


def _infer(stamps: Stamps) -> Fit | None:
    """Return the candidate with the fewest defects over all series, if most steps follow it."""
    fits = [fit(stamps, candidate) for candidate in dict.fromkeys(_candidates(stamps))]
    best = min(fits, key=lambda fitted: fitted.defects, default=None)
    return best if best is not None and _is_plausible(best) else None


def _candidates(stamps: Stamps) -> Iterator[Frequency]:
    steps = stamps.steps()
    if not len(steps):
        return
    sizes, counts = np.unique(steps, return_counts=True)
    commonest = int(sizes[np.argmax(counts)])
    if stamps.is_integer:
        yield from (commonest, int(sizes[0]))
        return
    votes = Counter(
        alias
        for series in np.argsort(-stamps.lengths, kind="stable")[:_N_SAMPLED_SERIES]
        if (alias := _alias_of_series(stamps.values[stamps.starts[series] :][: stamps.lengths[series]]))
    )
    for alias, _ in votes.most_common(3):
        yield alias.partition("-")[0]  # QS says the same as QS-JAN, shorter; W does not say W-MON, and will not fit
        yield alias
    if commonest % _DAY_NANOSECONDS:
        yield to_offset(pd.Timedelta(commonest)).freqstr
    else:
        days = commonest // _DAY_NANOSECONDS
        yield "D" if days == 1 else f"{days}D"


def _alias_of_series(values: npt.NDArray[np.datetime64]) -> str | None:
    """Name the frequency of the whole series or else, because of its gaps, the commonest of its windows."""
    for length in (len(values), *_WINDOW_LENGTHS):
        if 3 <= length <= len(values):
            begins = np.unique(np.linspace(0, len(values) - length, _N_WINDOWS, dtype=int))
            found = Counter(alias for begin in begins if (alias := _infer_alias(values[begin : begin + length])))
            if found:
                return found.most_common(1)[0][0]
    return None


def _infer_alias(values: npt.NDArray[np.datetime64]) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas 3.1 warns that pandas 4 will return an offset instead of its name
        found = pd.infer_freq(pd.DatetimeIndex(values))
    return found if found is None else str(getattr(found, "freqstr", found))
