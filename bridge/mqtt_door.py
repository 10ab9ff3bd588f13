"""The MQTT door: MQTT over WebSocket on the HTTP port, `/mqtt`, for what `hub.broker.websocket` serves on a port of its own.

doors["/mqtt"] = lambda handshake: MqttDoor(accept, handshake)
"""

from collections.abc import Mapping
from typing import Any

from websockets.frames import CloseCode

from bridge.connection import HIGH_WATER
from bridge.door import Door, Handshake, HandshakeRefused, Socket
from bridge.handshake import choose_subprotocol
from hub.broker.websocket import SUBPROTOCOLS, TEXT_REFUSED, Accept, binary_frame
from hub.broker.wire import Feed

__all__ = ["MqttDoor"]


class MqttDoor(Door):
    """One MQTT client; to its connection it is the `hub.broker.wire.Wire`.

    Args:
        accept: makes the connection, once the WebSocket is open.

    Raises:
        HandshakeRefused: the client offers no subprotocol of MQTT.
    """

    def __init__(self, accept: Accept, handshake: Handshake) -> None:
        # [MQTT-6.0.0-3], [MQTT-6.0.0-4]
        self.subprotocol = choose_subprotocol(handshake.headers, SUBPROTOCOLS)
        if self.subprotocol is None:
            known = " or ".join(SUBPROTOCOLS)
            raise HandshakeRefused(400, f"MQTT needs the subprotocol {known}")
        self.client = handshake.client
        self.mark = HIGH_WATER
        # the HTTP port asks nobody for one
        self.certificate: Mapping[str, Any] | None = None
        self._accept = accept
        self._socket: Socket
        self._feed: Feed | None = None

    # Door: what the WebSocket calls

    def opened(self, wire: Socket) -> None:
        self._socket = wire
        wire.trust()  # MQTT has limits of its own
        self._feed = self._accept(self)

    def received(self, message: bytes | str) -> None:
        if isinstance(message, str):
            self._socket.close(CloseCode.UNSUPPORTED_DATA, TEXT_REFUSED)  # [MQTT-6.0.0-1]
        elif self._feed is not None:
            self._feed.receive(message)

    def writable(self) -> None:
        if self._feed is not None:
            self._feed.drained()

    def closed(self, code: int) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.lost()

    # Wire: what the connection calls

    def send(self, data: bytes) -> None:
        """See `Wire.send`."""
        self._socket.send_frame(binary_frame(data))

    def buffered(self) -> int:
        """See `Wire.buffered`."""
        return self._socket.buffered

    def pause(self) -> None:
        """See `Wire.pause`."""
        self._socket.pause()

    def resume(self) -> None:
        """See `Wire.resume`."""
        self._socket.resume()

    def close(self) -> None:
        """See `Wire.close`."""
        self._socket.close(CloseCode.NORMAL_CLOSURE)

    def abort(self) -> None:
        """See `Wire.abort`."""
        self._socket.abort()
