"""An attempt at a slot, from its first statement to its last.

Import from here: `lifecycle`. It may import `optuna_storage`, `budget` and below.
"""
