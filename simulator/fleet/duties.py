"""What a simulated station does beside reporting: commands, streams, rooms, signals and calls."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from devices.messages import Signal, StreamResponse
from devices.session import Effect, Invoke, StationError, StationSession
from simulator.fleet.schedule import Timer
from simulator.fleet.video import StationVideo

if TYPE_CHECKING:
    from simulator.fleet.station import SimulatedStation
    from simulator.world import World

__all__ = ["Duties"]

CALL_HEARD_WITHIN: Final = 10.0
HOUR: Final = 3_600.0
HANDLED: Final = frozenset({"open-gate", "join-room", "start-stream"})
STREAMING: Final = HANDLED | {"stop-stream"}


class Duties:
    """Those of one station. Old software has none."""

    __slots__ = ("_called", "_calls", "_station", "_video", "_world")

    def __init__(self, station: "SimulatedStation", world: "World") -> None:
        self._station, self._world, self._called = station, world, 0
        self._calls: Timer | None = None
        self._video: StationVideo | None = None

    def handles(self, command: str) -> bool:
        """Whether it knows that type of command."""
        return command in (HANDLED if self._world.studio is None else STREAMING)

    def start(self) -> None:
        """The station starts, or starts again."""
        studio, station = self._world.studio, self._station
        if station.legacy:
            return
        if studio is not None and self._video is None and self._world.plan.streams(station.number):
            self._video = studio.open(station.id, self._speak)
        if self._world.scenario.stations.calls:
            self._next_call(self._world.schedule.now)

    def stop(self) -> None:
        """The station stops."""
        if self._calls is not None:
            self._calls.cancel()
        if self._video is not None and self._world.studio is not None:
            self._world.studio.release(self._video)
            self._video = None

    # ---- what it is told

    def carry_out(self, invoke: Invoke) -> None:
        """A command came."""
        station, session, result = self._station, self._station.session, None
        if not isinstance(session, StationSession):
            return
        command = invoke.command
        match command.type:
            case "open-gate":
                result = {"open": station.telemetry.open_gate()}
                self._world.commands.executed(station.number, _token_of(command.params), self._world.schedule.real())
                station.apply(session.report())
            case _ if self._video is not None and self._video.takes(command):
                pass
            case "join-room":
                station.apply(session.join_room(command.room_id or "-"))
            case "stop-stream":
                pass  # it shows nothing
            case _:
                url = f"rtsp://{station.id}.invalid/{command.camera_id or ''}"
                answer = StreamResponse(
                    requester_id=command.requester_id or "-", status="ready", url=url, camera_id=command.camera_id
                )
                station.apply(session.stream_response(answer))
        station.apply(session.done(invoke, result))

    def signalled(self, signal: Signal) -> None:
        """A peer sent a signal."""
        session = self._station.session
        if not isinstance(session, StationSession):
            return
        if self._video is not None and self._video.hears(signal):
            return
        try:
            if signal.event == "offer" and isinstance(signal.offer, dict):
                answer = {**signal.offer, "type": "answer"}
                back = Signal(event="answer", peer=signal.peer, room_id=signal.room_id, answer=answer)
                self._station.apply(session.signal(back))
            elif signal.event == "peer-left" and signal.room_id:
                self._station.apply(session.leave_room(signal.room_id))  # who invited it is gone
        except StationError:
            pass  # an offer so large that no answer to it may be sent

    def _speak(self, make: Callable[[StationSession], list[Effect]]) -> None:
        """For its cameras. Raises StationError."""
        if isinstance(session := self._station.session, StationSession):
            self._station.apply(make(session))

    # ---- what it wants

    def _next_call(self, now: float) -> None:
        self._called += 1
        # one of its own for so few would be 2.5 KB to keep
        chance = self._world.rng(f"{self._station.id}/call {self._called}")
        wait = chance.expovariate(self._world.scenario.stations.calls / HOUR)
        self._calls = self._world.schedule.at(now + wait, self._call)

    def _call(self) -> None:
        station, world, now = self._station, self._world, self._world.schedule.now
        self._next_call(now)
        if not station.connected:
            return
        if world.target.http is not None:  # else there is a broker alone, and nobody to hear it
            heard = any(browser.connected for browser in world.browsers.values())
            if not heard or not world.presence.settled(station.number, now):
                return
            key = (station.id, station.wall_ms())
            world.exchanges.expect("call", key, now, CALL_HEARD_WITHIN, station=station.number)
        self._speak(StationSession.call_center)


def _token_of(params: object) -> str:
    token = params.get("sim") if isinstance(params, dict) else None
    return token if isinstance(token, str) else ""
