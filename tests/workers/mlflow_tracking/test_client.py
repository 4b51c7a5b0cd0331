"""Addresses of MLflow: which are accepted, and that no secret of them is printed."""

from __future__ import annotations

import pytest

from castpool.sampler_policies.errors import InputError
from castpool.workers.mlflow_tracking.client import describe_error, redacted_uri, tracking_uri


@pytest.mark.parametrize(
    "uri",
    [
        "http://bob:canary@host:5000",
        "bob:canary@host:5000",
        "http:/bob:canary@host",
        "http://bob:can@canary@host",
        "postgresql://host/db?password=canary",
    ],
)
def test_no_secret_is_shown(uri: str) -> None:
    assert "canary" not in redacted_uri(uri)
    assert "host" in redacted_uri(uri)
    error = RuntimeError(f"cannot reach http://bob:x@canary@host: {redacted_uri(uri)}")
    assert "canary" not in describe_error(error, uri)


@pytest.mark.parametrize("uri", ["ftp://host", "host:5000", "bob:canary@host", "http://[::1"])
def test_what_is_no_address_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match="write one as http://localhost:5000") as refused:
        tracking_uri(uri)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("uri", ["http://localhost:5000", "https://host/path", "sqlite:///file.db", "databricks"])
def test_what_mlflow_takes_is_taken(uri: str) -> None:
    assert tracking_uri(uri) == uri
