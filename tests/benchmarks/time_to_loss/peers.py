"""The systems that castpool is compared with, each as a separate process.

    python -m tests.benchmarks.time_to_loss.peers SYSTEM --pair NAME --table FILE --storage URL --study NAME --seed 1

SYSTEM is ``auto`` (NeuralForecast's Auto model as typed), ``careful`` (the same with one thread, a
chosen sampler and no progress bars), ``script`` (a well-written Optuna script) or ``ray`` (Ray Tune with ASHA).
"""

from __future__ import annotations

import argparse
import logging
import os
import warnings
from typing import Any

QUIET: dict[str, Any] = {
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
}
ENDLESS = 100_000


def auto(options: argparse.Namespace) -> None:
    """Run NeuralForecast's own search in a study that two processes share, as its documentation shows it."""
    import neuralforecast.auto
    import pandas as pd
    from neuralforecast import NeuralForecast
    from neuralforecast.common._base_auto import OptunaOptions

    from tests.benchmarks.time_to_loss.pairs import PAIRS

    pair = PAIRS[options.pair]
    frame = pd.read_parquet(options.table)
    shared = {"study_name": options.study, "storage": options.storage, "load_if_exists": True}
    arguments: dict[str, Any] = {"h": pair.horizon, "backend": "optuna", "num_samples": ENDLESS}
    if pair.is_multivariate:
        arguments["n_series"] = frame["unique_id"].nunique()
    auto_class = getattr(neuralforecast.auto, f"Auto{pair.model}")
    if options.system == "careful":
        import optuna
        import torch

        torch.set_num_threads(1)
        sampler = optuna.samplers.TPESampler(multivariate=True, constant_liar=True, seed=options.seed)
        default = auto_class.get_default_config(pair.horizon, "optuna", arguments.get("n_series"))
        arguments |= {"search_alg": sampler, "config": lambda trial: {**default(trial), **QUIET}}
    model = auto_class(**arguments, optuna_options=OptunaOptions(create_study_kwargs=shared))
    NeuralForecast(models=[model], freq=pair.freq).fit(frame, val_size=pair.horizon)


def script(options: argparse.Namespace) -> None:
    """Run an Optuna script with a Lightning pruning callback and Hyperband, two processes on one study."""
    import neuralforecast.auto
    import optuna
    import pandas as pd
    import pytorch_lightning as pl
    import torch
    from neuralforecast.losses.pytorch import MAE
    from neuralforecast.tsdataset import TimeSeriesDataset

    from tests.benchmarks.time_to_loss.pairs import PAIRS

    class Pruning(pl.Callback):
        """Reports each validation check at its step, and stops if the pruner decides so."""

        def __init__(self, trial: optuna.Trial) -> None:
            self.trial = trial

        def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
            step = trainer.global_step
            if step in self.trial.study._storage.get_trial(self.trial._trial_id).intermediate_values:
                return
            self.trial.report(float(trainer.callback_metrics["ptl/val_loss"]), step)
            if self.trial.should_prune():
                raise optuna.TrialPruned

    torch.set_num_threads(1)
    pair = PAIRS[options.pair]
    frame = pd.read_parquet(options.table)
    dataset, *_ = TimeSeriesDataset.from_df(frame)
    auto_class = getattr(neuralforecast.auto, f"Auto{pair.model}")
    n_series = frame["unique_id"].nunique() if pair.is_multivariate else None
    default = auto_class.get_default_config(pair.horizon, "optuna", n_series)
    arguments = {"n_series": n_series} if pair.is_multivariate else {}
    model_class = auto_class(h=pair.horizon, **arguments).cls_model

    def objective(trial: optuna.Trial) -> float:
        config = {**default(trial), **QUIET, **arguments}
        for name in ("h", "loss", "valid_loss"):
            config.pop(name, None)
        trial.set_user_attr("ALL_PARAMS", {key: value for key, value in config.items() if key not in QUIET})
        model = model_class(h=pair.horizon, loss=MAE(), **config, callbacks=[Pruning(trial)])
        model.fit(dataset, val_size=pair.horizon)
        return float(model.metrics["ptl/val_loss"])

    study = optuna.create_study(
        study_name=options.study,
        storage=options.storage,
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(multivariate=True, constant_liar=True, seed=options.seed),
        pruner=optuna.pruners.HyperbandPruner(min_resource=100, max_resource=1500, reduction_factor=3),
    )
    study.optimize(objective, n_trials=ENDLESS, catch=(Exception,))


def ray_asha(options: argparse.Namespace) -> None:
    """Run Ray Tune with ASHA on validation checks, two trials at once."""
    import neuralforecast.auto
    import pandas as pd
    import ray
    from neuralforecast import NeuralForecast
    from neuralforecast.common._base_auto import RayOptions
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator

    from tests.benchmarks.time_to_loss.pairs import PAIRS

    pair = PAIRS[options.pair]
    frame = pd.read_parquet(options.table)
    ray.init(num_cpus=2, include_dashboard=False, _temp_dir=options.temp, logging_level=logging.ERROR)
    run_config = tune.RunConfig(storage_path=options.folder, name="ray", verbose=0)
    arguments: dict[str, Any] = {"h": pair.horizon, "backend": "ray", "num_samples": ENDLESS, "verbose": False}
    if pair.is_multivariate:
        arguments["n_series"] = frame["unique_id"].nunique()
    scheduler = ASHAScheduler(max_t=15, grace_period=1, reduction_factor=3)
    model = getattr(neuralforecast.auto, f"Auto{pair.model}")(
        **arguments,
        search_alg=BasicVariantGenerator(random_state=options.seed),
        ray_options=RayOptions(run_config=run_config, scheduler=scheduler, cpus=1, gpus=0),
    )
    NeuralForecast(models=[model], freq=pair.freq).fit(frame, val_size=pair.horizon)


def main() -> None:
    """Run one process of one system until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=("auto", "careful", "script", "ray"))
    for name in ("pair", "table", "storage", "study", "folder", "temp"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.system != "auto":
        warnings.filterwarnings("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"
        for name in ("pytorch_lightning", "lightning_fabric", "lightning"):
            logging.getLogger(name).setLevel(logging.ERROR)
    {"auto": auto, "careful": auto, "script": script, "ray": ray_asha}[options.system](options)


if __name__ == "__main__":
    main()
