"""What the fork server loads before it forks workers. Imported by it alone, for what that does.

Frozen, what is loaded stays out of every later collection: a collection writes to each object that it looks at, and so
gives each fork a copy of its own. Two forks of frozen memory take a fifth less than two of the same unfrozen.
"""

from __future__ import annotations

import gc

gc.disable()  # a collection here would leave holes in the pages that the forks are to share

import castpool.workers.pool.worker_process  # noqa: E402, F401

gc.freeze()
gc.enable()
