"""Print pip's constraints for the lowest versions that castpool allows of the libraries whose private parts it uses."""

from __future__ import annotations

import importlib
from importlib.metadata import requires

from packaging.requirements import Requirement

DOOR_MODULES = ("lightning", "neuralforecast", "optuna", "optuna_dashboard")


def lowest_versions() -> list[str]:
    """Return a constraint, such as ``optuna==5``, for each library that `castpool.private_api` has a module for."""
    libraries = {importlib.import_module(f"castpool.private_api.{name}").LIBRARY for name in DOOR_MODULES}
    declared = [Requirement(line) for line in requires("castpool") or []]
    return [
        f"{requirement.name}=={bound.version}"
        for requirement in declared
        if requirement.name in libraries and requirement.marker is None
        for bound in requirement.specifier
        if bound.operator == ">="
    ]


if __name__ == "__main__":
    print("\n".join(lowest_versions()))
