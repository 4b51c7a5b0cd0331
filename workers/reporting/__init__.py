"""Draw a study: the HTML report with its charts, the forecast plot, the validation plot.

Import from here: `report`, `forecast_plot`, `validation_plot`. It may import `evaluation`, `training`, `spec`,
`data` and `support`.
"""
