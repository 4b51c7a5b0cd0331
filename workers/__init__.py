"""What runs: the command line, the pool of worker processes, the training of trials, the result."""
