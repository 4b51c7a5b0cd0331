"""Ray Tune as the engine of a study: the trials run in Ray's processes, the records stay in the storage.

Import from here: `driver`. It may import `worker` and below.
"""
