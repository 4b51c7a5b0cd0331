"""All SQL that castpool sends, by what it is about. Every value is a parameter; each statement can be repeated.

schema     castpool's own tables
studies    Optuna's studies, and castpool's beside them
trials     Optuna's trials
slots      the budget: claims, leases, what became of them
workers    who works
datasets   the data

Lock order, everywhere: the study's row, then slots in ascending order, then Optuna's trials.
"""
