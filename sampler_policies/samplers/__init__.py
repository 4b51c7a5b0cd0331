"""The samplers of castpool, and how a sampler is built from a decision.

Import from here: `build`. It may import the modules beside this folder.
"""
