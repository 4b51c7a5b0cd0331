"""The budgets: slots under a lease, the other kinds, how attempts end, the reaper, the registry of workers.

Import from here: any module. It may import `connection` and `sql`.
"""
