"""The requests of one browser: timed from the moment that they were meant for, and their acks judged against the contract."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from devices.door import ConnectionLost, DoorClient, OperatorError, RequestFailed
from simulator.fleet.schedule import Timer
from simulator.texts import plain
from simulator.world import World

__all__ = ["ACK_WITHIN", "MISSING", "Requests"]

ACK_WITHIN: Final = 10.0
"""Seconds after which an ack will not come any more."""
AGAIN: Final = 1.0
"""Seconds after which a failure is looked at again: a hub may know of somebody's end before the tester has read it."""
SHOWN: Final = 100
"""Characters of a wrong ack in the evidence."""

_ROOM_ID: Final = re.compile(r"[0-9a-z]{8}")


class _Missing(OperatorError):
    """No ack came in time."""


MISSING: Final = _Missing("no ack")
"""What `then` gets in place of an ack that never came."""


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_SHAPES: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "ping": lambda ack, _: ack["pong"] is True and _is_number(ack["ts"]),
    "create-room": lambda ack, _: _ROOM_ID.fullmatch(ack["roomId"]) is not None,
    "join-room": lambda ack, data: ack["roomId"] == data["roomId"] and _is_texts(ack["peers"]),
    "leave-room": lambda ack, _: ack is None,
    "offer": lambda ack, _: ack is None,
    "answer": lambda ack, _: ack is None,
    "ice-candidate": lambda ack, _: ack is None,
    "get-online-stations": lambda ack, _: _is_texts(ack["stations"]) and ack["stations"] == sorted(ack["stations"]),
    "station-invite": lambda ack, _: ack is None,
    "station-cmd-request-stream": lambda ack, _: ack == {"status": "request-sent"},
    "station-request-status": lambda ack, _: ack in ({"via": "mqtt"}, {"via": "websocket"}),
    "station-command": lambda ack, _: (
        ack["stage"] == "done" and isinstance(ack["id"], str) and _is_number(ack["ms"]) and "result" in ack
    ),
    "station-watch": lambda ack, data: ack == {"watching": len(data["stations"])},
}
"""Of each event's ack, whether it is what the contract says (contract.md section 2)."""


class Requests:
    """Those of one browser.

    Args:
        name: of the browser, for evidence.

    Attributes:
        disturbed_until: what was open before then may be late, or be lost, without a finding: the browser did not read.
    """

    def __init__(self, world: World, name: str) -> None:
        self._world, self._name = world, name
        self._open: dict[object, Timer] = {}
        self._doubts: dict[object, tuple[Timer, Callable[[], None]]] = {}
        self.disturbed_until = float("-inf")

    def __len__(self) -> int:
        """How many wait for their ack."""
        return len(self._open)

    @property
    def undecided(self) -> bool:
        """Whether some wait for their ack, or for a second look at it."""
        return bool(self._open or self._doubts)

    def ask(
        self,
        client: DoorClient,
        event: str,
        data: Any,
        then: Callable[[Any], None],
        *,
        intended: float | None = None,
        within: float = ACK_WITHIN,
        fair: Callable[[], bool] | None = None,
        still: Callable[[], bool] | None = None,
    ) -> None:
        """Sends a request.

        Args:
            then: gets the ack's value; or an OperatorError: RequestFailed, ConnectionLost, or MISSING.
            intended: the moment that its time counts from; None: now.
            within: seconds after which its ack is missing.
            fair: whether all that it needs is still there, asked when it goes wrong; None: it needs nobody.
            still: the same, asked a second after the hub refused it; None: once is enough.
        """
        key, schedule = object(), self._world.schedule
        since = schedule.now if intended is None else intended

        def answered(value: Any) -> None:
            timer = self._open.pop(key, None)
            if timer is not None:
                timer.cancel()
                try:
                    self._judge(event, data, value, since, fair, still)
                finally:
                    then(value)

        try:
            request_id = client.ask(event, data, answered)
        except ConnectionLost as lost:
            then(lost)
            return
        give_up = schedule.real() + within
        self._open[key] = schedule.at(give_up, partial(self._missed, client, request_id, answered))

    def close(self) -> None:
        """Nobody waits any more."""
        for timer in self._open.values():
            timer.cancel()
        self._open.clear()
        for timer, look in list(self._doubts.values()):
            timer.cancel()
            look()

    @staticmethod
    def _missed(client: DoorClient, request_id: int, answered: Callable[[Any], None]) -> None:
        client.forget(request_id)
        answered(MISSING)

    def _judge(
        self,
        event: str,
        data: Any,
        value: Any,
        since: float,
        fair: Callable[[], bool] | None,
        still: Callable[[], bool] | None,
    ) -> None:
        if isinstance(value, ConnectionLost):
            return  # whose fault that is, is the connection's matter
        recorder, now = self._world.recorder, self._world.schedule.real()
        excused = since <= max(self.disturbed_until, self._world.restarting_until)
        if isinstance(value, OperatorError):
            if excused or (fair is not None and not fair()):
                return
            if isinstance(value, RequestFailed):
                self._failed(f"{self._about(event, since)} was answered with {plain(value.error)}", still)
            else:
                recorder.found(
                    "ack.missing", f"{self._about(event, since)} was not answered within {now - since:.1f} s"
                )
            return
        if not _fits(event, data, value):
            shown = plain(repr(value)[:SHOWN])
            recorder.found("ack.wrong", f"{self._about(event, since)} was answered with {shown}")
            return
        if excused:
            return
        seconds = now - since
        recorder.time("ack", seconds * 1000)
        recorder.time(f"ack.{event}", seconds * 1000)
        if seconds > self._world.scenario.late and (fair is None or fair()):
            recorder.found("ack.late", f"{self._about(event, since)} was answered after {seconds * 1000:.0f} ms")

    def _failed(self, evidence: str, still: Callable[[], bool] | None) -> None:
        recorder, schedule, key = self._world.recorder, self._world.schedule, object()
        if still is None:
            recorder.found("ack.errors", evidence)
            return

        def look() -> None:
            del self._doubts[key]
            if still():
                recorder.found("ack.errors", evidence)

        self._doubts[key] = schedule.at(schedule.real() + AGAIN, look), look

    def _about(self, event: str, since: float) -> str:
        return f"{event} of {self._name} at {self._world.at(since)}"


def _fits(event: str, data: Any, value: Any) -> bool:
    try:
        return _SHAPES[event](value, data)
    except (TypeError, KeyError, AttributeError):
        return False
