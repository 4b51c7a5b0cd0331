"""What the user keeps: the refitted winner, its forecast and files.

Import from here: `finish`, `result`, `forecast`, `saved_model`, `output_files` (the table of files).
It may import `worker`, `monitoring`, `reporting` and below.
"""
