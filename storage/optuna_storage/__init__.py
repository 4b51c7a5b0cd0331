"""Optuna's storage interface on PostgreSQL, with one round trip for each call where possible.

Import from here: `pool_storage`. It may import `budget`, `connection` and `sql`.
"""
