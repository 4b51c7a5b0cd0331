"""What a forecast is worth: the finalists judged again, their ensemble, the metrics, and the verdict on the holdout.

Import from here: `metrics`, `ensemble` and `verdict`, which are pure, and `phases`. It may import `planning` and below.
"""
