"""Pure rules that turn facts into decisions with reasons: samplers, pruners, search spaces, steps.

No database, no training, no files. Modules import downwards only: ``policy_page > plan > rules > samplers | pruners |
spaces > user_request | class_lookup | optimizations > decision | facts > errors | legacy_names``.
"""
