"""The exceptions of castpool: one root, and the exit code with which the command line ends on each.

CastpoolError
├── InputError                    2: a value of the command, the spec or a call cannot work; also a ValueError
├── StorageError                  1: the storage refused or failed
│   ├── StorageURLError           2: not the URL of a PostgreSQL database
│   ├── ArtifactURLError          2: no artifact store is at the URL
│   ├── StudyNotFoundError        2: no study of that name
│   ├── StudyConflictError        2: a study of that name has a different configuration
│   ├── SchemaVersionError        2: another version of castpool made the tables
│   ├── StorageUnreachableError   3: no server answers
│   │   └── EmbeddedServerError   3: the embedded server cannot start
│   └── LeaseLostError            internal: the lease was lost to another worker
├── NoResultError                 1: the study has no completed trial; also a RuntimeError
├── PoolError                     1: workers keep crashing; also a RuntimeError
├── TrackingError                 1: the MLflow server cannot be used; also a RuntimeError
├── StoppedError                  130: SIGINT or SIGTERM; the same command resumes; also a RuntimeError
└── ForkedCallError               1 if the process crashed, a traceback if it raised: a bug; also a RuntimeError

Every message is one sentence that says what happened and what to do.
"""

from __future__ import annotations


class CastpoolError(Exception):
    """The root of castpool's exceptions: catch it to catch all of them.

    The command line ends with the attribute ``exit_code`` of the exception, and shows the traceback of one that has
    none: that is a bug.
    """
