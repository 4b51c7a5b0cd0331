"""Keys of the attributes that castpool writes to Optuna's trials and studies, or reads there.

A key is stored with every study, so its spelling never changes; a renamed one is still read. This is the lowest layer
of castpool: every package imports it, and it imports nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# --- user attributes of a trial

# Where the attempt belongs: a dictionary with `slot`, `attempt`, `worker`, `host`, `pid` and, of a retry, `retry_of`.
ATTEMPT = "castpool"
# Why the trial ended as it did, as a sentence for the user.
REASON = "reason"
# The class of its failure (`workers.training.failures`); absent where the attempt did not fail by itself.
FAILURE = "failure"
# The training step of the best validation loss.
BEST_STEP = "best_step"
# The sampler that chose the parameters.
SAMPLER = "sampler"
# The versions of the packages that trained it, by name.
VERSIONS = "versions"
# Seconds of training.
TRAINING_SECONDS = "training_seconds"
# Seconds of the worker's time by phase, since the attempt before.
PHASE_SECONDS = "seconds"
# The configuration that the Auto model was built with.
CONFIG = "config"
# What was made smaller so that the model fits into memory: a name with its old and new value.
REDUCED_FOR_MEMORY = "reduced_for_memory"
# The spelling of older studies.
REDUCED_FOR_MEMORY_BEFORE = "for_want_of_memory"
# Memory of the worker process at the end of the trial, its peak, and the peak on the GPU; megabytes.
MEMORY_MB = "memory_mb"
MEMORY_PEAK_MB = "memory_peak_mb"
GPU_MEMORY_PEAK_MB = "gpu_memory_peak_mb"

# --- user attributes of a study

# A dictionary with the study's `spec` and the `decisions` of the policies.
STUDY = "castpool"
# What MLflow has of the study: a dictionary, among others with the number of `runs`.
MLFLOW = "castpool:mlflow"

# --- system attributes, which Optuna names

# Parameters that a trial must have, whatever its sampler suggests.
FIXED_PARAMS = "fixed_params"
# Followed by the rung: the value with which a trial was promoted (successive halving).
COMPLETED_RUNG = "completed_rung_"
# Followed by the artifact: a file of the study.
ARTIFACTS = "artifacts:"


def read_reduced_for_memory(user_attrs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what was made smaller for the memory, under the key of today or the one before; mostly empty."""
    return user_attrs.get(REDUCED_FOR_MEMORY) or user_attrs.get(REDUCED_FOR_MEMORY_BEFORE) or {}
