"""Private parts of other libraries are used in `castpool.private_api` alone, and the installed versions have them."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
import pytest

from castpool.private_api.door import Door
from tests.lowest_versions import DOOR_MODULES

pytestmark = pytest.mark.smoke

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("workers", "storage", "sampler_policies", "castpool")
PRIVATE_API = ROOT / "castpool" / "private_api"
# Public in spite of the underscore: Python documents them.
DOCUMENTED = {"_asdict", "_replace", "_fields", "_exit"}
MODULES = [importlib.import_module(f"castpool.private_api.{name}") for name in DOOR_MODULES]
LIBRARIES = ("optuna", "neuralforecast", "pytorch_lightning", "lightning_fabric", "optuna_dashboard")


# --- examples of the objects whose attributes are set when they are made


@cache
def _study() -> optuna.Study:
    study = optuna.create_study()
    study.ask()
    return study


@cache
def _trainer() -> Any:
    import pytorch_lightning as pl

    return pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)


@cache
def _batch_improvement() -> Any:
    """Return the acquisition function that Optuna makes where a trial is running."""
    found: list[Any] = []

    class Watching(optuna.samplers.GPSampler):
        def _optimize_acqf(self, acqf: Any, best_params: Any) -> Any:
            found.append(acqf)
            return super()._optimize_acqf(acqf, best_params)

    study = optuna.create_study(sampler=Watching(seed=1, n_startup_trials=2))
    for _ in range(3):
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 1))
    for _ in range(2):  # the first is running when the second is sampled
        study.ask().suggest_float("x", 0, 1)
    return found[-1]


def _mae() -> Any:
    from neuralforecast.losses.pytorch import MAE

    return MAE()


EXAMPLES: dict[str, Callable[[], Any]] = {
    "neuralforecast.losses.pytorch:MAE": _mae,
    "optuna._gp.acqf:qLogEI": _batch_improvement,
    "optuna._gp.search_space:SearchSpace": lambda: _batch_improvement().search_space,
    "optuna.pruners:HyperbandPruner": optuna.pruners.HyperbandPruner,
    "optuna.pruners:PercentilePruner": lambda: optuna.pruners.PercentilePruner(50.0),
    "optuna.pruners:SuccessiveHalvingPruner": optuna.pruners.SuccessiveHalvingPruner,
    "optuna.samplers:NSGAIISampler": optuna.samplers.NSGAIISampler,
    "optuna.samplers:TPESampler": optuna.samplers.TPESampler,
    "optuna.study._frozen:FrozenStudy": lambda: _study()._storage.get_all_studies()[0],
    "optuna.study:Study": _study,
    "optuna.trial:FrozenTrial": lambda: _study().trials[0],
    "optuna.trial:Trial": lambda: _study().ask(),
    "pytorch_lightning.loops.fit_loop:_FitLoop": lambda: _trainer().fit_loop,
    "pytorch_lightning.loops.training_epoch_loop:_TrainingEpochLoop": lambda: _trainer().fit_loop.epoch_loop,
}


# --- every door is there


def find_missing_part(door: Door) -> str | None:
    """Return the first part of a door that the installed library lacks; None if it has all of them."""
    module, _, name = door.owner.partition(":")
    try:
        owner: Any = importlib.import_module(module)
    except ImportError:
        return f"the module {module}"
    if name:
        if not hasattr(owner, name):
            return f"{module}.{name}"
        owner = EXAMPLES.get(door.owner, lambda: getattr(owner, name))()
    if door.attribute == "alembic":  # a folder beside the module
        return None if (Path(str(owner.__file__)).parent / "alembic" / "versions").is_dir() else f"{module}/alembic"
    for part in door.attribute.split("."):
        if not hasattr(owner, part):
            return f"{door.owner}.{door.attribute}".replace(":", ".")
        owner = getattr(owner, part)
    return None


def describe_loss(library: str, door: Door, missing: str) -> str:
    return f"{library} {version(library)} has no {missing}. Without it castpool {door.loss}."


@pytest.mark.parametrize(
    ("library", "door"),
    [
        pytest.param(module.LIBRARY, door, id=f"{door.owner}.{door.attribute}")
        for module in MODULES
        for door in dict.fromkeys([*module.DOORS, *module.HOOKS])
    ],
)
def test_the_installed_library_has_it(library: str, door: Door) -> None:
    missing = find_missing_part(door)
    assert missing is None, describe_loss(library, door, missing)


@pytest.mark.parametrize("gone", ["optuna._gone", "optuna.study:Gone", "optuna.study:Study"])
def test_a_part_that_is_gone_is_named_with_what_is_lost(gone: str) -> None:
    door = Door(gone, "_gone", "cannot do this")
    missing = find_missing_part(door)
    assert missing is not None
    sentence = describe_loss("optuna", door, missing)
    assert sentence.startswith(f"optuna {version('optuna')} has no ")
    assert "one" in missing
    assert sentence.endswith("Without it castpool cannot do this.")


# --- nothing is used past the doors


def _sources() -> list[Path]:
    files = {path for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    # On Python 3.13 `rglob` follows the links of castpool/ to the rooms.
    linked = tuple(ROOT / "castpool" / room for room in ROOMS)
    return sorted(path for path in files if not any(path.is_relative_to(link) for link in linked))


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _private_names(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Yield line, receiver and name of each private import and attribute; an import's receiver is its library."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if any(map(_is_private, alias.name.split("."))):
                    yield node.lineno, alias.name.split(".")[0], alias.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if any(map(_is_private, [*node.module.split("."), alias.name])):
                    yield node.lineno, node.module.split(".")[0], f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Attribute) and _is_private(node.attr):
            yield node.lineno, ast.unparse(node.value), node.attr
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("getattr", "setattr", "hasattr", "delattr")
            and isinstance(name := node.args[1], ast.Constant)
            and _is_private(str(name.value))
        ):
            yield node.lineno, ast.unparse(node.args[0]), str(name.value)


def _find_trespasses(tree: ast.AST, hooks: set[str]) -> list[str]:
    """Return the private names that code uses of other objects than its own, as ``line: receiver.name``."""
    classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    methods = {
        node.name
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, ast.FunctionDef)
    }
    mine = {"self", "cls", *classes}
    return [
        f"{line}: {receiver}.{name}"
        for line, receiver, name in _private_names(tree)
        if not (receiver in mine or name in DOCUMENTED or receiver == "castpool")
        # A method that is overridden calls its parent's: one of Optuna's is declared, or it is castpool's own.
        and not (receiver == "super()" and name in methods and (name in hooks or name in OWN_METHODS))
    ]


# Methods of castpool's classes that castpool's subclasses extend.
OWN_METHODS = {"_write"}


def _hooks() -> set[str]:
    return {hook.attribute for module in MODULES for hook in module.HOOKS}


@pytest.mark.parametrize("path", _sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_module_uses_private_parts(path: Path) -> None:
    if path.is_relative_to(PRIVATE_API):
        return
    trespasses = _find_trespasses(ast.parse(path.read_text()), _hooks())
    assert not trespasses, (
        f"{path.relative_to(ROOT)} uses private parts; add doors to castpool.private_api: {trespasses}"
    )


@pytest.mark.parametrize(
    "code",
    [
        "import optuna.pruners._percentile",
        "from optuna.study._tell import _tell_with_warning",
        "from optuna.storages import _rdb",
        "study._storage",
        "getattr(study, '_storage', None)",
        "trial._trial_id = 1",
        "super()._undeclared()",
    ],
)
def test_each_way_past_the_doors_is_found(code: str) -> None:
    assert _find_trespasses(ast.parse(code), _hooks())


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_private_name_behind_a_door_is_declared(module: ModuleType) -> None:
    declared = {
        part for door in module.DOORS for part in [*door.owner.replace(":", ".").split("."), *door.attribute.split(".")]
    }
    tree = ast.parse(Path(str(module.__file__)).read_text())
    used = {part for _, _, name in _private_names(tree) for part in name.split(".") if _is_private(part)}
    assert used <= declared


# --- what subclasses use of their parents is declared


def _subclasses() -> list[tuple[type, type]]:
    """Return castpool's subclasses of classes of these libraries, each with every such parent."""
    found = []
    for path in _sources():
        tree = ast.parse(path.read_text())
        names = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.bases]
        text = path.read_text()
        if path.is_relative_to(PRIVATE_API) or not names or not any(library in text for library in LIBRARIES):
            continue
        relative = path.relative_to(ROOT).with_suffix("")
        parts = relative.parts if relative.parts[0] == "castpool" else ("castpool", *relative.parts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of MLflow when it is imported
            module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
        for name in names:
            cls = getattr(module, name, None)
            for parent in cls.__mro__ if isinstance(cls, type) else ():
                if parent.__module__.split(".")[0] in LIBRARIES:
                    found.append((cls, parent))
    return found


def test_what_subclasses_override_or_read_of_their_parents_is_declared() -> None:
    undeclared = set()
    for cls, parent in _subclasses():
        body = ast.parse(inspect.getsource(cls))
        parents_own = {name for name in vars(parent) if _is_private(name) and not name.startswith("_abc")}
        if "__init__" in vars(parent):
            source = ast.parse(textwrap.dedent(inspect.getsource(vars(parent)["__init__"])))
            parents_own |= {
                node.attr
                for node in ast.walk(source)
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_private(node.attr)
            }
        defined = {node.name for node in ast.walk(body) if isinstance(node, ast.FunctionDef)}
        read = {node.attr for node in ast.walk(body) if isinstance(node, ast.Attribute)}
        undeclared |= {f"{parent.__name__}.{name}" for name in (defined | read) & parents_own if name not in _hooks()}
    assert not undeclared, f"declare them in HOOKS of castpool.private_api: {sorted(undeclared)}"


# --- doors cost nothing


def test_doors_import_their_libraries_when_they_are_used() -> None:
    names = ", ".join(f"castpool.private_api.{name}" for name in DOOR_MODULES)
    code = f"import sys, {names}; print([name for name in {(*LIBRARIES, 'torch', 'ray')} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        ("castpool.sampler_policies.plan, castpool.sampler_policies.samplers.curve_gp", ("torch", "ray")),
        ("castpool.storage.store, castpool.storage.study.studies", ("neuralforecast", "torch", "ray")),
        ("castpool.workers.cli.app", ("optuna", "neuralforecast", "torch", "ray")),
    ],
)
def test_what_must_be_quick_to_import_leaves_these_out(imported: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {imported}; print([name for name in {absent} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
