"""A station's connection through the broken hub, packet by packet."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from devices import topics
from devices.mqtt.codec import decode, encode
from devices.mqtt.codes import MqttError, PacketType, Reason
from devices.mqtt.packets import Ack, Connack, Connect, Publish
from tests.simulator.broken_links import Breaker, Link, Place, Way
from tests.simulator.broken_wire import Frame, cut_packets

__all__ = ["MqttLink", "Said"]

OWN_IDS: Final = range(60_000, 65_536)
"""Packet ids of what the proxy itself sends to a station: a hub that has so many on their way does not come here."""
REFUSED: Final = 4
"""3.1.1's return code for a bad user name or password."""


@dataclass(frozen=True, slots=True)
class Said:
    """A PUBLISH of or for a station.

    Attributes:
        station: whose topic it is.
        what: the topic behind the station, such as `status`; of a command its type, such as `open-gate`.
        payload: as JSON; None when it is no object.
    """

    station: str
    what: str
    publish: Publish
    payload: dict[str, Any] | None
    raw: bytes


class MqttLink(Link):
    """A station's."""

    def __init__(self, breaker: Breaker, hub: tuple[str, int], number: int) -> None:
        super().__init__(breaker, hub, number)
        self.version = 4
        self._blind = False  # what comes is no MQTT
        self._own: set[int] = set()
        self._next_id = 0

    def read(self, way: Way, data: bytes) -> None:
        """Packet by packet."""
        packets, rest = ([Frame(0, b"", data)], b"") if self._blind else cut_packets(data)
        self.keep(way, rest)
        for packet in packets:
            if self.over or self.frozen:
                return
            self._blind |= not packet.first
            if not self._taken(way, packet):
                self.send(way, packet.raw)

    def _taken(self, way: Way, frame: Frame) -> bool:
        match frame.first >> 4:
            case PacketType.CONNECT if way == "up":
                return self._logs_in(frame)
            case PacketType.CONNACK if way == "down":
                self.ready = frame.body[1] == 0
            case PacketType.PUBACK if way == "up" and self._own:
                return self._acks_own(int.from_bytes(frame.body[:2]))
            case PacketType.PUBLISH:
                place: Place = "from-station" if way == "up" else "to-station"
                if self.breaker.wants(place) and (said := self._said(frame)) is not None:
                    return self.breaker.take(place, self, said)
        return False

    def _logs_in(self, frame: Frame) -> bool:
        try:
            connect = decode(frame.first, frame.body, self.version)
        except MqttError:
            return False
        assert isinstance(connect, Connect)
        self.version, self.name = connect.version, connect.username or connect.client_id
        return self.breaker.take("station-login", self, connect)

    def _acks_own(self, packet_id: int) -> bool:
        if packet_id not in self._own:
            return False
        self._own.discard(packet_id)
        return True

    def _said(self, frame: Frame) -> Said | None:
        try:
            publish = decode(frame.first, frame.body, self.version)
        except MqttError:
            return None  # the other side's to judge
        assert isinstance(publish, Publish)
        found = topics.parse(publish.topic)
        if found is None or not publish.topic.startswith("stations/"):
            return None
        what = publish.topic.split("/", 2)[2]
        try:
            payload = orjson.loads(publish.payload)
        except ValueError:
            payload = None
        if not isinstance(payload, dict):
            payload = None
        elif what == "cmd":
            what = str(payload.get("type"))
        return Said(found.ids[0], what, publish, payload, frame.raw)

    def refuse(self) -> None:
        """Not let in: bad user name or password."""
        self._write(
            "down", encode(Connack(Reason.BAD_USER_NAME_OR_PASSWORD if self.version == 5 else REFUSED), self.version)
        )
        self.cut(reset=False)

    def acknowledge(self, way: Way, said: Said) -> None:
        """Tells who sent it on `way` that it arrived."""
        if said.publish.packet_id is not None:
            ack = encode(Ack(PacketType.PUBACK, said.publish.packet_id), self.version)
            self.send("down" if way == "up" else "up", ack)

    def own(self, topic: str, payload: bytes) -> bytes:
        """A QoS 1 PUBLISH to the station, whose PUBACK the hub will not see."""
        packet_id = OWN_IDS[self._next_id % len(OWN_IDS)]
        self._next_id += 1
        self._own.add(packet_id)
        return encode(Publish(topic, payload, 1, packet_id=packet_id), self.version)
