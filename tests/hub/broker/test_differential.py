"""The same random sequence of what clients do, at ours and at a real Mosquitto: the same deliveries and answers.

HUB_LONG_TESTS=1 makes it look for as long as HUB_LONG_SECONDS says (600), at random, with steps that let time pass, too.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import Connect, Disconnect, Publish, SubscribeFilter, Will
from devices.mqtt.properties import Properties, Property
from tests.hub.broker.differential import Twin
from tests.hub.broker.differential_pair import NAMES, WINDOW, Pair

LONG: Final = bool(os.environ.get("HUB_LONG_TESTS"))
LONG_SECONDS: Final = float(os.environ.get("HUB_LONG_SECONDS", "600"))
TOPICS: Final = ("a", "a/b", "a/b/c", "b", "/a", "a//c")
WILLS: Final = ("w/1", "w/2")
# fmt: off
FILTERS: Final = (
    *TOPICS, *TOPICS, "#", "#", "+", "+/+", "a/#", "a/+", "+/b", "a/+/c", "/+", "+/", "a//#", "+/b/#", "b/#", "w/#", "w/1",
)
# fmt: on
EXAMPLES: Final = 50
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
TIME: Final = 3.5
"""Seconds in which what takes 1 s has happened at Mosquitto, too, which looks once a second."""


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
                    Property.SESSION_EXPIRY: st.sampled_from((1_000, FOREVER, 0)),
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
        st.none()
        | st.tuples(st.sampled_from(WILLS), st.sampled_from((0, 1, 2)), st.booleans(), st.just(will_properties))
    )
    return {"client_id": name, "version": version, "clean": draw(st.booleans()), "properties": chosen, "will": will}


def subscriptions(filters: tuple[str, ...]) -> st.SearchStrategy[SubscribeFilter]:
    return st.builds(
        SubscribeFilter,
        st.sampled_from(filters),
        st.sampled_from((2, 1, 0)),
        st.booleans(),
        st.booleans(),
        st.sampled_from((0, 0, 1, 2)),
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
            "qos": st.sampled_from((1, 2, 0)),
            "retain": st.booleans(),
            "size": st.sampled_from((0, 0, 300)),
            "reuse": st.booleans(),
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
        if alias in known and asked["reuse"]:
            topic = ""
        elif alias:
            known[alias] = topic
        return Publish(
            topic, self.pair.payload(asked["qos"], asked["size"]), asked["qos"], asked["retain"], properties=properties
        )

    def connect_packet(self, asked: dict[str, Any]) -> Connect:
        raise NotImplementedError

    @initialize(asked=st.tuples(*map(connects, NAMES)), ours=st.data())
    def begin(self, asked: tuple[dict[str, Any], ...], ours: st.DataObject) -> None:
        for one in asked:
            self.connect(one)
            self.subscribe(
                one["client_id"], ours.draw(st.lists(subscriptions(self.filters), min_size=1, max_size=2)), 0
            )

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
        twin = self.live(name)
        if twin is not None:
            chosen = subscriptions((*self.filters, *3 * sorted(twin.filters)))
            self.subscribe(name, asked.draw(st.lists(chosen, min_size=1, max_size=3)), identifier)

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
            self.publish_all(twin, asked.draw(st.lists(messages(self.topics), min_size=1, max_size=WINDOW)))

    def publish_all(self, twin: Twin, burst: list[dict[str, Any]]) -> None:
        if any(one.hold is not None for one in self.pair.twins.values()):  # NOT_TRIED, "QoS 2 at PUBREL"
            burst = [{**one, "qos": burst[0]["qos"]} for one in burst]
        if any(one["qos"] < 2 for one in burst):  # the same
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
        if twin is not None and twin.hold is None and 0 < twin.window <= WINDOW:  # NOT_TRIED, "receive maximum"
            self.run(self.pair.hold(twin, hold))

    @rule(
        name=CLIENT,
        topic=st.sampled_from(TOPICS),
        qos=st.sampled_from((1, 2)),
        hold=st.sampled_from((PacketType.PUBLISH, PacketType.PUBREL)),
        version=st.sampled_from((4, 5)),
        window=st.sampled_from((1, 2, 3, WINDOW)),
        asked=st.data(),
    )
    def be_slow(self, name: str, topic: str, qos: int, hold: PacketType, version: int, window: int, asked: Any) -> None:
        """A client whose window fills, and that then answers, or loses its connection and comes back, or does not."""
        twin = self.pair.twins[name]
        properties: Properties = {}
        if version == 5:
            properties = {Property.SESSION_EXPIRY: FOREVER, Property.RECEIVE_MAXIMUM: window}
        again = Connect(name, version, False, properties=properties)
        self.run(self.pair.connect(twin, replace(again)))
        self.run(self.pair.unsubscribe(twin, sorted(twin.filters) or ["none"]))
        self.run(self.pair.subscribe(twin, [SubscribeFilter(topic, qos)], 0))
        self.run(self.pair.hold(twin, hold))
        for _ in range(2):
            other = self.pair.twins[asked.draw(CLIENT)]
            if other.connected:
                burst = asked.draw(st.lists(messages((topic,)), min_size=1, max_size=WINDOW))
                self.publish_all(other, burst)
        end = asked.draw(st.sampled_from(("answers", "comes back", "stays away")))
        if end == "answers":
            self.run(self.pair.release(twin))
            return
        self.run(self.pair.drop(twin))
        if end == "comes back":
            self.run(self.pair.connect(twin, replace(again)))

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

    @precondition(lambda self: self.persistent() is not None)
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
        retain = asked["retain"] and asked["topic"][0] != "s"
        return super().message(twin, {**asked, "retain": retain, "reuse": asked["reuse"] and not retain}, known)


class LongMachine(PlainMachine):
    """With steps for which both brokers must see time pass: seconds, so in long runs alone."""

    @precondition(Machine.connected)
    @rule(name=CLIENT, asked=messages(TOPICS))
    def publish_for_a_second(self, name: str, asked: dict[str, Any]) -> None:
        """Whoever is away, and whoever subscribes later, does not get it."""
        twin = self.live(name)
        # what is held back in a window is on its way, and does not expire
        if twin is None or twin.version != 5 or any(one.hold is not None for one in self.pair.twins.values()):
            return
        message = self.message(twin, {**asked, "properties": {Property.MESSAGE_EXPIRY: 1}}, {})
        self.run(self.pair.publish(twin, [message]))
        self.run(self.pair.wait(TIME))

    @rule(asked=CLIENT.flatmap(connects), delay=st.sampled_from((0, 1)), expiry=st.sampled_from((1, 1_000)))
    def be_away_for_a_second(self, asked: dict[str, Any], delay: int, expiry: int) -> None:
        """Its will, or the end of its session, or both, come meanwhile."""
        packet = self.connect_packet({**asked, "version": 5})
        packet.properties[Property.SESSION_EXPIRY] = expiry
        if packet.will is not None:
            packet.will.properties[Property.WILL_DELAY] = delay
        twin = self.pair.twins[packet.client_id]
        self.run(self.pair.connect(twin, packet))
        self.run(self.pair.drop(twin))
        self.run(self.pair.wait(TIME))


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner
        runner.run(Pair.ended())


@pytest.mark.parametrize("machine", [PlainMachine, SharedMachine])
def test_both_brokers_do_the_same(machine: type[Machine], runner: asyncio.Runner) -> None:
    """Whatever clients do, they get the same from both, see `EXCEPTIONS` and `NOT_TRIED`."""
    search(machine, runner, examples=EXAMPLES, steps=30)


@pytest.mark.skipif(not LONG, reason="takes minutes: HUB_LONG_TESTS=1")
@pytest.mark.parametrize("machine", [PlainMachine, SharedMachine, LongMachine])
def test_both_brokers_do_the_same_for_long(machine: type[Machine], runner: asyncio.Runner) -> None:
    """The same at random, for a third of HUB_LONG_SECONDS each."""
    end = time.monotonic() + LONG_SECONDS / 3
    while time.monotonic() < end:
        search(machine, runner, examples=10, steps=20 if machine is LongMachine else 60)


async def waiting(pair: Pair) -> None:
    """Messages, wills and sessions whose time passes while both brokers wait."""
    one, two, three = pair.twins.values()
    lasting: Properties = {Property.SESSION_EXPIRY: 1_000}
    await pair.connect(one, Connect("one", 5, will=_will(pair, "w/1", delay=1), properties=lasting))
    await pair.connect(two, Connect("two", 5))
    await pair.connect(
        three, Connect("three", 5, will=_will(pair, "w/2", delay=0), properties={Property.SESSION_EXPIRY: 1})
    )
    await pair.subscribe(one, [SubscribeFilter("a/#", 2)], 0)
    await pair.subscribe(two, [SubscribeFilter("w/#", 1)], 0)
    await pair.subscribe(three, [SubscribeFilter("a/#", 1)], 0)
    await pair.drop(one)
    await pair.drop(three)
    short: Properties = {Property.MESSAGE_EXPIRY: 1}
    await pair.publish(two, [Publish("a/b", pair.payload(1), 1, True, properties=dict(short))])
    await pair.publish(two, [Publish("a/b", pair.payload(2), 2)])
    await pair.publish(two, [Publish("a/c", pair.payload(0), 0, True)])
    before = len(two.ours.history)
    await pair.wait(TIME)
    assert [got.topic for got in two.ours.history[before:]] == [
        "w/1"
    ]  # and the same at Mosquitto, which `wait` has compared
    before = len(one.ours.history)
    await pair.connect(one, Connect("one", 5, False, properties=lasting))
    assert [(got.topic, got.payload) for got in one.ours.history[before:]] == [("a/b", b"4")]
    await pair.connect(three, Connect("three", 5, False))
    await pair.subscribe(three, [SubscribeFilter("#", 1)], 0)


def _will(pair: Pair, topic: str, *, delay: int) -> Will:
    return Will(topic, pair.payload(1), 1, True, {Property.WILL_DELAY: delay, Property.MESSAGE_EXPIRY: 1_000})


async def rare(pair: Pair) -> None:
    """What a random sequence seldom comes to: an alias given another topic, Retain Handling 1 again, a small client."""
    one, two, _ = pair.twins.values()
    await pair.connect(one, Connect("one", 5))
    await pair.connect(two, Connect("two", 5, properties={Property.MAXIMUM_PACKET_SIZE: 100}))
    await pair.subscribe(two, [SubscribeFilter("#", 0)], 0)
    for topic, size in (("a", 0), ("", 0), ("b/c", 0), ("", 200), ("", 0), ("a", 0), ("", 0)):
        message = Publish(topic, pair.payload(1, size), 1, True, properties={Property.TOPIC_ALIAS: 1})
        await pair.publish(one, [message])
    assert [(got.topic, got.payload) for got in two.ours.history] == [
        *(("a", b"1"), ("a", b"2"), ("b/c", b"3"), ("b/c", b"5"), ("a", b"6"), ("a", b"7")),
    ]
    for handling in (1, 1, 2, 0):
        await pair.subscribe(one, [SubscribeFilter("+", 1, retain_handling=handling)], handling)
    assert [got.identifiers for got in one.ours.history] == [(1,), ()]


@pytest.mark.parametrize("story", [rare, waiting])
def test_a_story_is_the_same_at_both(
    story: Callable[[Pair], Awaitable[None]], runner: asyncio.Runner, tmp_path: Path
) -> None:
    """What it says, step by step: each compares what all clients got."""

    async def play() -> None:
        pair = Pair(tmp_path)
        await pair.start()
        try:
            await story(pair)
        finally:
            await pair.stop()

    runner.run(play())


def search(machine: type[Machine], runner: asyncio.Runner, *, examples: int, steps: int) -> None:
    """Runs a machine: in the suite always the same examples, in a long run others each time."""
    machine.runner = runner
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=not LONG,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    run_state_machine_as_test(machine, settings=chosen)
