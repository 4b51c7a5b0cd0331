"""Pretrained models as baselines, from a local folder: a tiny Chronos-Bolt with random weights is the example."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from castpool.sampler_policies.errors import InputError
from castpool.workers.evaluation.baselines import evaluate_baseline, find_baseline
from castpool.workers.evaluation.zero_shot import load_zero_shot

NEEDS_CHRONOS, NEEDS_TIMESFM = pytest.mark.needs("chronos"), pytest.mark.needs("timesfm")


@pytest.fixture(scope="module")
def bolt_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Chronos-Bolt with two small layers and random weights, saved as the real ones are."""
    import torch
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config

    torch.manual_seed(1)
    config = T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_decoder_layers=1, num_heads=2, vocab_size=2)
    config.pad_token_id = config.decoder_start_token_id = 0
    config.architectures = ["ChronosBoltModelForForecasting"]
    config.chronos_pipeline_class = "ChronosBoltPipeline"
    config.chronos_config = {
        "context_length": 64,
        "prediction_length": 8,
        "input_patch_size": 8,
        "input_patch_stride": 8,
        "quantiles": [round(0.1 * n, 1) for n in range(1, 10)],
        "use_reg_token": True,
    }
    folder = tmp_path_factory.mktemp("bolt")
    ChronosBoltModelForForecasting(config).save_pretrained(folder)
    return folder


@pytest.fixture
def history() -> pd.DataFrame:
    parts = {"b": 40, "a": 5}
    return pd.concat(
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range("2024-01-01", periods=length, freq="h").astype("datetime64[ns]"),
                "y": 10 + np.sin(np.arange(length)),
            }
        )
        for name, length in parts.items()
    ).reset_index(drop=True)


def assert_blind_to_the_future(name: str, history: pd.DataFrame) -> None:
    baseline = find_baseline(name)
    left = history.groupby("unique_id", sort=False).cumcount(ascending=False)
    changed = history.assign(y=history["y"].where(left >= 3, 1e4))
    seen, again = (
        evaluate_baseline(baseline, frame, "h", horizon=3, behind=3, n_windows=1, distance=1)
        for frame in (history, changed)
    )
    pd.testing.assert_frame_equal(seen, again)


@NEEDS_CHRONOS
def test_chronos_forecasts_each_series_from_a_folder(bolt_folder: Path, history: pd.DataFrame) -> None:
    baseline = find_baseline(f"chronos:{bolt_folder}")
    predicted = baseline.forecast(history, 6, "h", (80, 95))
    # Chronos-Bolt knows no quantile below 0.1, so that 95 is left out.
    assert list(predicted.columns) == ["unique_id", "ds", "forecast", "forecast-lo-80", "forecast-hi-80"]
    assert list(predicted["unique_id"]) == ["b"] * 6 + ["a"] * 6
    assert np.isfinite(predicted["forecast"]).all()
    assert predicted["ds"].iloc[0] == history.loc[history["unique_id"] == "b", "ds"].max() + pd.Timedelta(hours=1)


@NEEDS_CHRONOS
def test_chronos_never_sees_what_is_after_the_cutoff(bolt_folder: Path, history: pd.DataFrame) -> None:
    assert_blind_to_the_future(f"chronos:{bolt_folder}", history)


@NEEDS_CHRONOS
def test_a_folder_without_a_chronos_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"write a folder that exists and holds config\.json"):
        load_zero_shot(f"chronos:{tmp_path}")
    with pytest.raises(InputError, match="write a folder that exists"):
        load_zero_shot("chronos:")
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(InputError, match="write the folder of a Chronos model"):
        load_zero_shot(f"chronos:{tmp_path}")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("chronos", "timesfm"):
        monkeypatch.setitem(sys.modules, module, None)  # what Python takes for a module that is not installed
    with pytest.raises(InputError, match="pip install chronos-forecasting"):
        load_zero_shot(f"chronos:{tmp_path}")
    with pytest.raises(InputError, match=r"pip install 'timesfm>=2\.5'"):
        load_zero_shot(f"timesfm:{tmp_path}")


@pytest.fixture
def timesfm_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a TimesFM with one small layer and random weights; the real one has 20 of 1280 dimensions."""
    import torch
    from timesfm.timesfm_2p5 import timesfm_2p5_torch

    torch.manual_seed(1)
    module, size = timesfm_2p5_torch.TimesFM_2p5_200M_torch_module, 32
    real = module.config
    sizes = {"hidden_dims": size, "output_dims": size}
    layer = replace(real.stacked_transformers.transformer, model_dims=size, hidden_dims=size, num_heads=2)
    small = replace(
        real,
        tokenizer=replace(real.tokenizer, **sizes),
        stacked_transformers=replace(real.stacked_transformers, num_layers=1, transformer=layer),
        output_projection_point=replace(
            real.output_projection_point, input_dims=size, hidden_dims=size, output_dims=10 * real.output_patch_len
        ),
        output_projection_quantiles=replace(real.output_projection_quantiles, input_dims=size, hidden_dims=size),
    )
    monkeypatch.setattr(module, "config", small)
    timesfm_2p5_torch.TimesFM_2p5_200M_torch(torch_compile=False).save_pretrained(tmp_path)
    return tmp_path


@NEEDS_TIMESFM
def test_timesfm_forecasts_each_series_from_a_folder(timesfm_folder: Path, history: pd.DataFrame) -> None:
    predicted = find_baseline(f"timesfm:{timesfm_folder}").forecast(history, 6, "h", (80, 95))
    # TimesFM knows deciles alone, so that 95 is left out.
    assert list(predicted.columns) == ["unique_id", "ds", "forecast", "forecast-lo-80", "forecast-hi-80"]
    assert list(predicted["unique_id"]) == ["b"] * 6 + ["a"] * 6
    assert np.isfinite(predicted["forecast"]).all()
    assert (predicted["forecast-lo-80"] <= predicted["forecast-hi-80"]).all()


@NEEDS_TIMESFM
def test_timesfm_never_sees_what_is_after_the_cutoff(timesfm_folder: Path, history: pd.DataFrame) -> None:
    assert_blind_to_the_future(f"timesfm:{timesfm_folder}", history)


@NEEDS_TIMESFM
def test_a_folder_without_a_timesfm_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"write a folder that exists and holds model\.safetensors"):
        load_zero_shot(f"timesfm:{tmp_path}")


def test_a_function_of_the_user_gives_a_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, history: pd.DataFrame
) -> None:
    code = """
from castpool.workers.evaluation.baselines import SeasonalNaive

def make():
    return SeasonalNaive(2)

def make_nothing():
    return None
"""
    (tmp_path / "users_baselines.py").write_text(code)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    predicted = find_baseline("users_baselines:make").forecast(history, 2, "h", ())
    assert list(predicted["forecast"]) == [*history["y"].iloc[38:40], *history["y"].iloc[43:45]]
    with pytest.raises(InputError, match="an object with a name and a method forecast"):
        find_baseline("users_baselines:make_nothing")
    with pytest.raises(InputError, match=r"write chronos:FOLDER, timesfm:FOLDER or package\.module:factory"):
        find_baseline("users_baselines:missing")
