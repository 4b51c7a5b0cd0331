"""The page on policies says what the code does."""

from __future__ import annotations

from pathlib import Path

from castpool.sampler_policies.policy_page import EXAMPLES, render_policies
from castpool.sampler_policies.rules.choose_sampler import SAMPLERS, choose_sampler

PAGE = Path(__file__).parents[2] / "docs" / "policies.md"


def test_the_page_is_what_the_code_writes() -> None:
    assert PAGE.read_text() == render_policies(), "python -m castpool.sampler_policies.policy_page > docs/policies.md"


def test_every_rule_has_an_example() -> None:
    shown = {choose_sampler(space, budget, None, {}).rule for _, space, budget in EXAMPLES}
    assert shown == {rule.name for rule in SAMPLERS}
