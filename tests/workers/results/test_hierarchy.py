"""Series that add up: what is no summing matrix, and forecasts that are made to add up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from castpool.sampler_policies.errors import InputError
from castpool.storage.store import Store
from castpool.workers.data.hierarchy import read_hierarchy
from castpool.workers.planning.auto_model import read_auto
from castpool.workers.planning.create_study import Draft, draft_study, save_study
from castpool.workers.results.result_folder import write_result
from castpool.workers.results.saved_model import forecast_again
from castpool.workers.spec.tune_request import parse_request
from castpool.workers.support.signals import StopRequest
from castpool.workers.worker.loop import Worker

IDS = ["a-north", "a-south", "z-total"]
MATRIX = pd.DataFrame([[1, 0], [0, 1], [1, 1]], index=IDS, columns=["a-north", "a-south"])
NORMAL = {"name": "DistributionLoss", "distribution": "Normal", "level": [80], "num_samples": 30}


@pytest.fixture(scope="module")
def family(panel: pd.DataFrame) -> pd.DataFrame:
    """Two series and, last in sorted order, their sum."""
    wide = panel.pivot(index="ds", columns="unique_id", values="y").iloc[:, :2]
    wide.columns = pd.Index(IDS[:2])
    long = wide.assign(**{"z-total": wide.sum(axis=1)}).reset_index().melt("ds", var_name="unique_id", value_name="y")
    return long[["unique_id", "ds", "y"]]


def written(folder: Path, matrix: pd.DataFrame) -> str:
    path = folder / "hierarchy.csv"
    matrix.rename_axis("unique_id").to_csv(path)
    return str(path)


@pytest.mark.parametrize(
    ("matrix", "remedy"),
    [
        (MATRIX.drop("z-total"), "it has no row for 'z-total'"),
        (pd.concat([MATRIX, MATRIX.rename(index={"a-north": "b"}).loc[["b"]]]), "it has a row for 'b'"),
        (pd.concat([MATRIX, MATRIX]), "write each series once"),
        (MATRIX.replace(1, "one"), "write numbers only"),
        (MATRIX.rename(columns={"a-south": "south"}), "the row of 'south', a bottom series"),
        (MATRIX.replace(0, 1), "the row of 'a-north', a bottom series"),
    ],
)
def test_what_is_no_summing_matrix_gets_a_sentence(tmp_path: Path, matrix: pd.DataFrame, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        read_hierarchy(written(tmp_path, matrix), IDS)
    assert str(caught.value).startswith("hierarchy: got ")
    assert remedy in str(caught.value)


def test_rows_come_in_any_order_and_numbers_alone_in_sorted_order(tmp_path: Path) -> None:
    shuffled = read_hierarchy(written(tmp_path, MATRIX.iloc[[2, 0, 1]]), IDS)
    pd.testing.assert_frame_equal(shuffled, MATRIX.astype(float), check_names=False)
    pd.testing.assert_frame_equal(read_hierarchy(MATRIX.to_numpy().tolist(), IDS), shuffled, check_names=False)
    with pytest.raises(InputError, match="a row for each of the 3 series"):
        read_hierarchy([[1.0], [1.0]], IDS)
    with pytest.raises(InputError, match="column 1 has no row of its own"):
        read_hierarchy([[1, 0], [1, 1], [1, 1]], IDS)


@pytest.mark.parametrize("reconciliation", ["BottomUp", "MinTraceOLS"])
def test_forecasts_add_up(
    store: Store, draft: Callable[..., Draft], family: pd.DataFrame, tmp_path: Path, reconciliation: str
) -> None:
    made = draft(
        table=family, hierarchy=written(tmp_path, MATRIX), loss=NORMAL, trials=2, reconciliation=reconciliation
    )
    stored = save_study(store, made)
    Worker(store, [stored], StopRequest()).run()
    out = tmp_path / "out"
    result = write_result(store, [(stored, made.job)], out, StopRequest(), lambda line: None)
    members = [member["name"] for member in result.best["members"]]
    delivered = "ensemble" if len(members) > 1 else members[0]
    for forecast in (result.forecast, forecast_again(out)):
        mean = forecast.pivot(index="ds", columns="unique_id", values=delivered)
        np.testing.assert_allclose(mean["a-north"] + mean["a-south"], mean["z-total"], rtol=1e-5)
    assert {f"{name}{end}" for name in (*members, delivered) for end in ("", "-lo-80", "-hi-80")} <= set(
        result.forecast
    )
    assert result.verdict is not None, "HINT forecasts the holdout too"


def test_a_loss_without_a_distribution_is_refused(
    draft: Callable[..., Draft], family: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"loss: got MAE; with a hierarchy write a distribution"):
        draft(table=family, hierarchy=written(tmp_path, MATRIX))


def test_a_configured_auto_hint_brings_its_matrix(family: pd.DataFrame) -> None:
    from neuralforecast.auto import AutoHINT
    from neuralforecast.losses.pytorch import DistributionLoss
    from neuralforecast.models import MLP
    from ray import tune

    loss: Any = DistributionLoss("Normal", level=[80])
    config = {"input_size": 8, "hidden_size": 8, "max_steps": 4, "reconciliation": tune.choice(["MinTraceWLS"])}
    auto = AutoHINT(MLP, 4, loss, None, MATRIX.to_numpy(), config, num_samples=2)
    (candidate,) = parse_request({"model": read_auto(auto)}).models
    made = draft_study(candidate.spec, family, objects=candidate.objects, base_space=candidate.base_space)
    assert (made.job.model.name, made.job.spec.reconciliation) == ("MLP", "MinTraceWLS")
    pd.testing.assert_frame_equal(made.job.series.hierarchy, MATRIX.astype(float), check_names=False)  # type: ignore[arg-type]
