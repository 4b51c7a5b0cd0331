"""Whether the storage answers, for the health check of a container: `python -m castpool.storage.ping`."""

from __future__ import annotations

import sys

import psycopg

from castpool.storage.errors import StorageError
from castpool.storage.secrets import secret, with_password
from castpool.storage.url import URL_VARIABLE, parse

SECONDS = 5


def main() -> int:
    """Return 0 where the storage that the environment names answers in time, else 1."""
    try:
        url = with_password(parse(secret(URL_VARIABLE) or ""))
    except StorageError as error:
        print(error, file=sys.stderr)
        return 1
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with psycopg.connect(address, connect_timeout=SECONDS, application_name="castpool ping") as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError as error:
        print(f"the storage does not answer: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
