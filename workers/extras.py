"""What only this machine's Python knows: objects that a user passed to `tune` and no spec can spell.

They travel to the local workers as cloudpickle bytes through a pipe, never through the storage: nothing that
a database holds is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import cloudpickle
import optuna


@dataclass(frozen=True)
class Extras:
    """Python objects in place of what the spec would name. None leaves it to the spec."""

    loss: Any = None
    valid_loss: Any = None
    config: Callable[[optuna.trial.BaseTrial], dict[str, Any]] | None = None
    sampler: optuna.samplers.BaseSampler | None = None
    pruner: optuna.pruners.BasePruner | None = None

    @property
    def names(self) -> list[str]:
        """Which objects a worker must have been given to work on the study."""
        return [own.name for own in fields(self) if getattr(self, own.name) is not None]

    def to_bytes(self) -> bytes:
        """Return the objects as bytes for a process of this user on this machine."""
        data: bytes = cloudpickle.dumps(self)
        return data

    @staticmethod
    def from_bytes(data: bytes) -> Extras:
        """Return the objects that this user's own process sent."""
        extras = cloudpickle.loads(data)
        assert isinstance(extras, Extras)
        return extras
