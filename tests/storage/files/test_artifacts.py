"""Artifacts: one conformance suite over every store that can be opened here, and what only the database does."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.artifacts._protocol import ArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound

from castpool.storage.budget import slots
from castpool.storage.errors import ArtifactURLError
from castpool.storage.files.artifacts import PART_BYTES, checkpoint_name, delete_orphaned_checkpoints, open_artifacts
from castpool.storage.files.attachments import attach_files, list_attachments, read_attachment
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from tests.storage.helpers import breaking_before_use, claimed, execute, expire, load, losing_answer, make_study


@pytest.fixture(params=["database", "file"])
def kept(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> Iterator[ArtifactStore]:
    yield open_artifacts(store.engine, None if request.param == "database" else f"file://{tmp_path}/new")
    execute(store, "DELETE FROM castpool_artifacts")


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, 2 * PART_BYTES + 7])
def test_an_artifact_is_read_as_it_was_written(kept: ArtifactStore, size: int) -> None:
    content = bytes(number % 251 for number in range(min(size, 1000))) * (size // 1000) + b"z" * (size % 1000)
    kept.write("an artifact", io.BytesIO(content))
    with kept.open_reader("an artifact") as reader:
        assert reader.read() == content


def test_one_of_the_same_name_takes_its_place(kept: ArtifactStore) -> None:
    kept.write("an artifact", io.BytesIO(b"a" * (2 * PART_BYTES)))
    kept.write("an artifact", io.BytesIO(b"short"))
    with kept.open_reader("an artifact") as reader:
        assert reader.read() == b"short"


def test_what_is_removed_or_never_was_is_not_found(kept: ArtifactStore) -> None:
    kept.write("an artifact", io.BytesIO(b"a"))
    kept.remove("an artifact")
    with pytest.raises(ArtifactNotFound):
        kept.open_reader("an artifact")
    with pytest.raises(ArtifactNotFound):
        kept.remove("an artifact")


def test_optuna_keeps_files_in_it(kept: ArtifactStore, store: Store, stored: StoredStudy, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<p>fine</p>")
    study = load(store)
    found = optuna.artifacts.upload_artifact(
        artifact_store=kept, file_path=str(tmp_path / "report.html"), study_or_trial=study
    )
    optuna.artifacts.download_artifact(artifact_store=kept, artifact_id=found, file_path=str(tmp_path / "again.html"))
    assert (tmp_path / "again.html").read_text() == "<p>fine</p>"
    assert [meta.filename for meta in optuna.artifacts.get_all_artifact_meta(study)] == ["report.html"]


@pytest.mark.parametrize("trouble", [breaking_before_use, losing_answer])
def test_a_broken_connection_costs_nothing(store: Store, trouble: object) -> None:
    kept = open_artifacts(store.engine)
    with trouble(store.engine) as happened:  # type: ignore[operator]
        kept.write("an artifact", io.BytesIO(b"a" * (PART_BYTES + 1)))
    assert happened
    with kept.open_reader("an artifact") as reader:
        assert reader.read() == b"a" * (PART_BYTES + 1)
    kept.remove("an artifact")


@pytest.mark.parametrize("url", ["ftp://host/folder", "folder", "file://host/folder", "s3://", "s3://bucket/folder"])
def test_a_url_of_another_kind_is_refused(store: Store, url: str) -> None:
    with pytest.raises(ArtifactURLError, match="write file:///folder, s3://bucket or gs://bucket"):
        open_artifacts(store.engine, url)


def test_checkpoints_that_no_slot_needs_are_deleted(store: Store, stored: StoredStudy) -> None:
    other = make_study(store, "other")
    claim = claimed(store, stored)
    names = [checkpoint_name(study, 0, 1, step) for study in (stored.study_id, other.study_id) for step in (10, 20)]
    kept = open_artifacts(store.engine)
    for name in names:
        kept.write(name, io.BytesIO(b"state"))
    slots.keep_checkpoint(store.engine, claim, names[1], 20)

    delete_orphaned_checkpoints(store.engine, stored.study_id, 60.0)
    assert found(store) == sorted(names), "the first may be on its way into its slot"

    execute(store, "UPDATE castpool_artifacts SET created_at = now() - interval '61 seconds'")
    expire(store, claim)
    delete_orphaned_checkpoints(store.engine, stored.study_id, 60.0)
    assert found(store) == sorted(names[1:])
    execute(store, "DELETE FROM castpool_artifacts")


def found(store: Store) -> list[str]:
    return sorted(row[0] for row in execute(store, "SELECT artifact_id FROM castpool_artifacts"))


def test_a_large_one_is_kept_in_parts_of_a_size_that_servers_take(store: Store) -> None:
    open_artifacts(store.engine).write("an artifact", io.BytesIO(b"a" * (2 * PART_BYTES + 7)))
    parts = execute(store, "SELECT part, octet_length(payload) FROM castpool_artifacts ORDER BY part")
    assert [tuple(part) for part in parts] == [(0, PART_BYTES), (1, PART_BYTES), (2, 7)]
    assert PART_BYTES <= 1 << 24
    execute(store, "DELETE FROM castpool_artifacts")


def test_files_of_a_study_are_there_once_by_name(store: Store, stored: StoredStudy) -> None:
    other = make_study(store, "other")
    large = bytes(number % 256 for number in range(256)) * 10_000
    attach_files(store.engine, stored.study_id, {"report.html": b"<p>one</p>", "model.zip": large})
    attach_files(store.engine, other.study_id, {"report.html": b"<p>other</p>"})
    attach_files(store.engine, stored.study_id, {"report.html": b"<p>two</p>", "model.zip": large})
    kept = {file.name: read_attachment(store.engine, file) for file in list_attachments(store.engine, stored.study_id)}
    assert kept == {"model.zip": large, "report.html": b"<p>two</p>"}
    metas = optuna.artifacts.get_all_artifact_meta(load(store))
    assert sorted((meta.filename, meta.mimetype) for meta in metas) == [
        ("model.zip", "application/zip"),
        ("report.html", "text/html"),
    ]
    with open_artifacts(store.engine).open_reader(metas[0].artifact_id) as reader:
        assert reader.read() in kept.values()
    # optuna-dashboard's pattern of the artifacts that it serves.
    assert all(re.fullmatch("[0-9a-fA-F-]+", meta.artifact_id) for meta in metas)
    assert len(found(store)) == 3 + 1 + 1, "a megabyte a part, and nothing of the replaced file"
    execute(store, "DELETE FROM castpool_artifacts")
