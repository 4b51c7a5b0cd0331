"""The storage: PostgreSQL with Optuna's tables and castpool's beside them.

Folders import downwards only: ``ping > study > store > attempts > optuna_storage > budget | files | server | schema >
connection > sql | errors | url | secrets``.
"""
