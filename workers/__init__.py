"""What runs: the command line, the pool of worker processes, the training of trials, the result.

The Python face is `tune`; it is imported when it is asked for, so that the command line's help stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.result import Result
    from workers.tuning import tune

__all__ = ["Result", "tune"]


def __getattr__(name: str) -> Any:
    if name == "tune":
        from workers.tuning import tune

        return tune
    if name == "Result":
        from workers.result import Result

        return Result
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
