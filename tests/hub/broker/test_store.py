"""Sessions and retained messages outlive the broker, stopped or killed; what is acknowledged is in the file before."""

import resource
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import Ack, Suback, Subscribe, SubscribeFilter, Will
from devices.mqtt.properties import Property
from hub.broker.limits import Limits
from hub.broker.storage import Storage, Synchronous
from hub.broker.store import RESTART_GRACE, Store
from tests.fakes import FakeClock
from tests.hub.broker.world import Client, OpenPolicy, World

VERSIONS = pytest.mark.parametrize("version", [4, 5])
BOTH = pytest.mark.parametrize("qos", [1, 2])
TABLES = ("sessions", "subscriptions", "incoming", "messages", "deliveries", "retained")


class Disk:
    """A broker on a file, and on what is left of it.

    Args:
        kill: a restart finds the file as it is at that moment; else the broker closes before.
        synchronous: how far a commit goes.
    """

    def __init__(self, directory: Path, *, kill: bool, synchronous: Synchronous = "normal") -> None:
        self._directory, self._kill, self._synchronous = directory, kill, synchronous
        self._starts = 0
        self._stores: list[Store] = []
        self.keeps: Callable[[str], bool] = lambda _: True
        self.path = directory / "0.sqlite"
        self.clock = FakeClock()
        self.world: World

    def start(self, limits: Limits | None = None) -> World:
        """A broker on the file."""
        policy = OpenPolicy()
        store = Store(Storage(self.path, synchronous=self._synchronous), self.clock, policy.remember, self.keeps)
        self._stores.append(store)
        self.world = World(store=store, policy=policy, clock=self.clock, limits=limits)
        return self.world

    def restart(self, down: float = 0.0, limits: Limits | None = None) -> World:
        """The broker goes, and one comes back on its file after some seconds, as another process: its clock starts anew."""
        if self._kill:
            self._starts += 1
            found, self.path = self.path, self._directory / f"{self._starts}.sqlite"
            for end in ("", "-wal"):
                shutil.copy(f"{found}{end}", f"{self.path}{end}")
        else:
            self.world.engine.close()
        self.clock = FakeClock(self.clock.wall + round(down * 1000))
        self.clock.seconds = 7.0
        return self.start(limits)

    def rows(self, table: str) -> int:
        """How many rows of a table are committed."""
        assert table in TABLES
        with closing(sqlite3.connect(self.path, timeout=0)) as db:
            (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(count)

    def close(self) -> None:
        for store in self._stores:
            store.close()

    @contextmanager
    def full(self) -> Iterator[None]:
        """No file may grow: COMMIT itself fails, and nothing of it is kept."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{self.path}-wal").stat().st_size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(params=["stopped", "killed"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """For what must hold whether the broker was stopped or killed."""
    disk = Disk(tmp_path, kill=request.param == "killed")
    yield disk
    disk.close()


@pytest.fixture(params=["normal", "full"])
def held(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A broker that commits only when time passes once `World.hold_commits` is set; it will be killed."""
    disk = Disk(tmp_path, kill=True, synchronous=request.param)
    disk.start()
    yield disk
    disk.close()


def ids(client: Client, kind: PacketType) -> list[int]:
    """Packet ids of the acknowledgements of a kind that came, in order."""
    return [one.packet_id for one in client.received if isinstance(one, Ack) and one.type is kind]


def payloads(client: Client) -> list[bytes]:
    return [one.payload for one in client.publishes]


def absent(world: World, *filters: str, client_id: str = "away", qos: int = 2, version: int = 4) -> None:
    """Leaves a session behind that wants some topics."""
    client = world.stay(client_id, version=version)
    client.subscribe(*filters, qos=qos)
    client.lose()


def commit(world: World) -> None:
    """The few milliseconds until the next commit pass."""
    world.clock.forward(0.005)
    world.settle()


# what comes back


@VERSIONS
def test_a_session_and_its_subscriptions_come_back(disk: Disk, version: int) -> None:
    """The client that was connected, and the one that was away, continue; a clean one does not."""
    world = disk.start()
    absent(world, "a/+", "车站/#", version=version)
    world.stay("here", version=version).subscribe("b", qos=1)
    world.connect("clean", version=version).subscribe("c", qos=1)
    world = disk.restart()
    assert {key[1] for key in world.engine.sessions} == {"away", "here"}
    away, here = world.stay("away", version=version), world.stay("here", version=version)
    assert away.connack.session_present
    assert here.connack.session_present
    assert not world.stay("clean", version=version).connack.session_present
    for topic in ("a/1", "车站/1", "b", "c"):
        world.connect().publish(topic, b"x", qos=2)
    assert away.messages == [("a/1", b"x", 2, False), ("车站/1", b"x", 2, False)]
    assert here.messages == [("b", b"x", 1, False)]


def test_sessions_belong_to_their_owner(disk: Disk) -> None:
    """The same client id of another owner is another session, after a restart too."""
    world = disk.start()
    for owner in ("one", "two"):
        client = world.stay("same", username=owner)
        client.subscribe(owner, qos=1)
        client.lose()
    world = disk.restart()
    world.connect().publish("one", b"1", qos=1)
    world.connect().publish("two", b"2", qos=1)
    assert payloads(world.stay("same", username="two")) == [b"2"]
    assert payloads(world.stay("same", username="one")) == [b"1"]
    assert not world.stay("same", username="three").connack.session_present


def test_subscription_options_come_back(disk: Disk) -> None:
    """No local, retain as published, QoS and identifier are what they were."""
    world = disk.start()
    client = world.stay("x", version=5)
    wanted = SubscribeFilter("t", 1, no_local=True, retain_as_published=True, retain_handling=2)
    client.subscribe(wanted, properties={Property.SUBSCRIPTION_IDENTIFIER: [300]})
    client.lose()
    world = disk.restart()
    client = world.stay("x", version=5)
    client.publish("t", b"own", qos=2)
    world.connect().publish("t", b"other", qos=2, retain=True)
    (got,) = client.publishes
    assert (got.payload, got.qos, got.retain) == (b"other", 1, True)
    assert got.properties[Property.SUBSCRIPTION_IDENTIFIER] == [300]


def test_an_ended_subscription_stays_ended(disk: Disk) -> None:
    world = disk.start()
    client = world.stay("x")
    client.subscribe("a", "b", qos=1)
    client.unsubscribe("a")
    client.lose()
    world = disk.restart()
    for topic in "ab":
        world.connect().publish(topic, topic.encode(), qos=1)
    assert payloads(world.stay("x")) == [b"b"]


def test_a_changed_subscription_stays_changed(disk: Disk) -> None:
    world = disk.start()
    absent(world, "a", qos=2)
    absent(world, "a", qos=1)
    world = disk.restart()
    world.connect().publish("a", b"x", qos=2)
    assert world.stay("away").messages == [("a", b"x", 1, False)]


@VERSIONS
def test_the_queue_comes_back_in_order(disk: Disk, version: int) -> None:
    """QoS 1 and 2, of several publishers, with their properties; QoS 0 was never queued. Order is that of each QoS."""
    world = disk.start()
    absent(world, "#", version=version)
    one, two = world.connect("one", version=5), world.connect("two")
    for number in range(30):
        sender = (one, two)[number % 2]
        sender.publish(f"t/{number % 3}", b"%d" % number, qos=number % 3)
    one.publish("u", b"", qos=1, properties={Property.CONTENT_TYPE: "text", Property.USER_PROPERTY: [("a", "b")]})
    world = disk.restart()
    client = world.stay("away", version=version)
    for qos in (1, 2):
        assert [one for one in client.messages if one[2] == qos and one[0] != "u"] == [
            (f"t/{qos}", b"%d" % number, qos, False) for number in range(qos, 30, 3)
        ]
    (last,) = [one for one in client.publishes if one.topic == "u"]
    assert (last.payload, last.qos, len(client.publishes)) == (b"", 1, 21)
    if version == 5:
        assert last.properties == {
            Property.CONTENT_TYPE: "text",
            Property.USER_PROPERTY: [("a", "b")],
        }
    assert not any(world.engine.gauges()[4:6])
    world = disk.restart()
    assert world.stay("away", version=version).messages == []


def test_one_message_for_many_is_kept_for_those_who_lack_it(disk: Disk) -> None:
    """Acknowledged by one, it still waits for the others; by all, it is gone from the file."""
    world = disk.start()
    for name in "abc":
        absent(world, "t", client_id=name, qos=1)
    world.connect().publish("t", b"x", qos=1)
    assert disk.rows("messages") == 1
    world.stay("a").lose()
    world = disk.restart()
    assert payloads(world.stay("a")) == []
    assert payloads(world.stay("b")) == [b"x"]
    world = disk.restart()
    assert payloads(world.stay("c")) == [b"x"]
    world = disk.restart()
    assert disk.rows("messages") == disk.rows("deliveries") == 0


@VERSIONS
def test_qos_1_in_flight_is_sent_again(disk: Disk, version: int) -> None:
    """What was sent and not acknowledged comes once more, before what is newer, marked as perhaps known [MQTT-3.3.1-1]."""
    world = disk.start()
    client = world.stay("x", version=version, acknowledge=False)
    client.subscribe("t", qos=1)
    sender = world.connect()
    for number in range(3):
        sender.publish("t", b"%d" % number, qos=1)
    first = client.publishes[0]
    client.packet(Ack(PacketType.PUBACK, first.packet_id or 0))
    world = disk.restart()
    world.connect().publish("t", b"3", qos=1)
    client = world.stay("x", version=version)
    assert payloads(client) == [b"1", b"2", b"3"]
    assert [one.dup for one in client.publishes[:2]] == [True, True]


@VERSIONS
def test_qos_2_in_flight_is_sent_again(disk: Disk, version: int) -> None:
    """The client knows a message by its packet id: it is the same, and DUP is set [MQTT-4.4.0-1]."""
    world = disk.start()
    client = world.stay("x", version=version, acknowledge=False)
    client.subscribe("t", qos=2)
    for number in range(3):
        world.connect().publish("t", b"%d" % number, qos=2)
    before = client.publishes
    world = disk.restart()
    client = world.stay("x", version=version)
    assert [(one.payload, one.packet_id, one.dup) for one in client.publishes] == [
        (one.payload, one.packet_id, True) for one in before
    ]
    assert ids(client, PacketType.PUBREL) == [one.packet_id for one in before]
    world = disk.restart()
    assert world.stay("x", version=version).received[1:] == []


@VERSIONS
def test_after_pubrec_pubrel_is_sent_again(disk: Disk, version: int) -> None:
    """Of a message that the client has, PUBREL alone is due [MQTT-4.3.3-1]; a new message gets another packet id."""
    world = disk.start()
    client = world.stay("x", version=version, acknowledge=False)
    client.subscribe("t", qos=2)
    world.connect().publish("t", b"x", qos=2)
    packet_id = client.publishes[0].packet_id or 0
    client.packet(Ack(PacketType.PUBREC, packet_id))
    assert ids(client, PacketType.PUBREL) == [packet_id]
    world = disk.restart()
    client = world.stay("x", version=version, acknowledge=False)
    assert client.publishes == []
    assert ids(client, PacketType.PUBREL) == [packet_id]
    world.connect().publish("t", b"y", qos=2)
    assert client.publishes[0].packet_id != packet_id
    client.packet(Ack(PacketType.PUBCOMP, packet_id))
    world = disk.restart()
    client = world.stay("x", version=version)
    assert payloads(client) == [b"y"]


@VERSIONS
def test_a_qos_2_message_taken_before_is_not_taken_again(disk: Disk, version: int) -> None:
    """The publisher sends it once more with DUP and gets PUBREC; subscribers do not get it twice [MQTT-4.3.3-10]."""
    world = disk.start()
    absent(world, "t")
    sender = world.stay("sender", version=version, acknowledge=False)
    packet_id = sender.publish("t", b"once", qos=2)
    done = sender.publish("t", b"done", qos=2)
    assert packet_id is not None
    assert done is not None
    sender.packet(Ack(PacketType.PUBREL, done))
    world = disk.restart()
    sender = world.stay("sender", version=version)
    sender.publish("t", b"once", qos=2, dup=True, packet_id=packet_id)
    assert ids(sender, PacketType.PUBREC) == ids(sender, PacketType.PUBCOMP) == [packet_id]
    sender.publish("t", b"new", qos=2, packet_id=done)
    assert payloads(world.stay("away")) == [b"once", b"done", b"new"]
    assert disk.rows("incoming") == 0


def test_retained_messages_come_back(disk: Disk) -> None:
    """The newest of each topic, with QoS and properties; cleared ones stay cleared."""
    world = disk.start()
    client = world.connect(version=5)
    for qos in range(3):
        client.publish(f"r/{qos}", b"old", qos=0, retain=True)
        client.publish(f"r/{qos}", b"new", qos=qos, retain=True, properties={Property.CONTENT_TYPE: f"{qos}"})
    client.publish("r/gone", b"x", qos=1, retain=True)
    client.publish("r/gone", b"", qos=1, retain=True)
    client.publish("r/车站", b"\x00\xff", qos=1, retain=True)
    world = disk.restart()
    client = world.connect(version=5)
    client.subscribe("r/#", qos=2)
    assert sorted(client.messages) == [
        ("r/0", b"new", 0, True),
        ("r/1", b"new", 1, True),
        ("r/2", b"new", 2, True),
        ("r/车站", b"\x00\xff", 1, True),
    ]
    kinds = {one.topic: one.properties.get(Property.CONTENT_TYPE) for one in client.publishes}
    assert kinds == {"r/0": "0", "r/1": "1", "r/2": "2", "r/车站": None}
    world.connect().publish("r/0", b"", retain=True)
    world = disk.restart()
    assert "r/0" not in world.engine.deliveries.retained
    assert len(world.engine.deliveries.retained) == 3


def test_what_is_not_worth_keeping_is_not_kept(disk: Disk) -> None:
    """Retained messages of some topics end with the process; messages of these topics wait for sessions all the same."""
    disk.keeps = lambda topic: not topic.startswith("live/")
    world = disk.start()
    absent(world, "live/+", qos=1)
    for topic in ("live/1", "kept"):
        world.connect().publish(topic, b"x", qos=1, retain=True)
    assert len(world.engine.deliveries.retained) == 2
    world.connect().publish("live/1", b"", qos=1, retain=True)
    assert disk.rows("retained") == 1
    world = disk.restart()
    assert [message.topic for message in world.engine.deliveries.retained] == ["kept"]
    assert payloads(world.stay("away")) == [b"x", b""]


def test_shared_subscriptions_come_back(disk: Disk) -> None:
    """Their members take turns, and what waited for one of them comes."""
    world = disk.start()
    for name in "ab":
        absent(world, "$share/g/t", client_id=name, qos=1)
    world.connect().publish("t", b"before", qos=1)
    world = disk.restart()
    a, b = world.stay("a"), world.stay("b")
    assert payloads(a) + payloads(b) == [b"before"]
    for number in range(4):
        world.connect().publish("t", b"%d" % number, qos=1)
    both = {len([one for one in payloads(client) if one != b"before"]) for client in (a, b)}
    assert both == {2}


def test_two_restarts_without_anybody(disk: Disk) -> None:
    """Nothing is lost or doubled by a broker that starts and goes again."""
    world = disk.start()
    absent(world, "t")
    sender = world.stay("sender", acknowledge=False)
    packet_id = sender.publish("t", b"1", qos=2)
    world.connect().publish("t", b"2", qos=1, retain=True)
    for _ in range(3):
        world = disk.restart(down=10)
    sender = world.stay("sender")
    sender.publish("t", b"1", qos=2, dup=True, packet_id=packet_id)
    client = world.stay("away")
    assert sorted(client.messages) == [("t", b"1", 2, False), ("t", b"2", 1, False)]
    assert [message.payload for message in world.engine.deliveries.retained] == [b"2"]


def test_ids_go_on_after_a_restart(disk: Disk) -> None:
    """Messages of before and after do not take each other's place in the file."""
    world = disk.start()
    absent(world, "t", qos=1)
    for start in range(4):
        for number in range(5):
            world.connect().publish("t", b"%d" % (5 * start + number), qos=1)
        world = disk.restart()
    assert payloads(world.stay("away")) == [b"%d" % number for number in range(20)]


# time


def test_time_goes_on_while_the_broker_is_down(disk: Disk) -> None:
    """A session's expiry and a message's count on: what is over when the broker is back is gone."""
    world = disk.start(Limits(session_expiry=10_000))
    for name, expiry in (("short", 100), ("long", 200)):
        client = world.connect(name, version=5, clean=False, properties={Property.SESSION_EXPIRY: expiry})
        client.subscribe("t", qos=1)
        client.lose()
    sender = world.connect(version=5)
    for expiry in (50, 150):
        sender.publish("t", b"%d" % expiry, qos=1, retain=expiry == 150, properties={Property.MESSAGE_EXPIRY: expiry})
    sender.publish("r", b"", qos=0)
    sender.publish("r", b"brief", retain=True, properties={Property.MESSAGE_EXPIRY: 50})
    world.forward(20)
    world = disk.restart(down=90)
    world.forward(1)
    assert [key[1] for key in world.engine.sessions] == ["long"]
    client = world.connect("long", version=5, clean=False)
    (got,) = client.publishes
    assert (got.payload, got.properties[Property.MESSAGE_EXPIRY]) == (b"150", pytest.approx(39, abs=1))
    client.subscribe("#")
    assert [(one.payload, one.retain) for one in client.publishes[1:]] == [(b"150", True)]
    assert client.publishes[1].properties[Property.MESSAGE_EXPIRY] == pytest.approx(39, abs=1)


def test_a_session_of_before_ends_in_the_file_too(disk: Disk) -> None:
    """The end of a session that expires after a restart is stored, with all that waited for it."""
    world = disk.start()
    absent(world, "t", qos=2)
    world.connect().publish("t", b"x", qos=2)
    world = disk.restart(down=3_601)
    world.forward(1)
    assert not world.engine.sessions
    world = disk.restart()
    assert [disk.rows(table) for table in TABLES] == [0] * len(TABLES)


def test_who_was_connected_has_all_its_time(disk: Disk) -> None:
    """Its session's time starts when the broker is back, however long that was down."""
    world = disk.start()
    client = world.connect("x", version=5, clean=False, properties={Property.SESSION_EXPIRY: 100})
    client.subscribe("t", qos=1)
    world = disk.restart(down=5_000)
    world.forward(99)
    assert len(world.engine.sessions) == 1
    world.forward(2)
    assert not world.engine.sessions


def test_the_time_away_adds_up(disk: Disk) -> None:
    """Restarts do not give a session that nobody comes back for new time."""
    world = disk.start()
    client = world.connect("x", version=5, clean=False, properties={Property.SESSION_EXPIRY: 100})
    client.lose()
    for _ in range(3):
        world = disk.restart(down=20)
        world.forward(10)
        assert world.engine.sessions
    world = disk.restart(down=8)
    world.forward(3)
    assert not world.engine.sessions


# wills


def will(**given: int) -> Will:
    delay = {Property.WILL_DELAY: given["delay"]} if "delay" in given else {}
    return Will("will", b"gone", 1, False, delay)


@pytest.mark.parametrize("back", [True, False])
def test_the_will_of_who_was_connected(disk: Disk, back: bool) -> None:
    """It is due when the client does not come back in time [MQTT-3.1.2-8], and only then."""
    world = disk.start()
    absent(world, "will", qos=1)
    world.stay("x", will=will())
    world = disk.restart(down=1_000)
    if back:
        world.stay("x")
    client = world.stay("away")
    world.forward(RESTART_GRACE - 1)
    assert payloads(client) == []
    world.forward(3)
    assert payloads(client) == ([] if back else [b"gone"])


def test_a_will_that_was_due_while_down(disk: Disk) -> None:
    """Its client was away before: it is published at once."""
    world = disk.start()
    absent(world, "will", qos=1)
    client = world.connect(
        "x", version=5, clean=False, properties={Property.SESSION_EXPIRY: 3_000}, will=will(delay=50)
    )
    client.lose()
    world = disk.restart(down=60)
    world.forward(0.5)
    assert payloads(world.stay("away")) == [b"gone"]


def test_a_will_is_published_once(disk: Disk) -> None:
    """A restart after it was published does not publish it again."""
    world = disk.start()
    absent(world, "will", qos=1)
    client = world.connect(
        "x", version=5, clean=False, properties={Property.SESSION_EXPIRY: 3_000}, will=will(delay=50)
    )
    client.lose()
    world.forward(51)
    assert payloads(world.stay("away")) == [b"gone"]
    world = disk.restart()
    world.forward(100)
    assert payloads(world.stay("away")) == []


def test_no_will_after_a_goodbye(disk: Disk) -> None:
    """DISCONNECT discards it, in the file too [MQTT-3.14.4-3]."""
    world = disk.start()
    absent(world, "will", qos=1)
    world.stay("x", will=will()).disconnect()
    world = disk.restart()
    world.forward(RESTART_GRACE + 1)
    assert payloads(world.stay("away")) == []


# ends


@pytest.mark.parametrize("end", ["clean start", "no expiry in DISCONNECT", "reconnect without expiry"])
def test_a_session_that_ends_is_gone(disk: Disk, end: str) -> None:
    """With all it had: nothing of it is left in the file, and a new session of that name is empty."""
    world = disk.start()
    client = world.stay("x", version=5, acknowledge=False)
    client.subscribe("t", "u", qos=2)
    for qos in (1, 2):
        world.connect().publish("t", b"x", qos=qos)
    client.publish("v", b"", qos=2)
    if end == "no expiry in DISCONNECT":
        client.disconnect(properties={Property.SESSION_EXPIRY: 0})
    else:
        client.lose()
        world.connect("x", version=5, clean=end == "clean start", acknowledge=False).lose()
    world.settle()
    assert [disk.rows(table) for table in TABLES] == [0] * len(TABLES)
    world = disk.restart()
    client = world.stay("x", version=5)
    assert not client.connack.session_present
    world.connect().publish("t", b"y", qos=1)
    assert client.publishes == []


def test_a_session_that_ends_leaves_the_messages_of_others(disk: Disk) -> None:
    """One message for two: with the session of one gone, the other still gets it after a restart."""
    world = disk.start()
    absent(world, "t", client_id="a", qos=1)
    absent(world, "t", client_id="b", qos=1)
    world.connect().publish("t", b"x", qos=1)
    client = world.connect("a", version=4, clean=False, acknowledge=False)
    assert payloads(client) == [b"x"]
    client = world.connect("a", version=5, clean=False)  # taken over, and without expiry from now on
    world.settle()
    client.lose()
    world = disk.restart()
    assert payloads(world.stay("b")) == [b"x"]


@VERSIONS
def test_takeover_keeps_the_stored_session(disk: Disk, version: int) -> None:
    """A newer connection of the same client has the session; the file has one."""
    world = disk.start()
    old = world.stay("x", version=version, acknowledge=False)
    old.subscribe("t", qos=2)
    world.connect().publish("t", b"1", qos=2)
    world.connect().publish("t", b"2", qos=1)
    new = world.stay("x", version=version, acknowledge=False)
    assert old.closed
    assert sorted(payloads(new)) == [b"1", b"2"]
    assert disk.rows("sessions") == 1
    world = disk.restart()
    client = world.stay("x", version=version)
    assert sorted(payloads(client)) == [b"1", b"2"]


def test_what_overflowed_stays_lost(disk: Disk) -> None:
    """The queue is bounded in the file as in memory: the oldest go, and are counted."""
    limits = Limits(queue_messages=3)
    world = disk.start(limits)
    absent(world, "t", qos=1)
    for number in range(10):
        world.connect().publish("t", b"%d" % number, qos=1)
    assert world.engine.stats.dropped.total() == 7
    assert disk.rows("messages") == disk.rows("deliveries") == 3
    world = disk.restart(limits=limits)
    assert payloads(world.stay("away")) == [b"7", b"8", b"9"]


def test_a_session_that_has_to_make_room_is_gone(disk: Disk) -> None:
    """The one away longest, from the file too."""
    world = disk.start(Limits(sessions=3))
    for name in "abc":
        absent(world, "t", client_id=name)
        world.forward(1)
    world.connect("d").lose()
    world = disk.restart()
    assert sorted(key[1] for key in world.engine.sessions) == ["b", "c"]


# acknowledgements and commits


@pytest.mark.parametrize("why", ["an absent subscriber", "a subscriber that is here", "the retained store"])
@BOTH
@VERSIONS
def test_an_acknowledgement_leaves_after_the_commit(held: Disk, why: str, qos: int, version: int) -> None:
    """PUBACK and PUBREC wait for it, and what they promise is in the file."""
    world = held.world
    if why == "an absent subscriber":
        absent(world, "t", qos=qos)
    elif why == "a subscriber that is here":
        world.stay("here", acknowledge=False).subscribe("t", qos=qos)
    world.hold_commits = True
    sender = world.connect("sender", version=version, acknowledge=False)
    packet_id = sender.publish("t", b"x", qos=qos, retain=why == "the retained store")
    kind = PacketType.PUBACK if qos == 1 else PacketType.PUBREC
    assert ids(sender, kind) == []
    assert not held.rows("messages") + held.rows("retained")
    commit(world)
    assert ids(sender, kind) == [packet_id]
    assert held.rows("messages") + held.rows("retained") == 1


@VERSIONS
def test_pubcomp_leaves_after_the_commit(held: Disk, version: int) -> None:
    """The packet id of a durable publisher's message is free in the file first."""
    world = held.world
    world.hold_commits = True
    sender = world.stay("sender", version=version, acknowledge=False)
    packet_id = sender.publish("t", b"x", qos=2)
    assert packet_id is not None
    commit(world)
    assert ids(sender, PacketType.PUBREC) == [packet_id]
    assert held.rows("incoming") == 1
    sender.packet(Ack(PacketType.PUBREL, packet_id))
    assert ids(sender, PacketType.PUBCOMP) == []
    commit(world)
    assert ids(sender, PacketType.PUBCOMP) == [packet_id]
    assert held.rows("incoming") == 0


def test_a_qos_2_message_leaves_after_the_commit(held: Disk) -> None:
    """Its packet id must be known after a crash, or the client could not tell that it has it; PUBREL is the same."""
    world = held.world
    client = world.stay("x", acknowledge=False)
    client.subscribe("t", qos=2)
    world.hold_commits = True
    world.connect().publish("t", b"x", qos=2)
    assert client.publishes == []
    commit(world)
    packet_id = client.publishes[0].packet_id
    assert packet_id is not None
    client.packet(Ack(PacketType.PUBREC, packet_id))
    assert ids(client, PacketType.PUBREL) == []
    commit(world)
    assert ids(client, PacketType.PUBREL) == [packet_id]
    world = held.restart()
    client = world.stay("x", acknowledge=False)
    assert client.publishes == []
    assert ids(client, PacketType.PUBREL) == [packet_id]


def test_qos_1_is_delivered_before_the_commit(held: Disk) -> None:
    """At least once needs no waiting: only the publisher's PUBACK does."""
    world = held.world
    client = world.stay("x", acknowledge=False)
    client.subscribe("t", qos=1)
    world.hold_commits = True
    world.connect().publish("t", b"x", qos=1)
    assert payloads(client) == [b"x"]


@VERSIONS
def test_a_suback_leaves_after_the_commit(held: Disk, version: int) -> None:
    """A subscription that was granted is there after a crash."""
    world = held.world
    client = world.stay("x", version=version)
    world.hold_commits = True
    client.packet(Subscribe(9, [SubscribeFilter("t", 1)]))
    assert client.count(Suback) == 0
    commit(world)
    assert client.count(Suback) == 1
    assert held.rows("subscriptions") == 1


@BOTH
@VERSIONS
def test_what_needs_no_storage_is_acknowledged_at_once(held: Disk, qos: int, version: int) -> None:
    """Nobody's session keeps the message: no commit is waited for, though another client waits for one."""
    world = held.world
    absent(world, "kept", qos=2)
    listener = world.connect("listener")
    listener.subscribe("t", qos=2)
    world.hold_commits = True
    other = world.connect("other", version=version, acknowledge=False)
    sender = world.connect("sender", version=version, acknowledge=False)
    other.publish("kept", b"x", qos=1)
    packet_id = sender.publish("t", b"x", qos=qos)
    kind = PacketType.PUBACK if qos == 1 else PacketType.PUBREC
    assert ids(sender, kind) == [packet_id]
    assert ids(other, PacketType.PUBACK) == []
    assert payloads(listener) == [b"x"]


@VERSIONS
def test_acknowledgements_keep_their_order(held: Disk, version: int) -> None:
    """In the order of the messages [MQTT-4.6.0-2] [MQTT-4.6.0-3], also those that had nothing to wait for themselves."""
    world = held.world
    absent(world, "kept", qos=2)
    world.hold_commits = True
    sender = world.connect("sender", version=version, acknowledge=False)
    wanted = [sender.publish(topic, b"x", qos=1) for topic in ("free", "kept", "free", "kept", "free")]
    assert ids(sender, PacketType.PUBACK) == wanted[:1]
    commit(world)
    assert ids(sender, PacketType.PUBACK) == wanted
    wanted = [sender.publish(topic, b"x", qos=2) for topic in ("free", "kept", "free", "kept", "free")]
    assert ids(sender, PacketType.PUBREC) == wanted[:1]
    commit(world)
    assert ids(sender, PacketType.PUBREC) == wanted


def test_an_acknowledgement_sent_again_waits_too(held: Disk) -> None:
    """PUBREC of a message that came twice promises what the first does."""
    world = held.world
    absent(world, "t", qos=2)
    world.hold_commits = True
    sender = world.connect("sender", acknowledge=False)
    packet_id = sender.publish("t", b"x", qos=2)
    sender.publish("t", b"x", qos=2, dup=True, packet_id=packet_id)
    assert ids(sender, PacketType.PUBREC) == []
    commit(world)
    assert ids(sender, PacketType.PUBREC) == [packet_id] * 2
    assert held.rows("deliveries") == 1


@BOTH
def test_what_is_done_before_the_commit_is_not_written(held: Disk, qos: int) -> None:
    """A message whose subscriber acknowledges it within the few milliseconds costs the disk nothing."""
    world = held.world
    client = world.stay("x")
    client.subscribe("t", qos=1)
    world.hold_commits = True
    sender = world.connect("sender")
    before = Path(f"{held.path}-wal").stat().st_size
    for _ in range(20):
        sender.publish("t", bytes(1000), qos=qos)
    commit(world)
    assert len(client.publishes) == 20
    assert len(ids(sender, PacketType.PUBACK if qos == 1 else PacketType.PUBCOMP)) == 20
    assert held.rows("messages") == held.rows("deliveries") == 0
    assert Path(f"{held.path}-wal").stat().st_size == before


@BOTH
def test_who_is_not_acknowledged_sends_again(held: Disk, qos: int) -> None:
    """Killed before the commit: the message is not there, its publisher was told nothing, and sends it once more."""
    world = held.world
    absent(world, "t", qos=qos)
    sender = world.stay("sender", acknowledge=False)
    world.hold_commits = True
    packet_id = sender.publish("t", b"x", qos=qos)
    assert [one for one in sender.received if isinstance(one, Ack)] == []
    world = held.restart()
    sender = world.stay("sender")
    sender.publish("t", b"x", qos=qos, dup=True, packet_id=packet_id)
    assert payloads(world.stay("away")) == [b"x"]


def test_a_client_that_goes_before_the_commit(held: Disk) -> None:
    """Its acknowledgement has nobody to go to; the next connection's are in order, and the message is taken once."""
    world = held.world
    absent(world, "t", qos=2)
    sender = world.stay("sender", acknowledge=False)
    world.hold_commits = True
    packet_id = sender.publish("t", b"x", qos=2)
    sender.lose()
    sender = world.stay("sender", acknowledge=False)
    sender.publish("t", b"x", qos=2, dup=True, packet_id=packet_id)
    assert ids(sender, PacketType.PUBREC) == []
    commit(world)
    assert ids(sender, PacketType.PUBREC) == [packet_id]
    assert payloads(world.stay("away", acknowledge=False)) == []
    commit(world)
    assert held.rows("deliveries") == 1


def test_too_many_held_packets_pause_reading(held: Disk) -> None:
    """A client that sends without waiting is not read from until the commit is made; nothing is lost."""
    world = held.restart(limits=Limits(receive_maximum=5))
    absent(world, "t", qos=1)
    world.hold_commits = True
    sender = world.connect("sender", acknowledge=False)
    wanted = [sender.publish("t", b"x", qos=1) for _ in range(4)]
    assert not sender.paused
    wanted.append(sender.publish("t", b"x", qos=1))
    assert sender.paused
    commit(world)
    assert not sender.paused
    assert ids(sender, PacketType.PUBACK) == wanted


def test_messages_during_a_commit_wait_for_the_next(tmp_path: Path) -> None:
    """A commit that waits for the disk runs aside: what comes meanwhile is not in it, and is not acknowledged by it."""
    disk = Disk(tmp_path, kill=True, synchronous="full")
    world = disk.start()
    absent(world, "t", qos=1)
    running: list[tuple[Callable[[], None], Callable[[Exception | None], None]]] = []
    world.shell.aside = lambda work, callback: running.append((work, callback))  # type: ignore[method-assign]

    def finish() -> None:
        work, callback = running.pop()
        work()
        callback(None)
        world.settle()

    world.hold_commits = True
    sender = world.connect("sender", acknowledge=False)
    one = sender.publish("t", b"1", qos=1)
    commit(world)
    two = sender.publish("t", b"2", qos=1)
    commit(world)
    assert len(running) == 1  # one at a time
    assert ids(sender, PacketType.PUBACK) == []
    finish()
    assert ids(sender, PacketType.PUBACK) == [one]
    assert disk.rows("deliveries") == 1
    commit(world)
    finish()
    assert ids(sender, PacketType.PUBACK) == [one, two]
    assert disk.rows("deliveries") == 2
    disk.close()


# a disk that fails


@BOTH
def test_a_failed_commit_holds_and_goes_on(held: Disk, qos: int, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is acknowledged while nothing can be stored; the operator is told; when there is space again all goes on."""
    world = held.world
    absent(world, "t", qos=qos)
    sender = world.stay("sender", acknowledge=False)
    world.hold_commits = True
    kind = PacketType.PUBACK if qos == 1 else PacketType.PUBREC
    with held.full():
        wanted = [sender.publish("t", b"%d" % number * 1000, qos=qos) for number in range(20)]
        commit(world)
        world.forward(3)
        wanted += [sender.publish("t", b"%d" % number * 1000, qos=qos) for number in range(20, 40)]
        world.forward(3)
        assert ids(sender, kind) == []
        assert sender.ping()
    assert any("nothing can be stored" in record.getMessage() for record in caplog.records)
    world.forward(2)
    assert ids(sender, kind) == wanted
    assert held.rows("deliveries") == 40
    wanted.append(sender.publish("t", b"40", qos=qos))
    commit(world)
    assert ids(sender, kind) == wanted
    world = held.restart()
    assert payloads(world.stay("away")) == [*(b"%d" % number * 1000 for number in range(40)), b"40"]


def test_killed_while_nothing_can_be_stored(held: Disk) -> None:
    """What was acknowledged before is there; what was not is not, and nothing is half there."""
    world = held.world
    absent(world, "t", qos=1)
    world.hold_commits = True
    sender = world.connect("sender", acknowledge=False)
    kept = sender.publish("t", b"kept", qos=1)
    commit(world)
    with held.full():
        sender.publish("t", bytes(9000), qos=1, retain=True)
        commit(world)
        assert ids(sender, PacketType.PUBACK) == [kept]
    world = held.restart()
    assert payloads(world.stay("away")) == [b"kept"]
    assert len(world.engine.deliveries.retained) == 0


def test_the_end_while_nothing_can_be_stored(held: Disk, caplog: pytest.LogCaptureFixture) -> None:
    """The broker ends all the same, and says what was lost: nothing that was acknowledged."""
    world = held.world
    absent(world, "t", qos=1)
    world.hold_commits = True
    sender = world.connect("sender", acknowledge=False)
    sender.publish("t", bytes(9000), qos=1)
    with held.full():
        world.engine.close()
    assert sender.closed
    assert ids(sender, PacketType.PUBACK) == []
    assert any("not stored" in record.getMessage() for record in caplog.records)
    world.clock.forward(60)
    world.settle()  # timers of before find a closed storage, and leave it


def test_a_goodbye_of_the_broker_is_no_goodbye_of_the_client(disk: Disk) -> None:
    """Version 5 is told that the server shuts down, and sessions are kept."""
    world = disk.start()
    client = world.stay("x", version=5)
    client.subscribe("t", qos=1)
    world.engine.close()
    assert client.ended(Reason.SERVER_SHUTTING_DOWN)
    disk.close()
    world = disk.start()
    assert world.stay("x", version=5).connack.session_present


def test_a_pubrel_that_is_sent_again_waits_for_its_pubrec_too(disk: Disk) -> None:
    """[MQTT-4.3.3-8] Who returns before the commit of its PUBREC gets PUBREL after it: a crash must not repeat the message."""
    world = disk.start()
    client = world.connect("x", clean=False, acknowledge=False)
    client.subscribe("t", qos=2)
    world.connect("y").publish("t", b"1", 2)
    packet_id = client.publishes[0].packet_id
    assert packet_id is not None
    world.hold_commits = True
    client.packet(Ack(PacketType.PUBREC, packet_id))
    client.lose()
    back = world.connect("x", clean=False, acknowledge=False)
    assert not back.count(Ack)
    world.hold_commits = False
    world.settle()
    assert back.last(Ack) == Ack(PacketType.PUBREL, packet_id)
