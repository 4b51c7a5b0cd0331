"""Tables of time series: read them, find their columns and frequency, put them on their time grid.

Import from here: `read_table`, `series_dataset`. It may import `support`.
"""
