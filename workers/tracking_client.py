"""Reaching MLflow: its address, its credentials, and an answer soon, be it no."""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sampler_policies.errors import InputError
from storage.secrets import secret

if TYPE_CHECKING:
    from mlflow import MlflowClient

URI_VARIABLE = "MLFLOW_TRACKING_URI"
CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
# MLflow's own patience is minutes; what is missing is added at the next look, so there is no need of any.
DEFAULTS = {
    # A request that is made again may make a second run.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    # And it writes to a terminal that shows a table.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
SCHEMES = ("http", "https", "databricks", "sqlite", "postgresql", "mysql", "file")


class TrackingError(RuntimeError):
    """MLflow cannot be reached, or refuses; the storage has everything, and `castpool sync` adds it later."""

    exit_code = 1


def tracking_uri(given: str | None = None) -> str | None:
    """Return where MLflow is: as given, or in ``$MLFLOW_TRACKING_URI`` or the file ``$MLFLOW_TRACKING_URI_FILE`` names.

    Raises:
        InputError: it is no address of MLflow's.
    """
    uri = given or secret(URI_VARIABLE)
    if uri is None:
        return None
    for name in CREDENTIALS:
        secret(name)  # a file that cannot be read is said before anything runs
    try:
        is_known = urlsplit(uri).scheme.split("+")[0] in SCHEMES or uri == "databricks"
    except ValueError:
        is_known = False
    if not is_known:
        raise InputError("tracking_uri", redacted_uri(uri), "write one as http://localhost:5000.")
    return uri


def tracking_client(uri: str) -> MlflowClient:
    """Return a client of MLflow that does not wait long, with credentials from the environment or files."""
    for name in CREDENTIALS:
        if name not in os.environ and (value := secret(name)) is not None:
            os.environ[name] = value
    os.environ.update(DEFAULTS)
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def redacted_uri(uri: str) -> str:
    """Return an address without user, password and query, whatever else is wrong with it."""
    return re.sub(r"[^/\s]*@", "", uri.partition("?")[0])


def in_words(error: BaseException, uri: str) -> str:
    """Return what went wrong between us and MLflow, in one line without secrets."""
    first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    first = re.sub(r"://[^/\s]*@", "://", first)
    return f"{redacted_uri(uri)} does not answer as MLflow ({first[:200]})"
