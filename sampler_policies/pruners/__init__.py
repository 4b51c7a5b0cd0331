"""The pruners of castpool: incremental versions of Optuna's, and demoting successive halving.

Import from here: any module. It may import the modules beside this folder.
"""
