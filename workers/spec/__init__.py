"""The study spec: what a user asks for, checked once and carried as a value.

Import from here: `study_spec`, `tune_request`, `spec_file`, `python_objects`, `job`. It may
import `data` and `support`.
"""
