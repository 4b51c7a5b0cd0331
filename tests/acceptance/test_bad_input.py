"""Every wrong input: exit code 2 (3 for a server that is away), one sentence, nothing written."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import Result as CliResult
from sqlalchemy import create_engine, text

from tests.acceptance.conftest import monthly

Cli = Callable[..., CliResult]


def written(frame: pd.DataFrame, name: str = "data.csv") -> str:
    frame.to_csv(name, index=False)
    return name


def sentence_of(result: CliResult, exit_code: int = 2) -> str:
    """Return the one sentence on standard error, after checking that there is just that."""
    assert result.exit_code == exit_code, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("castpool: ")]
    assert len(lines) == 1
    assert "Traceback" not in result.output
    assert result.stdout == ""
    return lines[0].removeprefix("castpool: ")


@pytest.fixture(autouse=True)
def nothing_is_written(database: str, cli: Cli) -> Any:
    yield
    assert not Path("castpool-out").exists()
    engine = create_engine(database)
    with engine.connect() as connection:
        for table in ("studies", "castpool_studies", "castpool_datasets", "trials"):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0
    engine.dispose()


def broken(**changes: Any) -> pd.DataFrame:
    frame = monthly(2)
    for column, (row, value) in changes.items():
        frame.loc[row, column] = value
    return frame


DATA: dict[str, tuple[pd.DataFrame, list[str]]] = {
    "missing time column": (
        monthly().rename(columns={"ds": "date"}),
        ["time_col", "'ds'", "date", "--time-col"],
    ),
    "missing target column": (
        monthly().rename(columns={"y": "value"}),
        ["target_col", "'y'", "value", "--target-col"],
    ),
    "missing id column": (
        monthly(2).rename(columns={"unique_id": "store"}),
        ["id_col", "repeat", "--id-col"],
    ),
    "NaN in y": (broken(y=(5, np.nan)), ["y", "1 missing", "'s0'", "2015-06-01"]),
    "infinite y": (broken(y=(65, np.inf)), ["y", "1 infinite", "'s1'", "2015-06-01"]),
    "duplicates": (pd.concat([monthly(), monthly().iloc[[7]]]), ["1 ", "'s0'", "2015-08-01", "drop_duplicates"]),
    "gaps": (monthly(2).drop(index=[70, 71]), ["'s1'", "2 ", "2015-10", "2016-01", "fill"]),
    "too short": (monthly(1, length=10), ["'s0'", "10", "shorter"]),
    "no rows": (monthly().iloc[:0], ["data"]),
}


@pytest.mark.parametrize("case", DATA)
def test_data_that_cannot_work(cli: Cli, case: str) -> None:
    frame, words = DATA[case]
    sentence = sentence_of(cli("tune", written(frame), "--horizon", "4", "--freq", "MS"))
    for word in words:
        assert word in sentence


FLAGS: dict[str, tuple[list[str], list[str]]] = {
    "unknown model": (["--model", "NHIT"], ["model", "'NHIT'", "did you mean 'NHITS'?"]),
    "a model around another": (["--model", "HINT"], ["model", "'HINT'", "--hierarchy"]),
    "unknown loss": (["--loss", "HubberLoss"], ["loss", "'HubberLoss'", "did you mean 'HuberLoss'?"]),
    "loss without its arguments": (["--loss", "QuantileLoss"], ["loss", "QuantileLoss", "it takes q"]),
    "unknown frequency": (["--freq", "XYZ"], ["freq", "'XYZ'"]),
    "frequency of other data": (["--freq", "D"], ["freq", "'D'", "MS"]),
    "horizon below 1": (["--horizon", "0"], ["horizon", "0", "at least 1"]),
    "trials below 1": (["--trials", "0"], ["trials", "0", "at least 1"]),
    "validation below the horizon": (["--val-size", "2"], ["val_size", "2", "at least the horizon, 4"]),
    "unknown sampler": (["--sampler", "TEP"], ["sampler", "'TEP'", "did you mean 'TPE'?"]),
    "unknown pruner": (["--pruner", "Hyperbnd"], ["pruner", "did you mean 'Hyperband'?"]),
    "sampler that refuses": (["--sampler", "{name: TPE, n_trials: 3}"], ["sampler", "n_trials"]),
    "unknown argument": (["--space", "n_blcks: [1, 2]"], ["space", "'n_blcks'", "did you mean 'n_blocks'?"]),
    "empty range": (["--space", "learning_rate: {low: 1, high: 0.1}"], ["space.learning_rate", "low"]),
    "values that neuralforecast refuses": (
        ["--space", "activation: [foo, bar]"],
        ["refuses this combination", "'ReLU'"],
    ),
    "dropout of another model": (["--space", "dropout: 0.1"], ["space", "'dropout'"]),
    "unknown scaler": (["--space", "scaler_type: [minmx]"], ["space.scaler_type", "did you mean 'minmax'?"]),
    "several objectives": (["--objectives", "loss", "--objectives", "seconds"], ["objectives", "write one"]),
    "parameter that waits for nothing": (
        ["--space", "learning_rate: {when: {n_layer: 2}, low: 0.1, high: 0.2}"],
        ["space.learning_rate.when", "'n_layer'"],
    ),
    "input that does not fit": (["--space", "input_size: [8, 500]"], ["space.input_size", "500", "up to 48"]),
    "space that is no YAML": (["--space", "dropout: [0.0"], ["space", "not YAML"]),
    "multivariate model, one series": (["--model", "iTransformer"], ["model", "iTransformer", "NHITS"]),
    "exogenous column that the data lacks": (
        ["--hist-exog", "prize"],
        ["hist_exog", "'prize'", "did you mean 'price'"],
    ),
    "exogenous column that the model does not take": (
        ["--model", "PatchTST", "--hist-exog", "price"],
        ["hist_exog", "price", "PatchTST takes no historical"],
    ),
    "future column without its future": (["--futr-exog", "price"], ["futr_exog", "price", "--futr-data"]),
    "future data that is not used": (["--futr-data", "data.csv"], ["futr_data", "--futr-exog"]),
    "holdout below the horizon": (["--holdout", "3"], ["holdout", "3", "at least the horizon, 4, or 0 for none"]),
    "holdout that leaves too little": (["--holdout", "50"], ["data", "series shorter than", "--holdout (now 50)"]),
    "fewer than no finalists": (["--finalists", "-1"], ["finalists", "-1", "0 for no verification"]),
    "ensemble without members": (["--ensemble", "0"], ["ensemble", "0", "at least 1, or none"]),
    "ensemble that is no number": (["--ensemble", "many"], ["ensemble", "'many'", "at least 1, or none"]),
    "members of no kind": (["--members", "deep"], ["members", "'deep'", "all"]),
    "unknown baseline": (["--baselines", "AutoETZ"], ["baselines", "'AutoETZ'", "did you mean 'AutoETS'?"]),
    "pretrained model that is not there": (["--baselines", "chronos:/nowhere"], ["baselines", "/nowhere"]),
    "level beyond 100": (["--level", "120"], ["level", "120", "between 0 and 100"]),
    "level that is no number": (["--level", "high"], ["level", "'high'", "between 0 and 100"]),
    "levels twice": (["--level", "80", "--loss", "{name: MQLoss, level: [90]}"], ["level", "[80]", "one of the two"]),
    "levels of a loss without": (["--level", "80", "--loss", "IQLoss"], ["level", "IQLoss", "MQLoss"]),
    "season of nothing": (["--season", "0"], ["season", "0"]),
    "requirement without a holdout": (
        ["--holdout", "0", "--require-better-than", "naive"],
        ["require_better_than", "naive", "write --holdout"],
    ),
    "requirement on what is not compared": (
        ["--require-better-than", "naiv"],
        ["require_better_than", "'naiv'", "did you mean 'naive'?"],
    ),
    "name that is no name": (["--name", "a/b"], ["name", "'a/b'", "letters"]),
    "short series": (["--short-series", "pad"], ["short_series", "'pad'"]),
    "checks beyond the training": (["--max-steps", "10", "--val-check-steps", "20"], ["val_check_steps", "20", "10"]),
}


@pytest.mark.parametrize("case", FLAGS)
def test_flags_that_cannot_work(cli: Cli, case: str) -> None:
    flags, words = FLAGS[case]
    data = written(monthly(price=1.0))
    sentence = sentence_of(cli("tune", data, "--horizon", "4", *flags))
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["data", "no such file"]),
        (b"", ["data", "empty"]),
        (b"\x00\x01\x02", ["data"]),
    ],
)
def test_files_that_cannot_be_read(cli: Cli, content: bytes | None, words: list[str]) -> None:
    if content is not None:
        Path("data.csv").write_bytes(content)
    sentence = sentence_of(cli("tune", "data.csv", "--horizon", "4"))
    for word in words:
        assert word in sentence


def test_nothing_given(cli: Cli) -> None:
    assert "--demo" in sentence_of(cli("tune"))


def test_no_horizon(cli: Cli) -> None:
    assert "--horizon" in sentence_of(cli("tune", written(monthly())))


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("data: data.csv\nhorizon: 4\nmodle: NHITS\n", ["'modle'", "did you mean 'model'?"]),
        ("data: data.csv\nhorizon: soon\n", ["horizon", "'soon'"]),
        ("- a\n- b\n", ["spec", "key: value"]),
        ("a: [b\n", ["spec", "not YAML", "line"]),
    ],
)
def test_specs_that_cannot_work(cli: Cli, yaml: str, words: list[str]) -> None:
    written(monthly())
    Path("spec.yaml").write_text(yaml)
    sentence = sentence_of(cli("tune", "spec.yaml"))
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///study.db", ["sqlite:///study.db", "parallel", "postgresql://"]),
        ("mysql://root:canary@localhost/db", ["PostgreSQL only"]),
        ("postgresql://localhost", ["no database"]),
        ("nonsense", ["no URL"]),
    ],
)
def test_storages_that_castpool_does_not_use(cli: Cli, url: str, words: list[str]) -> None:
    sentence = sentence_of(cli("tune", written(monthly()), "--horizon", "4", "--storage", url))
    for word in words:
        assert word in sentence
    assert "canary" not in sentence


def test_a_server_that_does_not_answer(cli: Cli) -> None:
    url = "postgresql://someone:canary@127.0.0.1:9/db"
    sentence = sentence_of(cli("tune", written(monthly()), "--horizon", "4", "--storage", url), exit_code=3)
    assert "127.0.0.1:9" in sentence
    assert "does not answer" in sentence
    assert "canary" not in sentence


@pytest.mark.parametrize("command", ["worker", "pool", "status", "best", "result"])
def test_a_study_that_is_not_there(cli: Cli, command: str) -> None:
    assert "'absent'" in sentence_of(cli(command, "absent"))


def test_a_result_that_is_not_there(cli: Cli) -> None:
    assert "castpool tune" in sentence_of(cli("forecast", "nowhere"))


@pytest.mark.parametrize("command", [["tune", "--demo"], ["pool"], ["result"], ["sync"]])
def test_an_address_that_is_not_mlflows(cli: Cli, command: list[str]) -> None:
    sentence = sentence_of(cli(*command, "--tracking-uri", "ftp://someone:canary@localhost"))
    assert "tracking_uri: got ftp://localhost; write one as http://localhost:5000" in sentence


def test_sync_without_a_tracking_uri(cli: Cli) -> None:
    assert "--tracking-uri" in sentence_of(cli("sync"))


def test_a_secret_that_cannot_be_read(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI_FILE", "nowhere")
    sentence = sentence_of(cli("sync"))
    assert "MLFLOW_TRACKING_URI_FILE: got 'nowhere', which cannot be read (No such file or directory)" in sentence


def test_a_format_of_the_log_that_there_is_not(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASTPOOL_LOG_FORMAT", "xml")
    assert "CASTPOOL_LOG_FORMAT: got 'xml'; write json or text" in sentence_of(cli("status"))


def test_a_port_that_is_taken(cli: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"127.0.0.1:{port}" in sentence_of(cli("dashboard", "--port", port))
        assert "cannot be listened on" in sentence_of(cli("mlflow", "--port", port))
