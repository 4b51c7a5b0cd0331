"""Errors of the storage, each with its remedy.

StorageError                      exit code 1
├── StorageURLError               exit code 2: a URL that is not PostgreSQL's
├── ArtifactURLError              exit code 2: a URL without an artifact store
├── StudyNotFoundError            exit code 2: no study of that name
├── StudyConflictError            exit code 2: same name, a different configuration
├── SchemaVersionError            exit code 2: tables of another castpool or Optuna
├── StorageUnreachableError       exit code 3: no server answers
│   └── EmbeddedServerError       exit code 3: the embedded server cannot start
└── LeaseLostError                never leaves a worker: another worker has the slot's lease
"""

from __future__ import annotations

from castpool.errors import CastpoolError


class StorageError(CastpoolError):
    """The storage refused or failed; the message says what to do."""

    exit_code = 1


class StorageURLError(StorageError):
    """The storage URL is not one that castpool can use."""

    exit_code = 2


class ArtifactURLError(StorageError):
    """The URL is not one that artifacts can be kept at."""

    exit_code = 2


class StudyNotFoundError(StorageError):
    """No study of that name is in the storage."""

    exit_code = 2


class StudyConflictError(StorageError):
    """A study of that name exists with a different configuration."""

    exit_code = 2


class SchemaVersionError(StorageError):
    """The tables are of a version of castpool or Optuna that this castpool does not know."""

    exit_code = 2


class StorageUnreachableError(StorageError):
    """No PostgreSQL server answers at the URL."""

    exit_code = 3


class EmbeddedServerError(StorageUnreachableError):
    """The embedded PostgreSQL server could not be started."""


class LeaseLostError(StorageError):
    """The lease of a slot was lost to another worker; nothing may be written for the attempt any more."""
