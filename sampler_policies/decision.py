"""A decision: what was chosen, with which arguments, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Decision:
    """One choice of a policy. ``choice`` names a class or a value; ``arguments`` are JSON values."""

    subject: str
    choice: str
    reason: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def what(self) -> str:
        """The choice in one line, without its reason."""
        arguments = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.subject}: {self.choice}{f'({arguments})' if arguments else ''}"

    def __str__(self) -> str:
        return f"{self.what}, because {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """Return the decision as JSON values, for keeping with the study."""
        return {**asdict(self), "arguments": dict(self.arguments)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Decision:
        """Rebuild a decision from `to_json`."""
        return cls(**stored)


def in_words(decisions: Iterable[Decision]) -> str:
    """Return the decisions as a person reads them: each choice, and under it its reasons, one a line."""
    return "\n".join(f"{own.what}\n" + "\n".join(f"    {part}" for part in own.reason.split("; ")) for own in decisions)
