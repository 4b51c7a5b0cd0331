"""The end of a study: wait for its last trial, fit the winner, write its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from castpool.storage.budget import reaper, slots
from castpool.storage.store import Store, open_store
from castpool.storage.study import snapshot
from castpool.storage.study.studies import StoredStudy, only_study, open_study, unfinished_studies
from castpool.workers.monitoring.progress import Progress
from castpool.workers.spec.python_objects import PythonObjects, unpack_objects
from castpool.workers.support.signals import StoppedError, StopRequest

if TYPE_CHECKING:
    from castpool.workers.results.result import Result

POLL_SECONDS = 1.0


def await_end(store: Store, stored: StoredStudy, stop: StopRequest, shown: Progress) -> None:
    """Show the progress of a study until it is done, and end the leases of lost workers.

    Raises:
        StoppedError: a stop was requested before the study was done.
    """
    with shown:
        while True:
            view = snapshot.take(store.engine, stored.study_id)
            shown.show({stored.name: view})
            if view.counts.is_judged and not view.counts.leased:
                return  # a budget may be spent while workers still release their last slots
            if stop.wait(POLL_SECONDS):
                left = view.counts.slots - view.counts.ended
                raise StoppedError(f"stopped waiting; {left} of {view.counts.slots} trials have not ended.")
            reaper.reap(store.engine, stored.study_id)


def studies_to_finish(store: Store, names: Sequence[str]) -> list[StoredStudy]:
    """Return the named studies; without names all unfinished ones, or the latest where all are finished.

    Raises:
        StudyNotFoundError: the storage has no study of a name, or no study.
    """
    if names:
        return [open_study(store, name) for name in dict.fromkeys(names)]
    return unfinished_studies(store) or [only_study(store, None)]


def finish(
    store: Store,
    studies: Sequence[StoredStudy],
    out: Path,
    stop: StopRequest,
    say: Callable[[str], None],
    objects: Mapping[str, PythonObjects] | None = None,
    notes: Sequence[str] = (),
) -> Result:
    """Fit the best configurations so far, write the files and keep them with the study of the single best.

    Where a search has ended and its evaluation has not, this process takes part in the evaluation first.

    Args:
        store: where the studies are.
        studies: of one command: the same data and horizon, another model each.
        out: the folder to write to; of several studies, the folder in which the winner's is.
        stop: the request to end early.
        say: called with each line of progress.
        objects: the Python objects that the studies were made with, by the name of the study.
        notes: what was changed or inferred when the data was read, for the report.

    Raises:
        InputError: the study needs Python objects that only the process that made it has.
        NoResultError: no trial completed.
        StoppedError: a stop was requested.
    """
    from castpool.workers.results.result_folder import write_result
    from castpool.workers.support.logs import quiet
    from castpool.workers.worker.loop import Worker
    from castpool.workers.worker.stored_job import load_job

    quiet()
    if unjudged := [stored for stored in studies if _is_unjudged(store, stored)]:
        say("judging the finalists")
        Worker(store, unjudged, stop, objects).run()
        if stop.is_set:
            raise StoppedError("stopped while judging the finalists; run the same command to go on.")
    jobs = [(stored, load_job(store, stored, (objects or {}).get(stored.name))) for stored in studies]
    noted = [(stored, replace(job, series=replace(job.series, notes=tuple(notes)))) for stored, job in jobs]
    return write_result(store, noted, out, stop, say)


def _is_unjudged(store: Store, stored: StoredStudy) -> bool:
    counts = slots.count(store.engine, stored.study_id)
    return counts.is_searched and not counts.leased and not counts.is_judged


def finish_by_name(
    url: str | None,
    names: Sequence[str],
    out: Path,
    objects: bytes | None,
    notes: Sequence[str],
    *,
    stop: StopRequest,
    say: Callable[[str], None],
) -> Result:
    """Do what `finish` does in another process, which opens the storage and the study; raises what `finish` raises."""
    by_study = unpack_objects(objects) if objects is not None else {}
    with open_store(url, application_name="castpool tune") as store:
        return finish(store, [open_study(store, name) for name in names], out, stop, say, by_study, notes)
