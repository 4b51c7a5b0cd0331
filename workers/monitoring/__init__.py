"""Show studies without changing them: status, leaderboard, live table, explanations, metrics, dashboard.

Import from here: any module. It may import `planning` and below.
"""
