"""The MLflow client: address, credentials and short time limits."""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from castpool.errors import CastpoolError
from castpool.sampler_policies.errors import InputError
from castpool.storage.secrets import secret

if TYPE_CHECKING:
    from mlflow import MlflowClient

URI_VARIABLE = "MLFLOW_TRACKING_URI"
CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
# MLflow retries for minutes by default. The next synchronization adds what is missing, so one short attempt is enough.
DEFAULTS = {
    # A repeated request may create a second run.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # MLflow would write into the live table.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
SCHEMES = ("http", "https", "databricks", "sqlite", "postgresql", "mysql", "file")


class TrackingError(CastpoolError, RuntimeError):
    """MLflow cannot be reached or refuses a request; the storage has all data, and `castpool sync` adds them later."""

    exit_code = 1


def tracking_uri(given: str | None = None) -> str | None:
    """Return MLflow's address: the given one, ``$MLFLOW_TRACKING_URI`` or the text in ``$MLFLOW_TRACKING_URI_FILE``.

    Raises:
        InputError: it is not an address that MLflow accepts.
    """
    uri = given or secret(URI_VARIABLE)
    if uri is None:
        return None
    for name in CREDENTIALS:
        secret(name)  # an unreadable file is an error before any trial runs
    try:
        is_known = urlsplit(uri).scheme.split("+")[0] in SCHEMES or uri == "databricks"
    except ValueError:
        is_known = False
    if not is_known:
        raise InputError("tracking_uri", redacted_uri(uri), "write one as http://localhost:5000.")
    return uri


def tracking_client(uri: str) -> MlflowClient:
    """Return an MLflow client with short time limits and credentials from the environment or files."""
    for name in CREDENTIALS:
        if name not in os.environ and (value := secret(name)) is not None:
            os.environ[name] = value
    os.environ.update(DEFAULTS)
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def redacted_uri(uri: str) -> str:
    """Return an address without user, password and query; the address may be malformed."""
    return re.sub(r"[^/\s]*@", "", uri.partition("?")[0])


def describe_error(error: BaseException, uri: str) -> str:
    """Return an error of the connection to MLflow in one line without secrets."""
    first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    first = re.sub(r"://[^/\s]*@", "://", first)
    return f"{redacted_uri(uri)} does not answer as MLflow ({first[:200]})"
