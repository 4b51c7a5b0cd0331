"""One worker: claim a slot, run its trial, record how it ended.

Import from here: `loop`, `trial_runner`, `stored_job`. It may import `planning`, `reporting`, `training` and below.
"""
