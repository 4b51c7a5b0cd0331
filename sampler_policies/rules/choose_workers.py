"""The policy that chooses the number of workers on a machine, from its cores and its GPUs' memory and utilisation."""

from __future__ import annotations

from dataclasses import dataclass

from castpool.sampler_policies.decision import Decision
from castpool.sampler_policies.facts import GPUFacts
from castpool.sampler_policies.rules.rule import Rule, choose, no_objection

# A process's context on the device takes some 500 MB; a usual model with activations and moments needs the rest.
MB_A_WORKER = 3000
# A training step of neuralforecast launches many small kernels, between which one process leaves a large GPU idle.
MOST_A_GPU = 4
BUSY = 0.5


@dataclass(frozen=True)
class PoolFacts:
    """The resources of the machine. ``asked`` is the number of workers that the user set; 0 leaves it open."""

    asked: int
    trials: int
    cores: int
    gpus: tuple[GPUFacts, ...] = ()


def choose_workers(facts: PoolFacts) -> Decision:
    """Decide the number of workers on one machine; never more than trials."""
    return choose(POOL_SIZES, facts)


def workers_on(gpu: GPUFacts) -> int:
    """Return how many workers may share a GPU, by its free memory and its utilisation by others; at least 1."""
    return 1 if gpu.busy >= BUSY else max(1, min(MOST_A_GPU, gpu.free_mb // MB_A_WORKER))


def _number_is_open(facts: PoolFacts) -> str | None:
    return None if facts.asked else "the number of workers was not set"


def _as_asked(facts: PoolFacts) -> Decision:
    return _decision(facts, facts.asked, "set by the user")


def _no_gpu(facts: PoolFacts) -> str | None:
    return None if facts.gpus else "there is no GPU"


def _share_gpus(facts: PoolFacts) -> Decision:
    counts = [workers_on(gpu) for gpu in facts.gpus]
    parts = [
        f"{count} on {gpu.name}, {gpu.free_mb} MB free, {gpu.busy:.0%} busy"
        for count, gpu in zip(counts, facts.gpus, strict=True)
    ]
    return _decision(facts, min(sum(counts), max(facts.cores, len(counts))), "; ".join(parts))


def _one_per_core(facts: PoolFacts) -> Decision:
    return _decision(facts, facts.cores, "one per core: small models train faster on one core than on several")


def _decision(facts: PoolFacts, number: int, reason: str) -> Decision:
    if number > facts.trials:
        return Decision("workers", str(facts.trials), f"{reason}; limited to the number of trials")
    return Decision("workers", str(number), reason)


POOL_SIZES: tuple[Rule[PoolFacts], ...] = (
    Rule("user's choice", "the user sets the number", _number_is_open, _as_asked),
    Rule(
        "GPUs shared",
        f"GPUs: one worker per {MB_A_WORKER} MB, at most {MOST_A_GPU}; one where {BUSY:.0%} busy",
        _no_gpu,
        _share_gpus,
    ),
    Rule("one per core", "everything else", no_objection, _one_per_core),
)
