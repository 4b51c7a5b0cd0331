"""Files in the storage: data sets by hash, artifacts, attachments of studies and trials.

Import from here: any module. It may import `connection` and `sql`.
"""
