"""The faults: each begins at once, and returns what ends it, if anything, for the round to call later."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import create_engine, text

from tests.chaos.crew import Crew
from tests.chaos.proxy import Proxy
from tests.private_server import PrivateServer


@dataclass
class Scene:
    """Where faults happen."""

    server: PrivateServer
    proxy: Proxy
    crew: Crew
    chance: random.Random


@dataclass(frozen=True)
class Later:
    """What ends a fault, and in how many seconds."""

    seconds: float
    end: Callable[[], None]


Fault = Callable[[Scene], Later | None]


def kill(scene: Scene) -> None:
    """A worker dies without notice."""
    if scene.crew.processes:
        scene.crew.send(scene.chance.choice(scene.crew.processes), signal.SIGKILL)


def terminate(scene: Scene) -> None:
    """A worker is asked to stop, as a container is."""
    if scene.crew.processes:
        scene.crew.send(scene.chance.choice(scene.crew.processes), signal.SIGTERM)


def freeze(scene: Scene) -> Later | None:
    """A worker is suspended, possibly for longer than its lease."""
    if not scene.crew.processes:
        return None
    process = scene.chance.choice(scene.crew.processes)
    scene.crew.send(process, signal.SIGSTOP)
    return Later(scene.chance.uniform(0.2, 5.0), lambda: scene.crew.send(process, signal.SIGCONT))


def end_connection(scene: Scene) -> None:
    """The server ends some connections, possibly within a statement."""
    if not scene.server.is_up:
        return
    engine = create_engine(scene.server.url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'castpool worker%' "
                "AND random() < 0.5"
            )
        )
    engine.dispose()


def crash(scene: Scene) -> Later | None:
    """The server crashes, and comes back after a moment."""
    if not scene.server.is_up:
        return None
    scene.server.stop(signal.SIGQUIT)
    return Later(scene.chance.uniform(0.0, 1.0), scene.server.start)


def refuse(scene: Scene) -> Later:
    """New connections are refused, and half of the existing ones break."""
    end = scene.proxy.refuse()
    scene.proxy.cut(scene.chance, 0.5)
    return Later(scene.chance.uniform(0.2, 3.0), end)


def stall(scene: Scene) -> Later:
    """The network drops everything both ways on half of the connections, possibly for longer than a lease."""
    return Later(scene.chance.uniform(0.2, 4.0), scene.proxy.stall(scene.chance, 0.5))


def skewed_worker(scene: Scene) -> Later:
    """A worker joins whose clock is wrong by hours."""
    process = scene.crew.add(scene.chance.choice([-1, 1]) * scene.chance.uniform(1, 48))
    return Later(scene.chance.uniform(0.5, 3.0), lambda: scene.crew.send(process, signal.SIGTERM))


def second_pool(scene: Scene) -> Later:
    """A user starts a second pool on the same study by mistake, and stops it later."""
    others = [scene.crew.add() for _ in range(2)]

    def stop() -> None:
        for process in others:
            scene.crew.send(process, signal.SIGTERM)

    return Later(scene.chance.uniform(0.5, 3.0), stop)


FAULTS: dict[str, tuple[Fault, int]] = {  # with their weights
    "SIGKILL of a worker": (kill, 6),
    "SIGTERM of a worker": (terminate, 3),
    "SIGSTOP and SIGCONT of a worker": (freeze, 4),
    "connections ended by the server": (end_connection, 4),
    "server crash and restart": (crash, 2),
    "connections refused": (refuse, 3),
    "network cut": (stall, 3),
    "clock wrong by hours": (skewed_worker, 2),
    "second pool by mistake": (second_pool, 2),
}
