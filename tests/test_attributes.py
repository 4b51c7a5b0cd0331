"""Keys of attributes have one definition, and their stored spellings never change."""

from __future__ import annotations

from castpool import attributes


def test_the_stored_spellings_stay() -> None:
    stored = {name: key for name, key in vars(attributes).items() if name.isupper()}
    assert stored == {
        "ATTEMPT": "castpool",
        "REASON": "reason",
        "FAILURE": "failure",
        "BEST_STEP": "best_step",
        "SAMPLER": "sampler",
        "VERSIONS": "versions",
        "TRAINING_SECONDS": "training_seconds",
        "PHASE_SECONDS": "seconds",
        "CONFIG": "config",
        "REDUCED_FOR_MEMORY": "reduced_for_memory",
        "REDUCED_FOR_MEMORY_BEFORE": "for_want_of_memory",
        "MEMORY_MB": "memory_mb",
        "MEMORY_PEAK_MB": "memory_peak_mb",
        "GPU_MEMORY_PEAK_MB": "gpu_memory_peak_mb",
        "STUDY": "castpool",
        "MLFLOW": "castpool:mlflow",
        "FIXED_PARAMS": "fixed_params",
        "COMPLETED_RUNG": "completed_rung_",
        "ARTIFACTS": "artifacts:",
    }


def test_a_renamed_key_is_still_read() -> None:
    smaller = {"batch_size": 8}
    for key in ("reduced_for_memory", "for_want_of_memory"):
        assert attributes.read_reduced_for_memory({key: smaller}) == smaller
    assert attributes.read_reduced_for_memory({}) == {}
