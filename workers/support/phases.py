"""The phases of a worker's time."""

from __future__ import annotations

# In the order in which they are shown.
PHASES = {
    "training": "training steps",
    "validation": "validation checks",
    "setup": "building the model, the beginning and end of its fit",
    "sampling": "choosing parameters",
    "pruning": "asking the pruner",
    "checkpoints": "keeping the training's state",
    "storage": "waiting for PostgreSQL, in all that is above",
    "evaluation": "judging finalists again, beside their training steps",
    "idle": "waiting for a slot",
    "elsewhere": "between: reading the data, notes, pictures",
}
