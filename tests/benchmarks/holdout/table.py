"""The tables of the comparison of test errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median

from castpool.workers.results.judge import DEFAULT, SINGLE
from tests.benchmarks.holdout.ratios import PEERS, Runs
from tests.benchmarks.holdout.runs import AUTOGLUON, CASTPOOL_AUTO, NAIVE, Judgement, Run


def error_table(runs: Runs) -> str:
    """Return the test errors of each pair, as medians over the seeds."""
    others = {
        "(1b)": lambda pair: runs.errors(pair, PEERS[0]),
        "(2)": lambda pair: runs.errors(pair, PEERS[1]),
        "(3)": lambda pair: runs.errors(pair, PEERS[2]),
        "castpool, --model auto": lambda pair: runs.errors(pair, CASTPOOL_AUTO),
        "AutoGluon": lambda pair: runs.errors(pair, AUTOGLUON),
    }
    columns: dict[str, Callable[[str], Sequence[float]]] = {
        "castpool": runs.errors,
        "its single best": lambda pair: runs.errors(pair, name=SINGLE),
        "default": lambda pair: runs.errors(pair, name=DEFAULT),
        NAIVE: lambda pair: _known(runs.baselines(pair).get(NAIVE)),
        "best other baseline": lambda pair: _known(runs.best_baseline(pair)),
        **{name: errors for name, errors in others.items() if any(map(errors, runs.pairs))},
    }
    lines = [_row("pair", "runs", *columns), _row(*("---" for _ in range(len(columns) + 2)))]
    for pair in runs.pairs:
        cells = [_number(median(found), 4) if (found := errors(pair)) else "-" for errors in columns.values()]
        lines.append(_row(pair, str(len(runs.find(pair))), *cells))
    return "\n".join(lines)


def ratio_table(runs: Runs) -> str:
    """Return the ratios of castpool's test error to all others, over runs and pairs."""
    heads = (
        "test error over that of",
        "pairs",
        "runs",
        "geometric mean",
        "median run",
        "95 %",
        "at most 1",
        "worst pair",
    )
    lines = [_row(*heads), _row(*("---" for _ in heads))]
    for ratios in runs.all_ratios():
        interval, (pair, worst) = ratios.interval, ratios.worst
        ends = "-" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
        share = f"{ratios.at_most_one} of {len(ratios.runs)}"
        cells = [
            str(len(ratios.by_pair)),
            str(len(ratios.runs)),
            f"{ratios.mean:.3f}",
            f"{ratios.median:.3f}",
            ends,
            share,
        ]
        lines.append(_row(ratios.label, *cells, f"{pair}, {worst:.3f}"))
    return "\n".join(lines)


def pair_ratio_table(runs: Runs) -> str:
    """Return the geometric mean of each ratio by pair."""
    columns = runs.all_ratios()
    lines = [_row("test error over that of", *(ratios.label for ratios in columns))]
    lines.append(_row(*("---" for _ in range(len(columns) + 1))))
    for pair in runs.pairs:
        lines.append(_row(pair, *(_ratio(ratios.pair_means.get(pair)) for ratios in columns)))
    return "\n".join(lines)


def verdict_table(runs: Runs) -> str:
    """Return how often the direction of a verdict was right on the windows after it, and where the time went."""
    heads = ("pair", "right verdicts", "of the certain", "verification", "busy", "seconds", "members")
    lines = [_row(*heads), _row(*("---" for _ in heads))]
    for pair in runs.pairs:
        lines.append(_verdict_row(pair, runs.judgements(pair), runs.find(pair)))
    whole = [judgement for pair in runs.pairs for judgement in runs.judgements(pair)]
    lines.append(_verdict_row("all", whole, [run for pair in runs.pairs for run in runs.find(pair)]))
    if auto := [run for pair in runs.pairs for run in runs.find(pair, CASTPOOL_AUTO)]:
        lines.append(_verdict_row("all, with --model auto", [], auto))
    for name in dict.fromkeys(judgement.against for judgement in whole):
        about = [judgement for judgement in whole if judgement.against == name]
        lines.append(_verdict_row(f"all, beside {name}", about, []))
    return "\n".join(lines)


def _verdict_row(label: str, judged: Sequence[Judgement], found: Sequence[Run]) -> str:
    certain = [judgement for judgement in judged if judgement.is_certain]
    shares = [_percent(run.verification_share for run in found), _percent(run.busy_share for run in found)]
    seconds = [run.phases["done"] for run in found if "done" in run.phases]
    members = [len(run.chosen["members"]) for run in found if "members" in run.chosen]
    means = [f"{fmean(values):.1f}" if values else "-" for values in (seconds, members)]
    return _row(label, _right(judged), _right(certain), *shares, *means)


def _right(judged: Sequence[Judgement]) -> str:
    return f"{sum(judgement.is_right for judgement in judged)} of {len(judged)}" if judged else "-"


def _percent(shares: Iterable[float | None]) -> str:
    known = [share for share in shares if share is not None]
    return f"{fmean(known):.0%}" if known else "-"


def _known(value: float | None) -> list[float]:
    return [] if value is None else [value]


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}g}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
