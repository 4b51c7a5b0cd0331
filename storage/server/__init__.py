"""The embedded PostgreSQL server, one for each user, and the process that supervises it.

Import from here: `embedded`. It may import `errors`.
"""
