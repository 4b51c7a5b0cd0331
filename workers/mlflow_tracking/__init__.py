"""MLflow: a run for each attempt and study, the registered model, the server, and `castpool sync`.

Import from here: `background`, `client`, `sync`, `server`. It may import `results`, `monitoring` and below.
"""
