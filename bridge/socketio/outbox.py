"""What waits for the next poll of a session, as a `Wire`; and the poll that waits for it. Pure."""

from collections.abc import Callable

from bridge.connection import text_frame

__all__ = ["Outbox"]


class Outbox:
    """Frames in order. It has no bound of its own: who sends looks at `buffered`, as with a socket.

    Attributes:
        polled: a poll is here, waiting or being answered.
    """

    def __init__(self) -> None:
        self.polled = False
        self.buffered = 0
        self._frames: list[bytes] = []
        self._ready: Callable[[], None] | None = None

    # ---- Wire

    def send_frame(self, frame: bytes) -> None:
        """See `Wire.send_frame`."""
        self._frames.append(frame)
        self.buffered += len(frame)
        self.release()

    def send_text(self, text: bytes) -> None:
        """See `Wire.send_text`."""
        self.send_frame(text_frame(text))

    def trust(self) -> None:
        """Nothing: what is posted has a limit of its own."""

    def hold(self, seconds: float) -> None:
        """Nothing: what is posted comes in requests, one at a time."""

    def close(self, code: int, reason: str = "") -> None:
        """Nothing: it is the session that is closed."""

    # ---- polls

    def begin(self, ready: Callable[[], None]) -> None:
        """A poll is here; `ready` is called when it is released."""
        self.polled, self._ready = True, ready

    def release(self) -> None:
        """There is something to answer the poll with, if one waits."""
        ready, self._ready = self._ready, None
        if ready is not None:
            ready()

    def end(self) -> None:
        """The poll is answered, or lost."""
        self.polled, self._ready = False, None

    def drain(self) -> list[bytes]:
        """All that waits; then nothing does."""
        frames, self._frames, self.buffered = self._frames, [], 0
        return frames
