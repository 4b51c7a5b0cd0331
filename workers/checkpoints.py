"""The checkpoints of one attempt, in the storage's artifacts, behind the lease of its slot."""

from __future__ import annotations

import contextlib
import io
import logging

import optuna
from optuna.artifacts._protocol import ArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.exceptions import UpdateFinishedTrialError

from storage.artifacts import checkpoint_name
from storage.errors import LeaseLostError
from storage.slots import Claim
from storage.trials import keep_checkpoint

log = logging.getLogger("castpool.worker")


class Checkpoints:
    """Keeps the latest state of an attempt's training for whoever goes on with it.

    Args:
        study: the study.
        trial: the attempt.
        claim: the slot that this process holds; it says where to go on.
        artifacts: where the bytes are kept.
    """

    def __init__(self, study: optuna.Study, trial: optuna.Trial, claim: Claim, artifacts: ArtifactStore) -> None:
        self._study = study
        self._trial = trial
        self._artifacts = artifacts
        self._claim = claim
        self._latest = claim.checkpoint

    def load(self) -> bytes | None:
        """Return the state to go on from; None where there is none any more."""
        if self._latest is None:
            return None
        try:
            with self._artifacts.open_reader(self._latest) as reader:
                return reader.read()
        except ArtifactNotFound:
            log.warning("checkpoint %s is gone; the training starts anew", self._latest)
            return None

    def save(self, state: bytes, step: int) -> None:
        """Keep a state in place of the one before. Where the lease is lost nothing is kept; the hook will notice."""
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
        """Delete the state: the slot has ended, or is to start anew."""
        if self._latest is not None:
            self._remove(self._latest)
            self._latest = None

    def _remove(self, name: str) -> None:
        with contextlib.suppress(ArtifactNotFound):
            self._artifacts.remove(name)
