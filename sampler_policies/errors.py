"""The error for input that cannot work.

InputError
└── (everything that the user can correct in the command or the spec: exit code 2)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from castpool.errors import CastpoolError


class InputError(CastpoolError, ValueError):
    """One sentence for one wrong input: the field, the value that it got, and the remedy.

    Raised before anything is written, so that nothing has to be undone.
    """

    exit_code = 2

    def __init__(self, field: str, got: object, remedy: str) -> None:
        # The parts are the arguments, so that the error survives the way from one process to another.
        super().__init__(field, got, remedy)
        self.field = field
        self.got = got
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.field}: got {self.got}; {self.remedy}"


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return ``did you mean 'NHITS'?`` for the nearest known word, or the list of all where none is near."""
    words = sorted(known)
    lowered = {name.lower(): name for name in words}
    near = difflib.get_close_matches(str(word).lower(), lowered, n=1, cutoff=0.6)
    if near:
        return f"did you mean {lowered[near[0]]!r}?"
    return f"write one of {', '.join(words)}."
