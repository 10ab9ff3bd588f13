"""A client of `fuzz`: checks what the broker sends it, and answers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from devices.mqtt.codec import decode, encode
from devices.mqtt.codes import MqttError, PacketType
from devices.mqtt.packets import Ack, Disconnect, Publish
from devices.mqtt.properties import Property
from tests.hub.broker.fuzz_fakes import Failure

if TYPE_CHECKING:
    from tests.hub.broker.fuzz_world import FuzzWorld

__all__ = ["MARK", "Client"]

MARK: Final = 100
"""See `Wire.mark`."""


class Client:
    """One connection and its `Wire`, with what a client can see of it checked.

    Attributes:
        tame: it has sent nothing but what the standard allows.
        unanswered: QoS 1 and 2 packet ids that it was sent, and has not completed.
        todo: acknowledgements that it owes.
        heard, topic: the newest message that it got; its topic, if an alias stands for it.
        unsent: bytes that it could not send while the broker did not read.
    """

    def __init__(self, world: "FuzzWorld") -> None:
        self.client, self.mark = "fuzz", MARK
        self.certificate: Mapping[str, Any] | None = None
        self._world = world
        self.closed = self.paused = self.gone = False
        self.tame = True
        self.stuck = 0
        self.unsent = b""
        self.pongs = 0
        self.heard: Publish | None = None
        self.topic = ""
        self.unanswered: dict[int, int] = {}
        self.todo: list[tuple[PacketType, int]] = []
        self._aliases: dict[int, str] = {}
        self._version = 0
        self._over = False
        self.connection = world.engine.accept(self)

    # Wire

    def buffered(self) -> int:
        return self.stuck

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self) -> None:
        if self.closed:
            raise Failure("closed twice")
        self.closed = True

    abort = close

    def send(self, data: bytes) -> None:
        if self.closed:
            raise Failure("bytes for a connection that is closed")
        at, end = 0, len(data)
        if not self._version:
            self._version = self.connection.version or (5 if data[1] == 3 else 4)
            if data[0] >> 4 != PacketType.CONNACK:
                raise Failure("the first packet is no CONNACK")
        while at < end:
            size = shift = 0
            here = at + 1
            while data[here] > 127:
                size |= (data[here] & 127) << shift
                shift += 7
                here += 1
            if shift and not data[here]:
                raise Failure("a remaining length of more bytes than it needs")
            here += 1
            stop = here + (size | data[here - 1] << shift)
            if stop > end:
                raise Failure("not whole packets")
            try:
                self._packet(data[at], data[here:stop], stop - at)
            except MqttError as error:
                raise Failure(f"the broker sends what is no packet: {error}") from error
            at = stop

    def _packet(self, first: int, body: bytes, size: int) -> None:
        if self._over:
            raise Failure("a packet after DISCONNECT")
        kind, connection = first >> 4, self.connection
        if kind == PacketType.PINGRESP:
            self.pongs += 1
        packet = decode(first, body, self._version)
        accepts = connection.accepts
        if isinstance(packet, Publish):
            if accepts is not None and size > accepts:
                raise Failure("a PUBLISH larger than the client accepts [MQTT-3.1.2-24]")
            self._publish(packet)
        elif isinstance(packet, Ack):
            if kind == PacketType.PUBREC:
                self.todo.append((PacketType.PUBREL, packet.packet_id))
            elif kind == PacketType.PUBREL:
                self.todo.append((PacketType.PUBCOMP, packet.packet_id))
        elif isinstance(packet, Disconnect):
            self._over = True
            if self._version != 5:
                raise Failure("DISCONNECT to a client of 3.1.1")
            if accepts is not None and size > accepts and packet.properties:
                raise Failure("a reason that makes DISCONNECT larger than the client accepts [MQTT-3.14.2-3]")

    def _publish(self, packet: Publish) -> None:
        alias = packet.properties.get(Property.TOPIC_ALIAS)
        if alias is not None:
            if alias > self.connection.aliases_max:
                raise Failure("a topic alias beyond the maximum [MQTT-3.1.2-26]")
            if packet.topic:
                self._aliases[alias] = packet.topic
            elif alias not in self._aliases:
                raise Failure("a topic alias that the client does not know")
        self.heard = packet
        self.topic = packet.topic or self._aliases[alias or 0]
        if not packet.qos or packet.packet_id is None:
            return
        if self.tame and packet.packet_id in self.unanswered:
            raise Failure("a packet id that is in use [MQTT-2.2.1-4]")
        self.unanswered[packet.packet_id] = packet.qos
        if self.tame and len(self.unanswered) > self.connection.window:
            raise Failure("more in flight than the client wants [MQTT-3.3.4-7]")
        self.todo.append((PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC, packet.packet_id))

    # what a script does

    def clog(self, size: int) -> None:
        """The network holds so many bytes now; it tells when they have become few."""
        told, self.stuck = self.stuck > MARK >= size, size
        if told and not self.gone and not self.closed:
            self.connection.drained()

    def feed(self, data: bytes, *, wild: bool) -> None:
        """Sends bytes; a tame client's wait while the broker does not read."""
        if wild:
            self.tame = False
            self.unanswered.clear()
            self._world.receive(self, self.unsent + data)
            self.unsent = b""
        elif self.paused or self.unsent:
            self.unsent += data
        else:
            self._world.receive(self, data)

    def acknowledge(self) -> bool:
        """Answers all it owes, if no packet is half sent. Whether there was anything."""
        if self.closed or self.gone or not self.todo or self.unsent or self.paused or self.connection._tail:
            return False
        todo, self.todo = self.todo, []
        for kind, packet_id in todo:
            if kind in (PacketType.PUBACK, PacketType.PUBCOMP):
                self.unanswered.pop(packet_id, None)
        data = b"".join(encode(Ack(kind, packet_id), self._version) for kind, packet_id in todo)
        self._world.receive(self, data)
        return True
