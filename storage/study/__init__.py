"""Studies: create, resume, find and list them; a snapshot of one; statistics of its trials.

Import from here: any module. It may import `store` and below.
"""
