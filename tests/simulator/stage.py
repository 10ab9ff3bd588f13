"""A world for simulated browsers alone: real time and a real recorder, and judges that note what they are told."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from devices.client import Address
from devices.door import ConnectionLost
from simulator.fleet.schedule import Schedule
from simulator.measuring.measures import Recorder, Snapshot
from simulator.plan import Credentials, Plan, Target
from simulator.scenario import Scenario
from simulator.world import World

__all__ = ["GUARD", "FakeClient", "FakeStation", "Found", "Notes", "eventually", "make_world", "only"]

GUARD = 15.0


class Notes:
    """Stands for any judge: `calls` holds what it was told; all stations are settled unless `unsettled` says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.unsettled = set[int]()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def note(*args: Any, **kwargs: Any) -> bool:
            self.calls.append((name, args))
            return True

        return note

    def settled(self, number: int, _: float) -> bool:
        return number not in self.unsettled

    calm = settled

    def of(self, name: str) -> list[Any]:
        """The arguments of each call of that name."""
        return [args for called, args in self.calls if called == name]


class FakeStation:
    """What behaviours look at."""

    legacy = False


class FakeClient:
    """A connection whose hub is the test: `asked` holds (event, data, answered)."""

    peer_id = "peer-1"

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any, Callable[[Any], None]]] = []
        self.forgotten: list[int] = []
        self.lost = False

    def ask(self, event: str, data: Any, answered: Callable[[Any], None]) -> int:
        if self.lost:
            raise ConnectionLost
        self.asked.append((event, data, answered))
        return len(self.asked)

    def forget(self, request_id: int) -> None:
        self.forgotten.append(request_id)


def make_world(
    http: str | None = None,
    *,
    stations: int = 3,
    token: Callable[[str, float], str] = lambda user_id, _: f"token of {user_id}",
    schedule: Schedule | None = None,
    mqtt: str = "mqtt://127.0.0.1:1",
    fleet: dict[str, Any] | None = None,
    **browsers: Any,
) -> World:
    """Judges are Notes; all stations are there. `fleet`: more of the scenario's settings of stations."""
    scenario = Scenario.model_validate(
        {
            "name": "test",
            "settle": 1.0,
            "late": 1.0 if schedule else 30.0,  # by a real clock a slow machine would be accused
            "stations": {"count": stations} | (fleet or {}),
            "browsers": {"count": 4, "think": [0.01, 0.03]} | browsers,
            "stages": [{"name": "all", "duration": 1, "shape": "linear", "browsers": "100%"}],
        }
    )
    world = World(
        plan=Plan(scenario, Target(Address.parse(mqtt), http), "sim", "run1"),
        credentials=Credentials(lambda _, __: "", token),
        schedule=schedule or Schedule(),
        recorder=Recorder(),
        presence=cast("Any", Notes()),
        statuses=cast("Any", Notes()),
        commands=cast("Any", Notes()),
        exchanges=cast("Any", Notes()),
        answers=cast("Any", Notes()),
        interval=1.0,
        numbers=range(stations),
    )
    world.stations.update({number: cast("Any", FakeStation()) for number in range(stations)})
    return world


class Found:
    """All that a recorder has taken so far."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder, self._taken = recorder, list[Snapshot]()

    def __getitem__(self, name: str) -> int:
        return sum(each.counts.get(name, 0) for each in self._look())

    def errors(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for each in self._look():
            for kind, many in each.errors.items():
                found[kind] = found.get(kind, 0) + many
        return found

    def timed(self, name: str) -> int:
        return sum(sum(each.times.get(name, {}).values()) for each in self._look())

    def evidence(self, name: str) -> list[str]:
        return [sentence for each in self._look() for sentence in each.evidence.get(name, [])]

    def hints(self, name: str) -> list[str]:
        return [sentence for each in self._look() for sentence in each.hints.get(name, [])]

    def _look(self) -> list[Snapshot]:
        self._taken.append(self._recorder.take(0))
        return self._taken


def only(what: str) -> dict[str, float]:
    """A mix of one action."""
    return {name: float(name == what) for name in ("status", "command", "stream", "invite", "rooms", "ping")}


async def eventually(is_so: Callable[[], Any]) -> None:
    """Until it is."""
    async with asyncio.timeout(GUARD):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
