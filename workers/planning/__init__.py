"""From a study spec to a checked study in the storage: read the data, ask the policies, try to build the model.

Import from here: `plan_study`, `create_study`, `model_selection`, `model_cache`. It may import
`reporting`, `training`, `spec`, `data` and `support`.
"""
