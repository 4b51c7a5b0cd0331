"""The command `castpool`; also `python -m workers`."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line."""
    # Until there is work to hand back (`StopRequest`), Ctrl-C ends the command at once, whatever is being imported.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from workers.cli import app

    app(prog_name="castpool")


if __name__ == "__main__":
    main()
