"""What leaves on one client's connection: packets that are collected, room for them, topic aliases; when not to read. Pure."""

import logging
from typing import TYPE_CHECKING, Final

from devices.mqtt.codes import ProtocolError, Reason
from hub.broker.delivery import RETAIN
from hub.broker.message import Message, extra_properties
from hub.broker.session import Session
from hub.broker.wire import Wire

if TYPE_CHECKING:
    from hub.broker.engine import Engine

__all__ = ["CONGESTED", "HELD", "RATE", "SLOW", "SUSPENDED", "TURN", "Outgoing"]

SLOW: Final = "slow client"
"""Why a message is dropped that a client has no room for."""
_OVERHEAD: Final = 64
"""Bytes of a packet beside topic, payload and properties, at most."""

SUSPENDED, CONGESTED, TURN, RATE, HELD = 1, 2, 4, 8, 16
"""Why a connection is not read from: the policy thinks, the client does not read, it is the others' turn, it sent too much,
commits wait."""

log = logging.getLogger(__name__)


class Outgoing:
    """The half of a connection that sends.

    Attributes:
        session: None until the client is authenticated, and when the connection is over.
        version: 4 (3.1.1 and 3.1) or 5; 0 before CONNECT.
        plain: the version, if every message goes to this client as the same bytes; 0: it uses topic aliases or a packet limit.
        out: packets that leave with the next flush.
        room: bytes that may be added before its QoS 0 messages are dropped.
        window: QoS 1 and 2 messages that it wants in flight at most.
        accepts: bytes of a packet that it takes at most; None: any.
        starved: something waits for room.
        held: packets of it that wait for a commit; `owed` of them are PUBACKs.
    """

    __slots__ = (
        "_aliases_out",
        "_measured",
        "_most",
        "_paused",
        "_sent",
        "accepts",
        "aliases_max",
        "closed",
        "engine",
        "held",
        "out",
        "owed",
        "plain",
        "room",
        "session",
        "starved",
        "version",
        "window",
        "wire",
    )

    def __init__(self, engine: "Engine", wire: Wire) -> None:
        limits = engine.limits
        self.engine, self.wire = engine, wire
        self.session: Session | None = None
        self.version = self.plain = 0
        self.out: list[bytes] = []
        self._most = max(limits.send_buffer, 2 * wire.mark)
        self.room = self._measured = self._most
        self.window = limits.inflight
        self.starved = self.closed = False
        self.held = self.owed = 0
        self.accepts: int | None = None
        self.aliases_max = 0
        self._aliases_out: dict[str, int] | None = None
        self._paused = self._sent = 0

    def write(self, packet: bytes) -> None:
        """Sends a packet with the next flush."""
        if self.closed:
            return
        if not self.out:
            self.engine.dirty.append(self)
        self.out.append(packet)
        self.room -= len(packet)

    def promise(self, packet: bytes) -> None:
        """Sends a packet once all that was noted up to now is stored.

        Raises:
            ProtocolError: the client does not take packets of that size, so it cannot be answered [MQTT-3.1.2-24].
        """
        if self.accepts is not None and len(packet) > self.accepts:
            raise ProtocolError("an answer larger than the client accepts", Reason.PACKET_TOO_LARGE)
        commits = self.engine.commits
        if commits.uncommitted or self.held:
            commits.hold(self, packet)
        else:
            self.write(packet)

    def send_qos0(self, message: Message, retain: bool, identifiers: tuple[int, ...]) -> None:
        """Sends a QoS 0 message, unless the client is too slow for it."""
        stats = self.engine.stats
        if not self.fits(message.size):
            stats.dropped[SLOW] += 1
            return
        if self.plain and not retain and not identifiers and message.expires is None:
            packet: bytes | None = message.plain(self.version)
        else:
            packet = self.publish_packet(message, RETAIN if retain else 0, None, identifiers)
        if packet is None:
            stats.dropped["larger than the client accepts"] += 1
            return
        stats.messages_sent += 1
        self.write(packet)

    def publish_packet(
        self, message: Message, flags: int, packet_id: int | None, identifiers: tuple[int, ...], *, held: bool = False
    ) -> bytes | None:
        """The PUBLISH packet for this client; None: it is larger than the client accepts.

        Args:
            held: others may leave before it: then an alias that it gives is not known yet when they come.
        """
        if self.version != 5:
            return message.packet_4(flags, packet_id)
        remaining = None if message.expires is None else message.expires - self.engine.clock.monotonic()
        topic, alias = None, None
        if self.aliases_max and not held:
            aliases = self._aliases_out
            if aliases is None:
                aliases = self._aliases_out = {}
            alias = aliases.get(message.topic)
            if alias is not None:
                topic = b"\0\0"
            elif len(aliases) < self.aliases_max:
                alias = len(aliases) + 1
        packet = message.packet_5(flags, packet_id, extra_properties(remaining, identifiers, alias), topic)
        if self.accepts is not None and len(packet) > self.accepts:
            if alias is None or topic is not None:
                return None
            # it may still fit without the alias that it was to introduce
            return self.publish_packet(message, flags, packet_id, identifiers, held=True)
        if alias is not None and topic is None and self._aliases_out is not None:
            self._aliases_out[message.topic] = alias
        return packet

    def fits(self, size: int) -> bool:
        """Whether a message of about `size` bytes may be sent now without more than the send buffer on its way."""
        size += _OVERHEAD
        if size <= self.room:
            return True
        unsent = self.wire.buffered()
        waiting = unsent + self._measured - self.room  # what the room has shrunk by since is in `out`
        self.room, self._measured = self._most - waiting, self._most - unsent
        # with so little on its way nobody will tell that it has left
        return size <= self.room or waiting <= self.wire.mark

    def flush(self) -> None:
        """Hands everything collected to the transport, in one piece."""
        if self.out:
            self._send_out()
            self._measure()
            if self.starved:
                self._feed()

    def _send_out(self) -> None:
        out = self.out
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._sent += len(data)
        self.engine.stats.bytes_sent += len(data)
        self.wire.send(data)

    def _measure(self) -> None:
        waiting = self.wire.buffered()
        self.room = self._measured = self._most - waiting
        if waiting > self.engine.limits.send_buffer_max:
            log.debug(
                "client id %r does not read: disconnected", self.session.client_id if self.session is not None else ""
            )
            self.over("slow client", will=True, abort=True)
        elif self.room <= 0:
            self._pause(CONGESTED)
        else:
            self._unpause(CONGESTED)

    def _feed(self) -> None:
        if self.starved and self.session is not None:
            self.starved = False
            self.engine.deliveries.pump(self.session)

    # commits

    def hold(self, puback: bool) -> None:
        """One more packet waits for a commit; too many, and nothing more is read until it is made."""
        self.held += 1
        self.owed += puback
        if self.held >= self.engine.limits.receive_maximum:
            self._pause(HELD)

    def release(self, packet: bytes, puback: bool) -> None:
        """What a packet promises is stored."""
        self.held -= 1
        self.owed -= puback
        self.write(packet)
        if self.held < self.engine.limits.receive_maximum:
            self._unpause(HELD)

    # reading

    def _pause(self, why: int) -> None:
        if not self._paused and not self.closed:
            self.wire.pause()
        self._paused |= why

    def _unpause(self, why: int) -> None:
        if self._paused & why:
            self._paused &= ~why
            if not self._paused and not self.closed:
                self.wire.resume()

    def over(self, why: str, *, will: bool, abort: bool = False) -> None:
        """Ends the connection; `will`: its client's will counts."""
        raise NotImplementedError
