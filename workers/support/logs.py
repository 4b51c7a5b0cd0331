"""Log lines: words for a terminal, JSON with what they belong to for whatever collects them.

Both come by the standard library's logging, so that castpool's own lines, Optuna's, Lightning's and Python's warnings
look alike. What a line belongs to is bound around the work (`about`), in whatever thread does it.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import uuid
import warnings
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from castpool.sampler_policies.errors import InputError

FORMAT_VARIABLE = "CASTPOOL_LOG_FORMAT"
RUN_VARIABLE = "CASTPOOL_RUN_ID"
FORMATS = ("json", "text")
# On every JSON line, null where it does not apply: a log collector needs one schema only.
CONTEXT = ("run_id", "study", "trial", "slot", "attempt", "worker")
# Loggers of libraries: only their warnings matter to a user.
NOISY = ("lightning", "lightning_fabric", "pytorch_lightning", "ray", "mlflow", "alembic", "urllib3", "matplotlib")

about = structlog.contextvars.bound_contextvars


class _StandardError(logging.StreamHandler[Any]):
    """Writes to what is standard error at that moment."""

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        pass


_BOUND: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def get_logger(name: str) -> Any:
    """Return a logger whose lines take values by name: ``log.info("trial ended", state="complete")``."""
    return structlog.wrap_logger(
        logging.getLogger(f"castpool.{name}"),
        processors=[
            structlog.stdlib.filter_by_level,
            *_BOUND,
            _for_the_handler,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _for_the_handler(logger: Any, name: str, line: MutableMapping[str, Any]) -> Any:
    """Return the line for our handler to render; in words where castpool is a library and logs are another's."""
    if any(isinstance(handler, _StandardError) for handler in logging.getLogger().handlers):
        return structlog.stdlib.ProcessorFormatter.wrap_for_formatter(logger, name, line)
    return _as_words(logger, name, {**line, "level": "info"})


def log_format(default: Literal["json", "text"] | None = None) -> str:
    """Return ``json`` or ``text``: as the environment says, or the default, or as standard error is no terminal or one.

    Raises:
        InputError: the environment says something else.
    """
    given = os.environ.get(FORMAT_VARIABLE)
    if given is not None and given not in FORMATS:
        raise InputError(FORMAT_VARIABLE, repr(given), "write json or text.")
    return given or default or ("text" if sys.stderr.isatty() else "json")


def logs_json() -> bool:
    """Whether every line on standard error is to be JSON."""
    return os.environ.get(FORMAT_VARIABLE) == "json"


def set_up(default: Literal["json", "text"] | None = None, level: int = logging.INFO) -> str:
    """Let this process, and those that it starts, log to standard error; return the format.

    Raises:
        InputError: the environment asks for a format that there is not.
    """
    chosen = os.environ[FORMAT_VARIABLE] = log_format(default)
    os.environ.setdefault(RUN_VARIABLE, uuid.uuid4().hex[:12])
    rendering: list[Any] = [_as_words]
    if chosen == "json":
        rendering = [structlog.processors.format_exc_info, _whole, structlog.processors.JSONRenderer(default=repr)]
    handler = _StandardError()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_BOUND, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    for earlier in [found for found in root.handlers if isinstance(found, _StandardError)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("castpool").setLevel(level)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.captureWarnings(chosen == "json")
    if chosen == "json":
        sys.excepthook = _log_crash
        threading.excepthook = lambda crash: _log_crash(crash.exc_type, crash.exc_value, crash.exc_traceback)
    return chosen


def _log_crash(kind: Any, error: Any, trace: Any) -> None:
    logging.getLogger("castpool").critical("crashed", exc_info=(kind, error, trace))


def _whole(logger: Any, name: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return the line with all that it may belong to, in one order."""
    bound = {key: line.pop(key, None) for key in CONTEXT}
    bound["run_id"] = bound["run_id"] or os.environ.get(RUN_VARIABLE)
    for key, value in line.items():
        if isinstance(value, float) and not math.isfinite(value):
            line[key] = None  # JSON has no infinity
    first = {key: line.pop(key) for key in ("timestamp", "level", "logger", "event") if key in line}
    return {**first, **bound, **line}


def _as_words(logger: Any, name: str, line: MutableMapping[str, Any]) -> str:
    """Return the line as a person reads it: what happened to which trial, and the values that tell more."""
    error = structlog.processors.format_exc_info(logger, name, line).pop("exception", None)
    level = "" if line["level"] == "info" else f"{line['level']}: "
    about_it = " ".join(f"{key} {line[key]}" for key in ("study", "trial") if line.get(key) is not None)
    extra = {
        key: value for key, value in line.items() if key not in (*CONTEXT, "timestamp", "level", "logger", "event")
    }
    values = ", ".join(
        f"{key} {value:.6g}" if isinstance(value, float) else f"{key} {value}" for key, value in extra.items()
    )
    words = f"{level}{about_it}{': ' * bool(about_it)}{line['event']}{f' ({values})' * bool(values)}"
    return words if error is None else f"{words}\n{error}"


def quiet() -> None:
    """Keep Lightning, torch and neuralforecast from writing to a terminal that shows a table."""
    for name in ("pytorch_lightning", "lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if logs_json():  # Optuna writes for itself otherwise
        optuna.logging.disable_default_handler()
        optuna.logging.enable_propagation()
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|neuralforecast|torch)\b.*")
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
