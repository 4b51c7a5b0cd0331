"""The policy that chooses how many workers a machine runs: from its cores, and its GPUs' memory and utilisation."""

from __future__ import annotations

from dataclasses import dataclass

from sampler_policies.candidates import Candidate, anything, choose
from sampler_policies.decision import Decision
from sampler_policies.facts import GPUFacts

# Beside a process's context on the device, some 500 MB, room for a usual model with its activations and moments.
MB_A_WORKER = 3000
# A training step of neuralforecast launches many small kernels, between which one process leaves a large GPU idle.
MOST_A_GPU = 4
BUSY = 0.5


@dataclass(frozen=True)
class PoolFacts:
    """What the machine offers. ``asked`` is the user's own number, 0 where there is none."""

    asked: int
    trials: int
    cores: int
    gpus: tuple[GPUFacts, ...] = ()


def choose_workers(facts: PoolFacts) -> Decision:
    """Decide how many workers one machine runs; never more than trials."""
    return choose(POOL_SIZES, facts)


def workers_on(gpu: GPUFacts) -> int:
    """Return how many workers may share a GPU, by its free memory and how busy others keep it; at least 1."""
    return 1 if gpu.busy >= BUSY else max(1, min(MOST_A_GPU, gpu.free_mb // MB_A_WORKER))


def _not_asked(facts: PoolFacts) -> str | None:
    return None if facts.asked else "nobody asked for a number"


def _asked(facts: PoolFacts) -> Decision:
    return _workers(facts, facts.asked, "as asked for")


def _no_gpu(facts: PoolFacts) -> str | None:
    return None if facts.gpus else "there is no GPU"


def _share_gpus(facts: PoolFacts) -> Decision:
    each = [workers_on(own) for own in facts.gpus]
    said = [
        f"{n} on {own.name}, {own.free_mb} MB free, {own.busy:.0%} busy"
        for n, own in zip(each, facts.gpus, strict=True)
    ]
    return _workers(facts, min(sum(each), max(facts.cores, len(each))), "; ".join(said))


def _one_a_core(facts: PoolFacts) -> Decision:
    return _workers(facts, facts.cores, "one a core: small models compute on one faster than on several together")


def _workers(facts: PoolFacts, number: int, reason: str) -> Decision:
    if number > facts.trials:
        return Decision("workers", str(facts.trials), f"{reason}; there are no more trials than that")
    return Decision("workers", str(number), reason)


POOL_SIZES: tuple[Candidate[PoolFacts], ...] = (
    Candidate("as asked for", "whoever asks for a number", _not_asked, _asked),
    Candidate(
        "GPUs shared",
        f"GPUs: on each as many as have {MB_A_WORKER} MB, at most {MOST_A_GPU}, and one where others keep it "
        f"{BUSY:.0%} busy; a core for each",
        _no_gpu,
        _share_gpus,
    ),
    Candidate("one a core", "everything else", anything, _one_a_core),
)
