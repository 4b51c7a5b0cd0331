"""What only this machine's Python knows: objects that a user passed to `tune` and no spec can spell.

They travel to the local workers as cloudpickle bytes through a pipe, never through the storage: nothing that
a database holds is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def packed(extras: Mapping[str, Extras]) -> bytes:
    """Return each study's objects, by its name, as bytes for a process of this user on this machine."""
    data: bytes = cloudpickle.dumps(dict(extras))
    return data


def unpacked(data: bytes) -> dict[str, Extras]:
    """Return the objects that this user's own process sent."""
    extras: dict[str, Extras] = cloudpickle.loads(data)
    assert all(isinstance(own, Extras) for own in extras.values())
    return extras
