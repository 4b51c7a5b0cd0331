"""What runs: the command line, the pool of worker processes, the training of trials, the results.

Folders import downwards only: ``cli > tune > pool | mlflow_tracking > ray_backend | results > worker | monitoring |
evaluation > planning > reporting > training > spec > data > support``.
"""
