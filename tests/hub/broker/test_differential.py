"""The same random sequence of what clients do, at ours and at a real Mosquitto: the same deliveries and answers.

HUB_LONG_TESTS=1 makes it look for as long as HUB_LONG_SECONDS says (600), at random, with steps that let time pass, too.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from devices.mqtt.codec import encode
from devices.mqtt.codes import Reason
from devices.mqtt.packets import Connect, Disconnect, Packet, Publish, SubscribeFilter, Will
from devices.mqtt.properties import Properties, Property
from hub.broker import HubBroker, Limits
from tests.hub.broker.differential import USED, Got, Hold, PacketType, Side, Twin, differences, matches, settle
from tests.mosquitto import Mosquitto

LONG: Final = bool(os.environ.get("HUB_LONG_TESTS"))
WINDOW: Final = 4
"""Messages in flight each way, at both."""
CONFIG: Final = "\n".join(
    (
        f"max_inflight_messages {WINDOW}",
        "allow_duplicate_messages true",  # one copy at the QoS of any of several subscriptions would break [MQTT-3.3.5-1]
        "persistence false",
        "sys_interval 0",
        "set_tcp_nodelay true",
    )
)
NAMES: Final = ("one", "two", "three")
TOPICS: Final = ("a", "a/b", "a/b/c", "b", "b/c", "/a", "a/", "a//c")
WILLS: Final = ("w/1", "w/2")
FILTERS: Final = (*TOPICS, "#", "+", "+/+", "a/#", "a/+", "+/b", "a/+/c", "/+", "+/", "a//#", "+/b/#", "w/#", "w/1", "b/#")
FOREVER: Final = 0xFFFF_FFFF
BAD: Final = {
    "wildcard in a topic": (b"\x30\5\0\3a/#", b"\x30\6\0\3a/#\0"),
    "QoS 3": (b"\x36\6\0\1a\0\1x", b"\x36\7\0\1a\0\1\0x"),
    "packet id 0": (b"\x32\6\0\1a\0\0x", b"\x32\7\0\1a\0\0\0x"),
    "PUBREL with wrong flags": (b"\x60\2\0\1", b"\x60\2\0\1"),
    "no filter": (b"\x82\2\0\1", b"\x82\3\0\1\0"),
    "no filter to end": (b"\xa2\2\0\1", b"\xa2\3\0\1\0"),
    "a subscription of QoS 3": (b"\x82\6\0\1\0\1a\3", b"\x82\7\0\1\0\0\1a\3"),
    "type 0": (b"\0\0", b"\0\0"),
    "a topic with U+0000": (b"\x30\5\0\3a\0b", b"\x30\6\0\3a\0b\0"),
    "a topic that is not UTF-8": (b"\x30\5\0\3a\xffb", b"\x30\6\0\3a\xffb\0"),
    "no topic": (b"\x30\2\0\0", b"\x30\3\0\0\0"),
    "alias 0 or no topic": (b"\x30\2\0\0", b"\x30\7\0\1a\3\x23\0\0"),
    "an alias that is not known": (b"\x30\2\0\0", b"\x30\6\0\0\3\x23\0\7"),
    "a length of five bytes": (b"\x30\xff\xff\xff\xff\1", b"\x30\xff\xff\xff\xff\1"),
    "a property twice": (b"\x36\6\0\1a\0\1x", b"\x30\x08\0\1a\4\1\1\1\1"),
}
"""What no client may send, in 3.1.1 and in 5."""
NOT_TRIED: Final = {
    "will of a session taken over": (
        "[MQTT-3.1.2-8], [MQTT-3.1.4-3]",
        "Mosquitto drops the will of a connection that is taken over by one that continues its session. We send it.",
    ),
    "delay beyond the session": (
        "[MQTT-3.1.3-9]",
        "Mosquitto forgets a will whose delay is longer than its session. We send it when the session ends.",
    ),
    "delay of a session that ends": (
        "[MQTT-3.1.3-9]",
        "Mosquitto forgets a will that waits when its client starts a new session. We send it: the old session has ended.",
    ),
    "too large at QoS 1": (
        "[MQTT-3.1.2-25]",
        "A message that is too large for a client holds its place in Mosquitto's window for ever. With us it does not.",
    ),
    "retained to shared": (
        "4.8.2",
        "Mosquitto sends retained messages to a shared subscription that is made. We do not.",
    ),
    "other options": (
        "[MQTT-3.8.4-3]",
        "A subscription made again keeps its No Local and Retain As Published in Mosquitto. With us the new ones count.",
    ),
    "QoS 2 at PUBREL": (
        "4.6",
        "Mosquitto takes a QoS 2 message when its PUBREL comes, we with its PUBLISH: of several retained ones sent at once on a"
        " topic another may be the last. Order is promised for each QoS alone.",
    ),
    "a second CONNECT": (
        "[MQTT-3.1.2-8]",
        "Mosquitto forgets will and session of a client that sends CONNECT twice. With us it is an error like others.",
    ),
    "no local and shared": ("[MQTT-3.8.3-4]", "Mosquitto takes a shared subscription with No Local, which is an error."),
}
"""What is known of Mosquitto and would make everything behind it differ."""
TIME: Final = 3.5
"""Seconds in which what takes 1 s has happened at Mosquitto, too, which looks once a second."""


class Pair:
    """Both brokers, their clients, and what was sent."""

    def __init__(self, directory: Path) -> None:
        self._mosquitto = Mosquitto(directory, config=CONFIG)
        listeners = {"default": {"type": "tcp", "bind": "127.0.0.1:0"}}
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        limits = Limits(inflight=WINDOW, receive_maximum=WINDOW, session_expiry=float("inf"), sys_interval=0)
        self._config, self._limits = {"listeners": listeners, "plugins": plugins}, limits
        self.twins: dict[str, Twin] = {}
        self.qos: dict[bytes, int] = {}
        self.shared = ""
        self._count = 0

    async def start(self) -> None:
        await self._mosquitto.start()
        self._broker = HubBroker(self._config, limits=self._limits)
        await self._broker.start()
        self._ports = self._broker.ports["default"], self._mosquitto.port
        self.twins = {name: Twin(name, *map(Side, self._ports)) for name in NAMES}

    async def stop(self) -> None:
        for twin in self.twins.values():
            if twin.connected:
                await twin.both(Side.drop)
        await self._broker.shutdown()
        await self._mosquitto.stop()

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
        twin = Twin(packet.client_id, *map(Side, self._ports), version=packet.version)
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
            if identifier and not one.qos:
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
        properties: Properties = {Property.SESSION_EXPIRY: FOREVER} if twin.version == 5 else {}
        again = Connect(twin.client_id, twin.version, False, properties=properties)
        await twin.both(lambda side: side.interrupted(message, again, released=released))
        twin.will, twin.hold = None, None
        twin.aliases.clear()
        await self.check("connect")

    async def check(self, step: str) -> None:
        await settle(self.twins.values())
        self._compare_shared(step)
        found = {name: differences(twin, step, self._group) for name, twin in self.twins.items()}
        assert not any(found.values()), f"{step}: " + "; ".join(f"{name}: {what}" for name, what in found.items() if what)

    def _compare_shared(self, step: str) -> None:
        """Compares what all members together got of shared topics."""
        if not self.shared:
            return
        taken = []
        for sides in zip(*(twin.sides for twin in self.twins.values()), strict=True):
            inboxes = [side.inbox for side in sides]
            taken.append(sorted((one.topic, one.payload, one.qos) for box in inboxes for one in box if self._is_shared(one)))
            for box in inboxes:
                box[:] = [one for one in box if not self._is_shared(one)]
        assert taken[0] == taken[1], f"{step}, shared: ours {taken[0]}, Mosquitto {taken[1]}"

    def _is_shared(self, got: Got) -> bool:
        return got.topic.startswith(self.shared)

    def _group(self, got: Got) -> Any:
        return got.topic, self.qos.get(got.payload, 0)


@st.composite
def connects(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """What CONNECT says, but for the will's payload."""
    version = draw(st.sampled_from((4, 5)))
    five = version == 5
    chosen: Properties = {}
    will_properties: Properties = {}
    if five:
        chosen = draw(
            st.fixed_dictionaries(
                {},
                optional={
                    Property.SESSION_EXPIRY: st.sampled_from((0, 1_000, FOREVER)),
                    Property.RECEIVE_MAXIMUM: st.sampled_from((1, 2, 3, 100)),
                    Property.TOPIC_ALIAS_MAXIMUM: st.sampled_from((1, 5)),
                    Property.MAXIMUM_PACKET_SIZE: st.sampled_from((100, 1_000)),
                },
            )
        )
        will_properties = draw(
            st.fixed_dictionaries(
                {},
                optional={
                    Property.WILL_DELAY: st.sampled_from((0, 1_000)),
                    Property.MESSAGE_EXPIRY: st.just(1_000),
                    Property.CONTENT_TYPE: st.just("text"),
                    Property.USER_PROPERTY: st.just([("of", "will")]),
                },
            )
        )
    will = draw(
        st.none() | st.tuples(st.sampled_from(WILLS), st.sampled_from((0, 1, 2)), st.booleans(), st.just(will_properties))
    )
    return {"client_id": name, "version": version, "clean": draw(st.booleans()), "properties": chosen, "will": will}


def subscriptions(filters: tuple[str, ...]) -> st.SearchStrategy[SubscribeFilter]:
    return st.builds(
        SubscribeFilter, st.sampled_from(filters), st.integers(0, 2), st.booleans(), st.booleans(), st.integers(0, 2)
    )


def messages(topics: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    properties = st.fixed_dictionaries(
        {},
        optional={
            Property.PAYLOAD_FORMAT: st.just(1),
            Property.MESSAGE_EXPIRY: st.just(1_000),
            Property.CONTENT_TYPE: st.just("text"),
            Property.RESPONSE_TOPIC: st.just("answer/here"),
            Property.CORRELATION_DATA: st.just(b"\0\xff"),
            Property.USER_PROPERTY: st.sampled_from(([("a", "1")], [("b", "2"), ("a", ""), ("b", "2")])),
            Property.TOPIC_ALIAS: st.integers(1, 3),
        },
    )
    return st.fixed_dictionaries(
        {
            "topic": st.sampled_from(topics),
            "qos": st.integers(0, 2),
            "retain": st.booleans(),
            "size": st.sampled_from((0, 0, 0, 300)),
            "properties": st.just({}) | properties,
        }
    )


CLIENT: Final = st.sampled_from(NAMES)


class Machine(RuleBasedStateMachine):
    """What clients do. A step that a client cannot do now is another client's, or nothing."""

    runner: ClassVar[asyncio.Runner]
    topics: ClassVar[tuple[str, ...]]
    filters: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.pair = Pair(Path(self._directory.name))
        self.run(self.pair.start())

    def run(self, work: Any) -> None:
        self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.pair.stop())
        self._directory.cleanup()

    def live(self, name: str) -> Twin | None:
        """The client, or another that is connected; None: there is none."""
        start = NAMES.index(name)
        twins = [self.pair.twins[one] for one in NAMES[start:] + NAMES[:start]]
        return next((twin for twin in twins if twin.connected), None)

    def connected(self) -> bool:
        return any(twin.connected for twin in self.pair.twins.values())

    def packet(self, asked: dict[str, Any]) -> Connect:
        will = asked["will"]
        if will is not None:
            topic, qos, retain, properties = will
            will = Will(topic, self.pair.payload(qos), qos, retain, dict(properties))
        properties, clean = dict(asked["properties"]), asked["clean"]
        if will is not None and not properties.get(Property.SESSION_EXPIRY):
            will.properties.pop(Property.WILL_DELAY, None)  # NOT_TRIED, "delay beyond the session"
        if Property.MAXIMUM_PACKET_SIZE in properties:
            clean = True  # NOT_TRIED, "too large at QoS 1"
        return Connect(asked["client_id"], asked["version"], clean, 0, None, None, will, properties)

    def message(self, twin: Twin, asked: dict[str, Any], known: dict[int, str]) -> Publish:
        properties = dict(asked["properties"]) if twin.version == 5 else {}
        alias, topic = properties.get(Property.TOPIC_ALIAS, 0), asked["topic"]
        if alias and known.get(alias) == topic:
            topic = ""
        elif alias:
            known[alias] = topic
        return Publish(topic, self.pair.payload(asked["qos"], asked["size"]), asked["qos"], asked["retain"], properties=properties)

    def connect_packet(self, asked: dict[str, Any]) -> Connect:
        raise NotImplementedError

    @initialize(asked=st.tuples(*map(connects, NAMES)), ours=st.data())
    def begin(self, asked: tuple[dict[str, Any], ...], ours: st.DataObject) -> None:
        for one in asked:
            self.connect(one)
            self.subscribe(one["client_id"], ours.draw(st.lists(subscriptions(self.filters), min_size=1, max_size=2)), 0)

    @rule(asked=CLIENT.flatmap(connects))
    def connect(self, asked: dict[str, Any]) -> None:
        self.run(self.pair.connect(self.pair.twins[asked["client_id"]], self.connect_packet(asked)))

    @precondition(connected)
    @rule(name=CLIENT)
    def drop(self, name: str) -> None:
        twin = self.live(name)
        if twin is not None:
            self.run(self.pair.drop(twin))

    @precondition(connected)
    @rule(name=CLIENT, with_will=st.booleans(), expiry=st.sampled_from((None, None, 0, 1_000)))
    def leave(self, name: str, with_will: bool, expiry: int | None) -> None:
        twin = self.live(name)
        if twin is None:
            return
        packet = Disconnect()
        if twin.version == 5:
            packet = Disconnect(Reason.DISCONNECT_WITH_WILL if with_will else Reason.SUCCESS)
            # else a protocol error [MQTT-3.14.2-2]; NOT_TRIED, "delay of a session that ends"
            if expiry is not None and twin.keeps and (expiry or not twin.delayed):
                packet.properties[Property.SESSION_EXPIRY] = expiry
        if packet.reason is Reason.SUCCESS:
            twin.will = None
        self.run(self.pair.say(twin, packet))

    @precondition(connected)
    @rule(name=CLIENT, asked=st.data(), identifier=st.sampled_from((0, 0, 1, 2, 200)))
    def subscribe_some(self, name: str, asked: st.DataObject, identifier: int) -> None:
        self.subscribe(name, asked.draw(st.lists(subscriptions(self.filters), min_size=1, max_size=3)), identifier)

    def subscribe(self, name: str, filters: list[SubscribeFilter], identifier: int) -> None:
        twin = self.live(name)
        if twin is None or twin.hold is not None:  # what is retained would wait with the rest
            return
        asked = [self.wanted(one) for one in filters]
        if twin.small:  # NOT_TRIED, "too large at QoS 1"
            asked = [replace(one, qos=0) for one in asked]
        asked = [one for one in map(self._as_before(twin), asked) if one is not None]
        if not asked:
            return
        if twin.version != 5:
            identifier, asked = 0, [SubscribeFilter(one.filter, one.qos) for one in asked]
        self.run(self.pair.subscribe(twin, asked, identifier))

    @staticmethod
    def _as_before(twin: Twin) -> Callable[[SubscribeFilter], SubscribeFilter | None]:
        """See "other options" in NOT_TRIED; None: what stands cannot be said in 3.1.1."""
        known = {name: one for name, (one, _) in twin.filters.items()}

        def same(one: SubscribeFilter) -> SubscribeFilter | None:
            before = known.setdefault(one.filter, one)
            if twin.version != 5 and before is not one and (before.no_local or before.retain_as_published):
                return None
            return replace(one, no_local=before.no_local, retain_as_published=before.retain_as_published)

        return same

    def wanted(self, one: SubscribeFilter) -> SubscribeFilter:
        return one

    @precondition(connected)
    @rule(name=CLIENT, asked=st.data())
    def unsubscribe(self, name: str, asked: st.DataObject) -> None:
        twin = self.live(name)
        if twin is not None:
            likely = st.sampled_from((*sorted(twin.filters), *self.filters[:2]))
            self.run(self.pair.unsubscribe(twin, asked.draw(st.lists(likely, min_size=1, max_size=2))))

    @precondition(connected)
    @rule(name=CLIENT, asked=st.data())
    def publish(self, name: str, asked: st.DataObject) -> None:
        twin = self.live(name)
        if twin is not None:
            burst = asked.draw(st.lists(messages(self.topics), min_size=1, max_size=WINDOW))
            if any(one["qos"] < 2 for one in burst):  # NOT_TRIED, "QoS 2 at PUBREL"
                burst = [{**one, "retain": one["retain"] and one["qos"] < 2} for one in burst]
            known = dict(twin.aliases)
            self.run(self.pair.publish(twin, [self.message(twin, one, known) for one in burst]))


class PlainMachine(Machine):
    """Everything but shared subscriptions."""

    topics, filters = TOPICS, FILTERS

    def connect_packet(self, asked: dict[str, Any]) -> Connect:
        return self.packet(asked)

    @precondition(Machine.connected)
    @rule(name=CLIENT, topic=st.sampled_from(TOPICS + WILLS))
    def clear(self, name: str, topic: str) -> None:
        """Empties what a topic keeps."""
        twin = self.live(name)
        if twin is not None:
            self.run(self.pair.publish(twin, [Publish(topic, b"", 0, True)]))

    @precondition(Machine.connected)
    @rule(name=CLIENT, hold=st.sampled_from((PacketType.PUBLISH, PacketType.PUBREL)))
    def hold(self, name: str, hold: PacketType) -> None:
        twin = self.live(name)
        if twin is not None and twin.hold is None:
            self.run(self.pair.hold(twin, hold))

    @precondition(lambda self: any(twin.hold for twin in self.pair.twins.values()))
    @rule(name=CLIENT)
    def release(self, name: str) -> None:
        for twin in self.pair.twins.values():
            if twin.hold is not None:
                self.run(self.pair.release(twin))
                return

    @precondition(Machine.connected)
    @rule(name=CLIENT, what=st.sampled_from(sorted(BAD)))
    def misbehave(self, name: str, what: str) -> None:
        """Sends what no client may send: the connection ends, and the will is published."""
        twin = self.live(name)
        if twin is not None and not (twin.delayed and not twin.keeps):
            self.run(self.pair.say(twin, BAD[what][twin.version == 5]))

    @rule(version=st.sampled_from((4, 5)), clean=st.booleans())
    def nameless(self, version: int, clean: bool) -> None:
        """Connects without a client id."""
        self.run(self.pair.passing(Connect("", version, clean)))

    def persistent(self) -> Twin | None:
        """One that goes on after an interruption, and takes what it gets before and after as one."""
        twins = (twin for twin in self.pair.twins.values() if twin.connected and twin.keeps)
        return next((twin for twin in twins if twin.hold is None and not twin.small), None)

    @precondition(persistent)
    @rule(asked=messages(TOPICS), released=st.booleans())
    def interrupted(self, asked: dict[str, Any], released: bool) -> None:
        """A QoS 2 message whose publisher loses its connection in the middle, and goes on."""
        twin = self.persistent()
        assert twin is not None
        plain = {**asked, "qos": 2, "properties": {}}
        self.run(self.pair.interrupted(twin, self.message(twin, plain, {}), released))


class SharedMachine(Machine):
    """Shared subscriptions beside others: all members together get each message once."""

    topics = ("s/x", "s/y", "a/b")
    filters = ("$share/g1/s/+", "$share/g2/s/x", "$share/g0/s/#", "$share/g1/s/y", "a/+", "a/#")

    def __init__(self) -> None:
        super().__init__()
        self.pair.shared = "s/"

    def connect_packet(self, asked: dict[str, Any]) -> Connect:
        properties = {key: value for key, value in asked["properties"].items() if key == Property.TOPIC_ALIAS_MAXIMUM}
        # Mosquitto gives members that are away their turn, we do not (4.8.2 leaves it open)
        return self.packet({**asked, "clean": True, "properties": properties})

    def wanted(self, one: SubscribeFilter) -> SubscribeFilter:
        if not one.filter.startswith("$share"):
            return one
        # members differ in nothing, so it does not matter whose turn it is; no No Local [MQTT-3.8.3-4]
        return SubscribeFilter(one.filter, int(one.filter[8]), retain_handling=one.retain_handling)

    def message(self, twin: Twin, asked: dict[str, Any], known: dict[int, str]) -> Publish:
        # NOT_TRIED, "retained to shared"
        return super().message(twin, {**asked, "retain": asked["retain"] and asked["topic"][0] != "s"}, known)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.parametrize("machine", [PlainMachine, SharedMachine])
def test_both_brokers_do_the_same(machine: type[Machine], runner: asyncio.Runner) -> None:
    """Whatever clients do, they get the same from both, see `EXCEPTIONS`."""
    machine.runner = runner
    steps, examples = (60, 1_000_000) if LONG else (30, 20)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=not LONG,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,) if os.environ.get("NOSHRINK") else (Phase.generate, Phase.shrink),
        ),
    )
