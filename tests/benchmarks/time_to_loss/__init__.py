"""Time to a good loss: castpool beside what a user would run today, on the same cores and data."""
