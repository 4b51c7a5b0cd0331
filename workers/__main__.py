"""The command `castpool`; also `python -m workers`."""

from __future__ import annotations

from workers.cli import app


def main() -> None:
    """Run the command line."""
    app(prog_name="castpool")


if __name__ == "__main__":
    main()
