"""The training of one trial with torch and Lightning: the objective, its callbacks, checkpoints and failures.

Import from here: `objective` first of all. It may import `spec`, `data` and `support`.
"""
