"""Faults, many and at random, while real workers work; and what must hold whatever happened."""
