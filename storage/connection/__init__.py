"""Connections to the database: the engine, retries through an outage, idle connections, advisory locks.

Import from here: any module. It may import `errors`, `url`, `secrets` and `sql`.
"""
