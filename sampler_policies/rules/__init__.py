"""Policies, one per file: each is a list of rules in order of preference and a function that chooses.

To add a sampler policy, add a `Rule` to ``SAMPLERS`` (`choose_sampler`), at its place by preference: a function of
`SamplerFacts` that returns the objection to the sampler (None where it applies), and one that returns the decision,
whose ``choice`` is the name of an Optuna sampler, of one in `samplers`, or a path, ``package.module:Class``. Then run
``make policies``, which writes docs/policies.md. Pruners (``PRUNERS``), Ray's searchers and schedulers
(``RAY_SEARCHERS``, ``RAY_SCHEDULERS``), models (``MODELS``) and pool sizes (``POOL_SIZES``) work alike.

Import from here: any module. It may import `samplers`, `pruners`, `spaces` and the modules beside this folder.
"""
