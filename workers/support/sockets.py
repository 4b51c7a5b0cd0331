"""An address to listen on, or one sentence on why it is not to be had."""

from __future__ import annotations

import socket

from castpool.sampler_policies.errors import InputError


def listen(host: str, port: int, field: str = "port") -> socket.socket:
    """Return a socket that listens there; port 0 is any that is free.

    Raises:
        InputError: the address is not to be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        remedy = f"it cannot be listened on ({error.strerror}): write another."
        raise InputError(field, f"{host}:{port}", remedy) from None
