"""The checkpoints of one attempt, in the storage's artifacts. Only the worker with the slot's lease writes them."""

from __future__ import annotations

import contextlib
import io
import logging

import optuna
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.exceptions import UpdateFinishedTrialError

from castpool.private_api.optuna import ArtifactStore
from castpool.storage.attempts.lifecycle import keep_checkpoint
from castpool.storage.budget.slots import Claim
from castpool.storage.errors import LeaseLostError
from castpool.storage.files.artifacts import checkpoint_name

log = logging.getLogger("castpool.worker")


class CheckpointStore:
    """Keeps the latest state of an attempt's training for the attempt that resumes it.

    Args:
        study: the study.
        trial: the attempt.
        claim: the slot that this process holds; it names the checkpoint to resume from.
        artifacts: where the bytes are kept.
    """

    def __init__(self, study: optuna.Study, trial: optuna.Trial, claim: Claim, artifacts: ArtifactStore) -> None:
        self._study = study
        self._trial = trial
        self._artifacts = artifacts
        self._claim = claim
        self._latest = claim.checkpoint

    def load(self) -> bytes | None:
        """Return the state to resume from; None where there is none."""
        if self._latest is None:
            return None
        try:
            with self._artifacts.open_reader(self._latest) as reader:
                return reader.read()
        except ArtifactNotFound:
            log.warning("checkpoint %s no longer exists; the training restarts at step 0", self._latest)
            return None

    def save(self, state: bytes, step: int) -> None:
        """Replace the stored state. Where the lease is lost nothing is stored; `PruningCallback` stops the training."""
        claim = self._claim
        name = checkpoint_name(claim.study_id, claim.slot, claim.attempt, step)
        self._artifacts.write(name, io.BytesIO(state))
        try:
            replaced = keep_checkpoint(self._study, self._trial, claim, name, step)
        except (LeaseLostError, UpdateFinishedTrialError):
            self._remove(name)
            return
        self._latest = name
        if replaced is not None:
            self._remove(replaced)

    def forget(self) -> None:
        """Delete the state: the slot has ended, or its next attempt restarts at step 0."""
        if self._latest is not None:
            self._remove(self._latest)
            self._latest = None

    def _remove(self, name: str) -> None:
        with contextlib.suppress(ArtifactNotFound):
            self._artifacts.remove(name)
