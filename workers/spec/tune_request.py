"""What one command tunes: one or several models, each with its spec, parsed once at the edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from castpool.sampler_policies.errors import InputError
from castpool.workers.spec.field_names import rename_fields
from castpool.workers.spec.study_spec import StudySpec, make_spec

if TYPE_CHECKING:
    from castpool.workers.spec.python_objects import PythonObjects


@dataclass(frozen=True)
class ConfiguredModel:
    """A configured Auto model: its spec fields, its configuration, and objects that no spec can express."""

    values: Mapping[str, Any]
    base_space: Mapping[str, Any] | None
    objects: PythonObjects


@dataclass(frozen=True)
class ModelRequest:
    """One model that was asked for, or `auto` in place of its name.

    ``objects`` and ``base_space`` are those of a configured Auto model.
    """

    spec: StudySpec
    objects: PythonObjects | None = None
    base_space: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TuneRequest:
    """The models that one command tunes, at least one."""

    models: tuple[ModelRequest, ...]

    @property
    def spec(self) -> StudySpec:
        """The spec that holds what concerns the whole run: workers, storage, folders, addresses."""
        return self.models[0].spec

    @property
    def has_configured_models(self) -> bool:
        """Whether a model is a configured Auto model, for which neuralforecast has been imported."""
        return any(model.objects is not None for model in self.models)


def parse_request(values: Mapping[str, Any]) -> TuneRequest:
    """Return the request, its values checked; ``values["model"]`` is a name, a `ConfiguredModel`, or a list of those.

    Fields that are given beside a configured model take precedence over the model's.

    Raises:
        InputError: the first wrong value, with its field and what to write instead.
    """
    shared = rename_fields(values)
    given = shared.pop("model", StudySpec.model_fields["model"].default)
    models = list(given) if isinstance(given, list | tuple) else [given]
    if not models:
        raise InputError("model", "[]", "write at least one model, or auto.")
    return TuneRequest(tuple(_parse_model(model, shared) for model in models))


def _parse_model(model: Any, shared: Mapping[str, Any]) -> ModelRequest:
    if isinstance(model, ConfiguredModel):
        return ModelRequest(make_spec({**model.values, **shared}), model.objects, model.base_space)
    return ModelRequest(make_spec({**shared, "model": model}))
