"""What castpool uses of the private parts of other libraries: one module for each library.

A private part is a module or an attribute with a leading underscore. A library may change it in any release. So each is
used here alone, behind a small typed function or a re-export, and is declared with what castpool loses without it:
`DOORS` are used in this folder, `HOOKS` are overridden or read by castpool's subclasses, where they are.
`tests/test_private_api.py` checks both against the installed versions.

Import from here: any module may import a library's module, e.g. `castpool.private_api.optuna`. This folder imports
nothing else of castpool. A library's module imports no more than its functions need when they are called, so that
importing it costs nothing.
"""
