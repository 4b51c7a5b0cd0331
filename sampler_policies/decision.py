"""A decision: what was chosen, with which arguments, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from castpool.sampler_policies.legacy_names import with_current_names


@dataclass(frozen=True)
class Decision:
    """One choice of a policy. ``choice`` names a class or a value; ``arguments`` are JSON values.

    ``rule`` is the name of the rule that was applied; ``rejected`` gives for every other rule why it was rejected.
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
            return f"{self.subject}: {', then '.join(map(_format_phase, self.arguments['phases']))}"
        return f"{self.subject}: {_format_call(self.choice, self.arguments)}"

    def __str__(self) -> str:
        return f"{self.what}, because {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """Return the decision as JSON values, which the storage keeps with the study."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Decision:
        """Rebuild a decision from `to_json`. Legacy names of samplers, pruners and arguments become current ones."""
        return cls(**with_current_names(stored))


def format_decisions(decisions: Iterable[Decision]) -> str:
    """Return the decisions as text: each choice on a line, and its reasons below it, one per line."""
    return "\n".join(
        "\n".join([decision.what, *(f"    {part}" for part in decision.reason.split("; "))]) for decision in decisions
    )


def _format_call(name: str, arguments: Mapping[str, Any]) -> str:
    inside = ", ".join(f"{name}={value}" for name, value in arguments.items())
    is_class = name.isidentifier() and name != "none"  # a choice in words says its arguments
    return f"{name}({inside})" if inside and is_class else name


def _format_phase(phase: Mapping[str, Any]) -> str:
    what = _format_call(phase["sampler"], phase.get("arguments", {}))
    return f"{what} until {phase['until']} trials have ended" if "until" in phase else what
