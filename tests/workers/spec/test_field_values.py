"""What a user may write for levels."""

from __future__ import annotations

from typing import Any

import pytest

from castpool.sampler_policies.errors import InputError
from castpool.workers.spec.study_spec import StudySpec, make_spec


def make(**values: Any) -> StudySpec:
    return make_spec({"horizon": 4, **values})


@pytest.mark.parametrize("given", [80, "80", 80.0, [80], ["80"], (80, 80)])
def test_one_level(given: object) -> None:
    assert make(level=given).level == (80,)


@pytest.mark.parametrize("given", ["95,80", "80 95", [95, "80"], ["95, 80"]])
def test_several_levels_are_sorted(given: object) -> None:
    assert make(level=given).level == (80, 95)


@pytest.mark.parametrize("given", [0, 100, -5, "high", 80.5, ["80", "101"], "", None])
def test_other_levels_are_refused(given: object) -> None:
    with pytest.raises(InputError, match=r"^level: got .*; write .*percentages between 0 and 100, e\.g\. 80\.$"):
        make(level=given)
