"""Both brokers, ours and a real Mosquitto, with the same clients that do the same; every step compares what they got."""

import asyncio
from pathlib import Path
from typing import Any, ClassVar, Final

from devices.mqtt.packets import Connect, Packet, Publish, SubscribeFilter
from devices.mqtt.properties import Properties, Property
from hub.broker import HubBroker, Limits
from tests.hub.broker.differential import Twin, differences
from tests.hub.broker.differential_client import Got, Hold, Side, quiet
from tests.mosquitto import Mosquitto

__all__ = ["NAMES", "WINDOW", "Pair"]

NAMES: Final = ("one", "two", "three")
WINDOW: Final = 4
"""Messages in flight each way, at both."""
ATTEMPTS: Final = 5
CONFIG: Final = "\n".join(
    (
        f"max_inflight_messages {WINDOW}",
        "allow_duplicate_messages true",  # one copy at the QoS of any of several subscriptions would break [MQTT-3.3.5-1]
        "persistence false",
        "sys_interval 0",
        "set_tcp_nodelay true",
    )
)


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a filter matches a topic (MQTT 5, 4.7)."""
    wanted, given = topic_filter.split("/"), topic.split("/")
    for depth, level in enumerate(wanted):
        if level == "#":
            return True
        if depth >= len(given) or level not in ("+", given[depth]):
            return False
    return len(wanted) == len(given)


class Pair:
    """Both brokers, their clients, and what was sent."""

    _ending: ClassVar[set[asyncio.Task[None]]] = set()

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        listeners = {"default": {"type": "tcp", "bind": "127.0.0.1:0"}}
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        limits = Limits(inflight=WINDOW, receive_maximum=WINDOW, session_expiry=float("inf"), sys_interval=0)
        self._config, self._limits = {"listeners": listeners, "plugins": plugins}, limits
        self.twins: dict[str, Twin] = {}
        self.qos: dict[bytes, int] = {}
        self.shared = ""
        self._count = 0

    async def start(self) -> None:
        """Starts both. Skips the test where no Mosquitto is installed."""
        self._broker = HubBroker(self._config, limits=self._limits)
        await self._broker.start()
        try:
            self._mosquitto = await self._other()
        except BaseException:
            await self._broker.shutdown()
            raise
        self._ports = self._broker.ports["default"], self._mosquitto.port
        self.twins = {name: self._twin(name) for name in NAMES}

    async def _other(self) -> Mosquitto:
        """A running Mosquitto: between thousands of starts another process, or its second listener, may take its port."""
        for _ in range(ATTEMPTS):
            server = Mosquitto(self._directory, config=CONFIG)
            try:
                await server.start()
            except RuntimeError:
                continue
            probe = Side(server.port)
            await probe.connect(Connect("probe"))
            if probe.connection is not None:
                await probe.drop()
                return server
            await server.stop()
        raise RuntimeError(f"Mosquitto did not start in {ATTEMPTS} attempts")

    def _twin(self, name: str) -> Twin:
        ours, theirs = self._ports
        return Twin(name, Side(ours), Side(theirs))

    async def stop(self) -> None:
        """Ends both, whatever became of the clients."""
        for twin in self.twins.values():
            for side in twin.sides:
                side.abort()
        await self._broker.shutdown()
        # it takes its time, and the next pair need not wait for it
        task = asyncio.ensure_future(self._mosquitto.stop())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    @classmethod
    async def ended(cls) -> None:
        """Waits for all processes to end."""
        await asyncio.gather(*cls._ending)

    def payload(self, qos: int, size: int = 0) -> bytes:
        """The next one of its own."""
        self._count += 1
        payload = b"%d" % self._count
        payload += b"." * (size - len(payload))
        self.qos[payload] = qos
        return payload

    def _mark(self, *topics: str) -> None:
        """Something may be sent on these topics."""
        for twin in self.twins.values():
            if twin.hold is not None and any(sum(matches(one, topic) for one in twin.filters) > 1 for topic in topics):
                twin.copies = True

    def _goes(self) -> None:
        """A client goes, or comes: any will may be published."""
        self._mark(*(twin.will.topic for twin in self.twins.values() if twin.will is not None))

    async def connect(self, twin: Twin, packet: Connect) -> None:
        if twin.delayed:
            packet.clean = False  # see "delay of a session that ends" in NOT_TRIED
        if twin.connected and twin.will is not None and twin.keeps and not packet.clean:
            await self.drop(twin)  # see "will of a session taken over" in NOT_TRIED
        self._goes()
        present = await twin.both(lambda side: side.connect(packet))
        twin.version, twin.will, twin.hold = packet.version, packet.will, None
        twin.aliases.clear()
        twin.small = Property.MAXIMUM_PACKET_SIZE in packet.properties
        twin.window = packet.properties.get(Property.RECEIVE_MAXIMUM, 0) if packet.version == 5 else WINDOW
        expiry = packet.properties.get(Property.SESSION_EXPIRY, 0)
        twin.keeps = expiry > 0 if packet.version == 5 else not packet.clean
        if not any(present):
            twin.filters.clear()
            if twin.copies:
                twin.copies = False
                for side in twin.sides:
                    side.inbox.clear()
                    side.repeats.clear()
        await self.check("connect")

    async def drop(self, twin: Twin) -> None:
        self._goes()
        await twin.both(Side.drop)
        twin.hold = None
        await self.check("drop")

    async def passing(self, packet: Connect) -> None:
        """A client that is there for a moment."""
        twin = self._twin(packet.client_id)
        await twin.both(lambda side: side.connect(packet))
        if twin.connected:
            await twin.both(Side.drop)
        found = differences(twin, "connect", self._group)
        assert not found, f"passing: {found}"

    async def say(self, twin: Twin, packet: Packet | bytes) -> None:
        self._goes()
        await twin.both(lambda side: side.say(packet))
        twin.hold = None
        await self.check("say")

    async def subscribe(self, twin: Twin, filters: list[SubscribeFilter], identifier: int) -> None:
        properties: Properties = {Property.SUBSCRIPTION_IDENTIFIER: [identifier]} if identifier else {}
        await twin.both(lambda side: side.subscribe(filters, properties))
        for one in filters:
            twin.filters[one.filter] = one, identifier
            if not one.qos:
                twin.zero_kept = twin.zero_kept or one.retain_as_published
                twin.zero.add(identifier)
        await self.check("subscribe")

    async def unsubscribe(self, twin: Twin, filters: list[str]) -> None:
        await twin.both(lambda side: side.unsubscribe(filters))
        for one in filters:
            twin.filters.pop(one, None)
        await self.check("unsubscribe")

    async def publish(self, twin: Twin, messages: list[Publish]) -> None:
        known = dict(twin.aliases)
        for one in messages:
            alias = one.properties.get(Property.TOPIC_ALIAS, 0)
            self._mark(one.topic or known[alias])
            if alias and one.topic:
                known[alias] = one.topic
        twin.aliases = known
        await twin.both(lambda side: side.publish(messages))
        await self.check("publish")

    async def wait(self, seconds: float) -> None:
        """Lets time pass, which is another process's, too: there is nothing to wait for instead."""
        self._goes()
        await asyncio.sleep(seconds)
        await self.check("wait")

    async def hold(self, twin: Twin, hold: Hold) -> None:
        twin.hold = hold
        for side in twin.sides:
            side.hold = hold

    async def release(self, twin: Twin) -> None:
        twin.hold = None
        for side in twin.sides:
            side.release()
        await self.check("release")

    async def interrupted(self, twin: Twin, message: Publish, released: bool) -> None:
        self._goes()
        self._mark(message.topic)
        properties: Properties = {Property.SESSION_EXPIRY: 0xFFFF_FFFF} if twin.version == 5 else {}
        again = Connect(twin.client_id, twin.version, False, properties=properties)
        await twin.both(lambda side: side.interrupted(message, again, released=released))
        twin.will, twin.hold, twin.window = None, None, 0
        twin.aliases.clear()
        await self.check("connect")

    async def check(self, step: str) -> None:
        await quiet([side for twin in self.twins.values() for side in twin.sides if side.connection is not None])
        self._compare_shared(step)
        found = {name: differences(twin, step, self._group) for name, twin in self.twins.items()}
        assert not any(found.values()), f"{step}: " + "; ".join(
            f"{name}: {what}" for name, what in found.items() if what
        )

    def _compare_shared(self, step: str) -> None:
        """Compares what all members together got of shared topics."""
        if not self.shared:
            return
        taken = []
        for sides in zip(*(twin.sides for twin in self.twins.values()), strict=True):
            inboxes = [side.inbox for side in sides]
            taken.append(
                sorted((one.topic, one.payload, one.qos) for box in inboxes for one in box if self._is_shared(one))
            )
            for box in inboxes:
                box[:] = [one for one in box if not self._is_shared(one)]
        assert taken[0] == taken[1], f"{step}, shared: ours {taken[0]}, Mosquitto {taken[1]}"

    def _is_shared(self, got: Got) -> bool:
        return got.topic.startswith(self.shared)

    def _group(self, got: Got) -> Any:
        return got.topic, self.qos.get(got.payload, 0)
