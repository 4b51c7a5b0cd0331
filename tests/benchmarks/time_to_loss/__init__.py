"""Who reaches a good loss first: castpool beside what a user would run today, on the same cores and data."""
