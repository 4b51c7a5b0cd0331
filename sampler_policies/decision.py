"""A decision: what was chosen, with which arguments, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Decision:
    """One choice of a policy. ``choice`` names a class or a value; ``arguments`` are JSON values.

    ``rule`` is the rule that fired, and ``rejected`` says of every other what spoke against it.
    """

    subject: str
    choice: str
    reason: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    rule: str = ""
    rejected: Mapping[str, str] = field(default_factory=dict)

    @property
    def what(self) -> str:
        """The choice in one line, without its reason."""
        if "phases" in self.arguments:
            return f"{self.subject}: {', then '.join(map(_phase, self.arguments['phases']))}"
        return f"{self.subject}: {_call(self.choice, self.arguments)}"

    def __str__(self) -> str:
        return f"{self.what}, because {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """Return the decision as JSON values, for keeping with the study."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Decision:
        """Rebuild a decision from `to_json`."""
        return cls(**stored)


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    inside = ", ".join(f"{name}={value}" for name, value in arguments.items())
    return f"{name}({inside})" if inside else name


def _phase(phase: Mapping[str, Any]) -> str:
    what = _call(phase["sampler"], phase.get("arguments", {}))
    return f"{what} until {phase['until']} trials have ended" if "until" in phase else what


def in_words(decisions: Iterable[Decision]) -> str:
    """Return the decisions as a person reads them: each choice, and under it its reasons, one a line."""
    return "\n".join(f"{own.what}\n" + "\n".join(f"    {part}" for part in own.reason.split("; ")) for own in decisions)
