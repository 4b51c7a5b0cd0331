"""The page on policies says what the code does."""

from __future__ import annotations

from pathlib import Path

from sampler_policies.handbook import EXAMPLES, handbook
from sampler_policies.samplers import SAMPLERS, choose_sampler

PAGE = Path(__file__).parents[2] / "docs" / "policies.md"


def test_the_page_is_what_the_code_writes() -> None:
    assert PAGE.read_text() == handbook(), "python -m sampler_policies.handbook > docs/policies.md"


def test_every_rule_has_an_example() -> None:
    shown = {choose_sampler(space, budget, None, {}).rule for _, space, budget in EXAMPLES}
    assert shown == {own.rule for own in SAMPLERS}
