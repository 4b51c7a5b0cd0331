"""Where Ray's processes look for modules: where this one does, and never first in the current directory."""

from __future__ import annotations

import os
import sys

from ray.job_config import JobConfig

PATH_VARIABLE = "CASTPOOL_IMPORT_PATH"


class SafeJobConfig(JobConfig):
    """A job whose processes do not get the current directory and the script's folder first on their path."""

    def _runtime_env_has_working_dir(self) -> bool:
        """Return True: Ray adds both folders where this is False."""
        return True


def share_import_path() -> None:
    """Let the processes of a Ray that starts now add this process's path to the end of theirs."""
    os.environ[PATH_VARIABLE] = os.pathsep.join(folder for folder in sys.path if folder)


def extend_import_path() -> None:
    """Add what `share_import_path` shared, and this process's path lacks, to the path's end."""
    folders = os.environ.get(PATH_VARIABLE, "").split(os.pathsep)
    sys.path.extend(folder for folder in folders if folder and folder not in sys.path)
