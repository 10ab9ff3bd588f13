"""What waits for the next poll of a session, as a `Wire`. Pure."""

from collections.abc import Callable

from bridge.connection import text_frame

__all__ = ["Outbox"]


class Outbox:
    """Frames in order. It has no bound of its own: who sends looks at `buffered`, as with a socket.

    Args:
        filled: called for every frame that is added.
    """

    def __init__(self, filled: Callable[[], None]) -> None:
        self._filled = filled
        self._frames: list[bytes] = []
        self.buffered = 0

    def send_frame(self, frame: bytes) -> None:
        """See `Wire.send_frame`."""
        self._frames.append(frame)
        self.buffered += len(frame)
        self._filled()

    def send_text(self, text: bytes) -> None:
        """See `Wire.send_text`."""
        self.send_frame(text_frame(text))

    def close(self, code: int, reason: str = "") -> None:
        """Nothing: it is the session that is closed."""

    def drain(self) -> list[bytes]:
        """All that waits; then nothing does."""
        frames, self._frames, self.buffered = self._frames, [], 0
        return frames
