"""The winner of a study that others work on: wait for its end, fit, write; MLflow is kept up to date meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from storage import reaper, snapshot
from storage.store import Store, open_store
from storage.studies import StoredStudy, only_study, open_study, unfinished_studies
from workers.extras import Extras, unpacked
from workers.progress import Progress
from workers.signals import StoppedError, StopRequest

if TYPE_CHECKING:
    from workers.result import Result

LOOK_SECONDS = 1.0


def await_end(store: Store, stored: StoredStudy, stop: StopRequest, shown: Progress) -> None:
    """Show a study until it is done, and open the slots of workers that are gone.

    Raises:
        StoppedError: a stop was asked for before.
    """
    with shown:
        while True:
            view = snapshot.take(store.engine, stored.study_id)
            shown.show({stored.name: view})
            if view.counts.is_done and not view.counts.leased:
                return  # a budget may be spent before the last trials have been handed back
            if stop.wait(LOOK_SECONDS):
                left = view.counts.slots - view.counts.ended
                raise StoppedError(f"stopped waiting with {left} of {view.counts.slots} trials to go.")
            reaper.reap(store.engine, stored.study_id)


def studies_to_finish(store: Store, names: Sequence[str]) -> list[StoredStudy]:
    """Return the named studies, or all that are unfinished, or the latest.

    Raises:
        StudyNotFoundError: no study of a name, or none at all.
    """
    if names:
        return [open_study(store, own) for own in dict.fromkeys(names)]
    return unfinished_studies(store) or [only_study(store, None)]


def finish(
    store: Store,
    stored: StoredStudy,
    out: Path,
    stop: StopRequest,
    say: Callable[[str], None],
    extras: Extras | None = None,
    notes: Sequence[str] = (),
) -> Result:
    """Fit the best configuration that there is, write its files and keep them with the study.

    Args:
        store: where the study is.
        stored: the study.
        out: the folder to write to.
        stop: the request to end early.
        say: told what is being done.
        extras: the Python objects that the study was made with.
        notes: what was changed or inferred when the data was read, for the report.

    Raises:
        InputError: the study needs Python objects that only the Python that made it has.
        NoResultError: no trial completed.
        StoppedError: a stop was asked for.
    """
    from workers.desk import load_job
    from workers.logs import quiet
    from workers.winner import write_result

    quiet()
    job = load_job(store, stored, extras)
    job = replace(job, series=replace(job.series, notes=tuple(notes)))
    return write_result(store, stored, job, out, stop, say)


def finish_by_name(
    url: str | None,
    name: str,
    out: Path,
    extras: bytes | None,
    notes: Sequence[str],
    *,
    stop: StopRequest,
    say: Callable[[str], None],
) -> Result:
    """Do what `finish` does, in a process that has neither the storage nor the study open; raises what that raises."""
    objects = unpacked(extras) if extras is not None else {}
    with open_store(url, application_name="castpool tune") as store:
        return finish(store, open_study(store, name), out, stop, say, objects.get(name), notes)
