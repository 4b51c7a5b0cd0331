"""All that lasts: PostgreSQL, Optuna's schema in it, and a few tables of castpool's own beside it."""
