"""A client of the hub's native WebSocket door: an operator's browser, or a station without MQTT, in Python.

async with Operator("http://127.0.0.1:3101", token=token) as operator:
    await operator.request("station-watch", {"stations": ["st-1"]})
    async for event, data in operator.pushes():
        ...

Without `watch=` the hub sends the statuses of all stations from the start.
"""

from collections.abc import Callable, Iterable
from typing import Any

import orjson

from devices.door import Ack, ConnectionLost, DoorClient, OperatorError, Push, Refused, RequestFailed

__all__ = ["ConnectionLost", "Operator", "OperatorError", "Refused", "RequestFailed"]


class Operator(DoorClient):
    """One connection to the native door, see DoorClient; the path `/ws/admin` is an admin's.

    Args:
        watch: ids of the stations whose statuses are wanted from the first batch on; None: all. With the token 16 KB at most:
            more are asked for by `station-watch`.
        states: `batch-station-state-update` is wanted: how each station is, in one word; and the calls that are open.
    """

    PATH = "/ws"

    def __init__(
        self,
        url: str,
        *,
        token: str,
        watch: Iterable[str] | None = None,
        states: bool = False,
        queue: int = 10_000,
        timeout: float = 65.0,
        heartbeat: float | None = 20.0,
        on_push: Callable[[str, Any], None] | None = None,
        on_malformed: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(
            url,
            token=token,
            queue=queue,
            timeout=timeout,
            heartbeat=heartbeat,
            on_push=on_push,
            on_malformed=on_malformed,
        )
        self._auth: dict[str, Any] = {"token": token}
        if watch is not None:
            self._auth["watch"] = list(watch)
        if states:
            self._auth["states"] = True

    async def _log_in(self) -> str:
        await self._socket.send(orjson.dumps({"event": "auth", "data": self._auth}).decode())
        welcome = orjson.loads(await self._socket.recv(decode=False))
        return str(welcome["data"]["peerId"])

    def _encode(self, event: str, data: Any, request_id: int | None) -> bytes:
        frame = {"event": event, "data": data}
        return orjson.dumps(frame if request_id is None else {"id": request_id, **frame})

    def _decode(self, message: bytes) -> Push | Ack | None:
        frame = orjson.loads(message)
        if "event" in frame:
            if not isinstance(frame["event"], str):
                raise TypeError("an event's name is a text")
            return Push(frame["event"], frame.get("data"))
        request_id = frame.get("id") if isinstance(frame, dict) else frame["id"]
        if request_id is None:
            return Ack(0, frame["error"])  # of an event without an id: nobody waits for it
        if not isinstance(request_id, int):
            raise TypeError("an id is a number")
        if "error" in frame:
            return Ack(request_id, RequestFailed(str(frame["error"]), frame.get("detail")))
        return Ack(request_id, frame["ack"])
