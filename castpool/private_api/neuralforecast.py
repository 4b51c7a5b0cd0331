"""The private parts of NeuralForecast that castpool uses. Importing this module does not import NeuralForecast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any

from castpool.private_api.door import Door, load_export

if TYPE_CHECKING:
    from neuralforecast.common._base_auto import BaseAuto as BaseAuto
    from neuralforecast.common._base_auto import RayOptions as RayOptions
    from neuralforecast.common._base_model import BaseModel as BaseModel

LIBRARY = "neuralforecast"

_EXPORTS = {
    "BaseAuto": "neuralforecast.common._base_auto",
    "BaseModel": "neuralforecast.common._base_model",
    "RayOptions": "neuralforecast.common._base_auto",
}

_WINDOWS_LOSS = "copies every training window of a batch (the optimization drawn-windows)"

DOORS = (
    Door("neuralforecast.common._base_auto", "BaseAuto", "accepts no configured Auto model and has no Ray backend"),
    Door("neuralforecast.common._base_auto", "RayOptions", "has no Ray backend"),
    Door("neuralforecast.common._base_auto:BaseAuto", "_train_tune", "has no Ray backend"),
    Door("neuralforecast.common._base_model", "BaseModel", "has no type for a model in its Lightning callbacks"),
    Door("neuralforecast.common._base_model:BaseModel", "_create_windows", _WINDOWS_LOSS),
    Door("neuralforecast.common._base_model:BaseModel", "_sample_windows", _WINDOWS_LOSS),
    Door("neuralforecast.losses.pytorch:MAE", "_nf_init_kwargs", "cannot store a loss object as a name and arguments"),
)

# What the subclasses override or read of their parents.
HOOKS = (Door("neuralforecast.common._base_auto:BaseAuto", "_train_tune", "cannot say why Ray's trials failed"),)

_WINDOW_METHODS = ("_create_windows", "_sample_windows")
# An Auto class wraps the user's function, and a subclass may wrap it again.
_MOST_WRAPPERS = 4


def __getattr__(name: str) -> Any:
    return load_export(__name__, name, _EXPORTS)


# --- models


def replace_window_methods(model: BaseModel, create: Callable[..., Any], sample: Callable[..., Any]) -> None:
    """Let one model object create and sample its training windows by these functions, which take the model first."""
    model._create_windows = MethodType(create, model)
    model._sample_windows = MethodType(sample, model)


def restore_window_methods(model: BaseModel) -> None:
    """Let a model object create and sample its training windows by its class's methods again."""
    for name in _WINDOW_METHODS:
        vars(model).pop(name, None)


def create_windows(model: BaseModel, *arguments: Any) -> tuple[Any, ...]:
    """Create the training windows of a batch as the model's class does."""
    return type(model)._create_windows(model, *arguments)  # type: ignore[no-any-return]


def sample_windows(model: BaseModel, *arguments: Any) -> dict[str, Any]:
    """Sample training windows of a batch as the model's class does."""
    return type(model)._sample_windows(model, *arguments)  # type: ignore[no-any-return]


def init_arguments_of(loss: Any) -> Mapping[str, Any] | None:
    """Return the arguments that a loss of NeuralForecast was made with; None where it recorded none.

    NeuralForecast records them to save its losses with a model (`neuralforecast/_serialization.py`).
    """
    arguments: Mapping[str, Any] | None = getattr(loss, "_nf_init_kwargs", None)
    return arguments


# --- Auto models


def trainable_of(auto: BaseAuto) -> Callable[..., None]:
    """Return the function that Ray Tune runs for each trial of an Auto model."""
    return auto._train_tune  # type: ignore[no-any-return]


def ray_space_of(function: Callable[..., Any]) -> dict[str, Any] | None:
    """Return the Ray domains that NeuralForecast wrapped into a function for Optuna; None for a user's function.

    They are read from the variables that the function encloses.
    """
    for _ in range(_MOST_WRAPPERS):
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        if "ray_config" in cells:
            return dict(cells["ray_config"].cell_contents)
        if "config" not in cells or "config_base" not in cells:
            return None
        function = cells["config"].cell_contents
    return None
