"""Rules that turn facts into decisions with reasons: no database, no training, no processes."""
