"""The methods of an Optuna storage for studies."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from sqlalchemy.engine import Engine

from castpool.private_api.optuna import DEFAULT_STUDY_NAME_PREFIX, FrozenStudy, study_id_of
from castpool.storage.connection.engine import run, run_together
from castpool.storage.optuna_storage.row_mapping import decode_attrs
from castpool.storage.sql import studies as sql


class StudyMethods(BaseStorage):
    """Studies in Optuna's tables. Names and directions never change, so each is read once."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._known: dict[int, FrozenStudy] = {}

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Create a study. Raises DuplicatedStudyError where the name is taken."""
        name = study_name if study_name is not None else f"{DEFAULT_STUDY_NAME_PREFIX}{uuid.uuid4()}"
        rows = run(self.engine, sql.INSERT, name=name, directions=[direction.name for direction in directions])
        if not rows:
            raise DuplicatedStudyError(f"the name {name!r} is taken")
        return int(rows[0].study_id)

    def delete_study(self, study_id: int) -> None:
        """Delete a study with all that belongs to it. Raises KeyError where there is none."""
        deleted = run_together(self.engine, [(statement, {"study_id": study_id}) for statement in sql.DELETE])
        self._known.pop(study_id, None)
        if not deleted[-1]:
            raise KeyError(f"no study with study_id {study_id}")

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set a user attribute of a study."""
        self._set_attr(sql.SET_USER_ATTR, study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set a system attribute of a study."""
        self._set_attr(sql.SET_SYSTEM_ATTR, study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the id of the study of that name."""
        return study_id_of(self._study(name=study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the name of a study."""
        return str(self._known_study(study_id).study_name)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return the directions of a study, one for each objective."""
        return list(self._known_study(study_id).directions)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the user attributes of a study, as they are now."""
        return self._study(study_id).user_attrs

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the system attributes of a study, as they are now."""
        return self._study(study_id).system_attrs

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return all studies in the order of their ids."""
        return self._read()

    def _known_study(self, study_id: int) -> FrozenStudy:
        if study_id not in self._known:
            self._known[study_id] = self._study(study_id)
        return self._known[study_id]

    def _study(self, study_id: int | None = None, name: str | None = None) -> FrozenStudy:
        found = self._read(study_id, name)
        if not found:
            raise KeyError(f"no study with study_id {study_id}" if name is None else f"no study named {name!r}")
        return found[0]

    def _read(self, study_id: int | None = None, name: str | None = None) -> list[FrozenStudy]:
        return [
            FrozenStudy(
                study_name=row.study_name,
                direction=None,
                directions=[StudyDirection[name] for name in row.directions],
                user_attrs=decode_attrs(row.user_attrs),
                system_attrs=decode_attrs(row.system_attrs),
                study_id=row.study_id,
            )
            for row in run(self.engine, sql.STUDIES, study_id=study_id, name=name)
        ]

    def _set_attr(self, statement: str, study_id: int, key: str, value: Any) -> None:
        if not run(self.engine, statement, study_id=study_id, key=key, value=json.dumps(value)):
            raise KeyError(f"no study with study_id {study_id}")
