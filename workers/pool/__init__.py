"""The processes of one machine: start workers, restart them, stop them, and call a function in a fork.

Import from here: `process_pool`, `supervisor`, `forked_call`. It may import `worker`,
`ray_backend`, `monitoring` and below.
"""
