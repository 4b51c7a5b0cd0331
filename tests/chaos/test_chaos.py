"""A short fight with every kind of fault; `python -m tests.chaos` without --quick is the long one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from castpool.storage.store import open_store
from tests.chaos import audit
from tests.chaos.arena import arena, make_study
from tests.chaos.faults import FAULTS
from tests.storage.helpers import claimed, execute, finish, joined

ROOT = Path(__file__).resolve().parents[2]


def test_nothing_is_lost_whatever_goes_wrong() -> None:
    """In a separate process and without coverage, which would add hooks to the end of each worker."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--quick", "--seed", "7"],
        cwd=ROOT, env={**environment, "COLUMNS": "120"}, capture_output=True, text=True, timeout=1500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-5000:]}"
    assert all(kind in done.stdout for kind in FAULTS)


def test_the_audit_sees_what_it_is_for() -> None:
    """A check that cannot fail would prove nothing."""
    with arena() as where:
        stored = make_study(where.server.url, "audited", 2, is_real=False)
        with open_store(where.server.url, application_name=f"castpool worker {os.getpid()}") as store:
            worker = joined(store, stored, os.getpid())
            for _ in range(2):
                finish(store, claimed(store, stored, worker))
            assert audit.losses(store, stored, 2, is_real=True) == []
            last = "(SELECT trial_id FROM trials ORDER BY trial_id DESC LIMIT 1)"
            for harm in (
                f"INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES ({last}, 'late', '1')",
                f"UPDATE trials SET state = 'FAIL' WHERE trial_id = {last}",
                "INSERT INTO castpool_artifacts (artifact_id, part, payload) "
                f"VALUES ('checkpoint-{stored.study_id}-9-1-10', 0, '')",
                "UPDATE castpool_slots SET lease_until = now() WHERE slot = 1",
                *2 * ["INSERT INTO audit_judged SELECT study_id, '{\"trial\": 1}', 'x' FROM castpool_studies"],
                "UPDATE castpool_studies SET phase = 'holdout'",
            ):
                execute(store, harm)
        with open_store(where.server.url) as store:
            found = " ".join(audit.losses(store, stored, 2, is_real=True))
            execute(store, "UPDATE castpool_slots SET checkpoint = NULL")
    for words in ("ended more than once", "wrote trial_user_attributes", "has ['FAIL']", "slot 1 has not ended"):
        assert words in found
    for words in ("in phase holdout", "was judged twice: ['x', 'x']"):
        assert words in found
    assert "reports at" not in found
