"""A browser's connection through the broken hub, frame by frame, on both doors."""

from collections.abc import Callable
from typing import Any, Final

import orjson

from tests.simulator.broken_links import Breaker, Link, Place, Way
from tests.simulator.broken_wire import (
    TEXT,
    Dialect,
    Event,
    Frame,
    cut_frames,
    read_event,
    text_frame,
    without_extensions,
    write_event,
)

__all__ = ["WebLink"]

CLOSE: Final = 0x88
"""FIN and the opcode of a close [RFC 6455, 5.2]."""
REFUSED: Final = 4401
UNAUTHORIZED: Final = "UNAUTHORIZED: Unauthorized"
MAX_REQUESTS: Final = 1_000
"""Requests without an answer whose event is remembered."""


class WebLink(Link):
    """A browser's; or plain HTTP, or MQTT over WebSocket, which pass unseen."""

    def __init__(self, breaker: Breaker, hub: tuple[str, int], number: int) -> None:
        super().__init__(breaker, hub, number)
        self._readers: dict[Way, Callable[[bytes], None]] = {"up": self._request_head, "down": self._response_head}
        self.dialect: Dialect | None = None
        self._requests: dict[Any, str] = {}

    def read(self, way: Way, data: bytes) -> None:
        """As far as the connection has come."""
        self._readers[way](data)

    def _request_head(self, data: bytes) -> None:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            self.keep("up", data)
            return
        self.keep("up", b"")
        if b"upgrade: websocket" in head.lower():
            path = head.split(b" ", 2)[1]
            if path.startswith(b"/ws"):
                self.dialect = "native"
            elif path.startswith(b"/socket.io/"):
                self.dialect = "socketio"
        if self.dialect is None:
            self._readers = {"up": lambda more: self.send("up", more), "down": lambda more: self.send("down", more)}
            self.send("up", data)
            return
        self._readers["up"] = lambda more: self._frames("up", more)
        self.send("up", without_extensions(head) + end)
        self._frames("up", rest)

    def _response_head(self, data: bytes) -> None:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            self.keep("down", data)
            return
        self.keep("down", b"")
        upgraded = head.split(b" ", 2)[1:2] == [b"101"]
        self._readers["down"] = lambda more: self._frames("down", more) if upgraded else self.send("down", more)
        self.send("down", head + end)
        if rest:
            self._readers["down"](rest)

    def _frames(self, way: Way, data: bytes) -> None:
        frames, rest = cut_frames(data)
        self.keep(way, rest)
        for frame in frames:
            if self.over or self.frozen:
                return
            if frame.first != TEXT or not self._taken(way, frame):
                self.send(way, frame.raw)

    def _taken(self, way: Way, frame: Frame) -> bool:
        assert self.dialect is not None
        if way == "down" and not self.ready:
            return self._answered_login(frame.body)
        place: Place = "from-browser" if way == "up" else "to-browser"
        wanted = self.breaker.wants(place)
        if not wanted and not self._requests and not self.breaker.wants("to-browser"):
            return False
        event = read_event(self.dialect, frame.body)
        if event is None or event.event == "auth":
            return False
        if way == "up" and event.id is not None:
            self._requests[event.id] = event.event
            if len(self._requests) > MAX_REQUESTS:
                del self._requests[next(iter(self._requests))]
        elif way == "down" and event.kind != "event":
            event = event.but(event=self._requests.pop(event.id, ""))
        return wanted and self.breaker.take(place, self, event)

    def _answered_login(self, text: bytes) -> bool:
        """The hub's first word: whether it lets the browser in."""
        let_in = text.startswith(b"40") if self.dialect == "socketio" else b'"welcome"' in text[:20]
        if let_in and self.breaker.take("browser-login", self, text):
            return True
        self.ready = let_in
        return False

    def refuse(self) -> None:
        """Not let in, as each door says it."""
        if self.dialect == "socketio":
            self._write("down", text_frame(b"44" + orjson.dumps({"message": UNAUTHORIZED}), masked=False))
        else:
            reason = REFUSED.to_bytes(2) + UNAUTHORIZED.encode()
            self._write("down", text_frame(reason, masked=False, first=CLOSE))
        self.cut(reset=False)

    def frame(self, way: Way, event: Event) -> bytes:
        """An event as it goes over the wire."""
        assert self.dialect is not None
        return text_frame(write_event(self.dialect, event), masked=way == "up")

    def push(self, event: str, data: Any) -> None:
        """Says something in the hub's name."""
        self.send("down", self.frame("down", Event("event", None, event, data)))
