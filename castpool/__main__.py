"""The command `castpool`; also `python -m castpool`."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", False):
    # `python -m` put the current directory first on the path. Only a castpool that is there itself needs it.
    here = sys.path.pop(0)
    if os.path.dirname(os.path.dirname(__file__)) == here and here not in sys.path:
        sys.path.append(here)


def main() -> None:
    """Run the command line."""
    import signal

    # Before there is work to release (`StopRequest`), Ctrl-C ends the command at once, whatever is being imported.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Nothing that the command starts, or that its libraries start, imports from the current directory by accident.
    # Python 3.11 and later read this; `castpool.workers.support.import_path` has what 3.10 needs.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    from castpool.workers.cli.app import app

    app(prog_name="castpool")


if __name__ == "__main__":
    main()
