"""What both versions say of CONNECT and CONNACK, clause by clause; 3.1.1's numbers, and 5's behind a slash where they differ.

| clause | test |
|---|---|
| 3.1.0-1 / 3.1.0-1, 3.14.0-1 | test_the_first_packet_is_connect |
| 3.1.0-2 | test_a_second_connect_ends_the_connection |
| 3.1.2-1, 3.1.2-2 | test_an_unknown_protocol_is_refused |
| 3.1.2-3, -9, -11 to -15, -18 to -21 / 3.1.2-3, -9, -11 to -13, -16 to -19 | test_a_connect_that_contradicts_itself_is_refused |
| 3.1.2-22 | test_a_password_without_a_user_name |
| 3.1.3-1, 3.1.3-3 | test_a_connect_that_is_right_is_accepted, test_a_connect_that_contradicts_itself_is_refused |
| 3.1.3-4, -10, -11 / 3.1.3-4, -11, -12 | test_connect_with_bad_text_is_refused |
| 3.1.3-5 | test_client_ids_that_must_be_allowed |
| 3.1.3-6 / 3.1.3-6, -7 | test_a_client_without_an_id_gets_one_of_its_own |
| 3.1.3-7, -8, -9 | test_a_client_without_an_id_that_wants_to_stay |
| 3.1.4-1, 3.2.2-6 / 3.1.4-1 | test_a_connect_that_contradicts_itself_is_refused |
| 3.1.4-4, 3.2.0-1 / 3.1.4-5, 3.2.0-1, -2 | test_connack_comes_first_and_once |
| 3.1.4-5 / 3.1.4-6 | test_nothing_behind_a_refused_connect_is_looked_at |
| 3.2.2-4, -5 / 3.2.2-1, -6, -7 | test_a_refusal_has_no_session_and_ends |

The rest of CONNECT (sessions, takeover, keep-alive, wills) is in test_conformance_sessions.py and test_conformance_wills.py.
"""

from collections.abc import Callable

import pytest

from devices.mqtt.codec import encode
from devices.mqtt.codes import PacketType, Reason
from devices.mqtt.packets import (
    Ack,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Publish,
    Suback,
    Subscribe,
    SubscribeFilter,
    Unsubscribe,
    Will,
)
from tests.hub.broker.raw import BAD_TEXT, MALFORMED, PROTOCOL, VERSIONS, connect_bytes, opened, with_will
from tests.hub.broker.world import World


@VERSIONS
@pytest.mark.parametrize(
    "packet",
    [
        Publish("a", b"x"),
        Publish("a", b"x", 1, packet_id=1),
        Ack(PacketType.PUBACK, 1),
        Ack(PacketType.PUBREL, 1),
        Subscribe(1, [SubscribeFilter("#")]),
        Unsubscribe(1, ["#"]),
        Pingreq(),
        Disconnect(),
    ],
    ids=lambda packet: type(packet).__name__,
)
def test_the_first_packet_is_connect(version: int, packet: Packet) -> None:
    """[MQTT-3.1.0-1] Anything else ends the connection, without a word [MQTT-3.14.0-1], and a CONNECT comes too late."""
    world, _, watcher = opened(version)
    stranger = world.client(version)
    stranger.raw(encode(packet, version) + encode(Connect("late", version), version))
    assert stranger.closed
    assert stranger.received == []
    assert watcher.messages == []
    assert world.engine.gauges().sessions == 2


@VERSIONS
@pytest.mark.parametrize("other", [4, 5])
def test_a_second_connect_ends_the_connection(version: int, other: int) -> None:
    """[MQTT-3.1.0-2] It is no goodbye either: the will is published, and what follows is not looked at."""
    world, _, watcher = opened(version)
    client = world.connect("twice", version=version, will=Will("will", b"gone"))
    client.raw(encode(Connect("twice", other), other) + encode(Publish("after", b"x"), version))
    assert client.ended(PROTOCOL)
    assert client.count(Connack) == 1
    assert [one.topic for one in watcher.publishes] == ["will"]


@VERSIONS
@pytest.mark.parametrize(
    "second", [connect_bytes(4, 2, b"c", name=b"MQTX"), connect_bytes(4, 2, b"c", level=9)], ids=["name", "level"]
)
def test_a_second_connect_of_another_protocol(version: int, second: bytes) -> None:
    """[MQTT-3.1.0-2] The error is that it is a second one: DISCONNECT has no reason 0x84 (3.14.2.1 of 5)."""
    client = World().connect("twice", version=version)
    client.raw(second)
    assert client.ended(PROTOCOL)
    assert client.count(Connack) == 1


@pytest.mark.parametrize(
    ("packet", "answer"),
    [
        (connect_bytes(4, 2, b"c", name=b"MQTX"), b""),
        (connect_bytes(5, 2, b"c", name=b"mqtt"), b""),
        (connect_bytes(4, 2, b"c", name=b"MQIsdp"), b""),
        (connect_bytes(4, 2, b"c", level=0), b"\x20\x02\0\1"),
        (connect_bytes(4, 2, b"c", level=2), b"\x20\x02\0\1"),
        (connect_bytes(4, 2, b"c", level=3), b"\x20\x02\0\1"),
        (connect_bytes(5, 2, b"c", level=6), b"\x20\x03\0\x84\0"),
    ],
)
def test_an_unknown_protocol_is_refused(packet: bytes, answer: bytes) -> None:
    """[MQTT-3.1.2-1] A name that is not MQTT's is met with silence; [MQTT-3.1.2-2] an unknown level with return code 1,
    or what a later version understands [MQTT-5: reason 0x84]."""
    world = World()
    client = world.client()
    sent: list[bytes] = []
    # these answers have no version that a decoder could know
    client.send = sent.append  # type: ignore[method-assign,assignment]
    client.raw(packet + b"\xc0\0")
    assert client.closed
    assert b"".join(sent) == answer
    assert not world.engine.sessions


def test_version_3_1_is_served() -> None:
    """Level 3 under its own name, MQIsdp, is MQTT 3.1: as 3.1.1."""
    world = World()
    old = world.connect("old", version=3)
    assert old.connack.code == 0
    assert old.subscribe("a", qos=1) == [1]
    world.connect("new", version=5).publish("a", b"x", 1)
    assert old.messages == [("a", b"x", 1, False)]


_CONTRADICTIONS: dict[str, Callable[[int], bytes]] = {
    "reserved flag [MQTT-3.1.2-3]": lambda v: connect_bytes(v, 3, b"c"),
    "will QoS without will [MQTT-3.1.2-13] [5: MQTT-3.1.2-11]": lambda v: connect_bytes(v, 0x0A, b"c"),
    "will retain without will [MQTT-3.1.2-15] [5: MQTT-3.1.2-13]": lambda v: connect_bytes(v, 0x22, b"c"),
    "will QoS 3 [MQTT-3.1.2-14] [5: MQTT-3.1.2-12]": lambda v: with_will(v, flags=0x1E),
    "no will field [MQTT-3.1.2-9]": lambda v: connect_bytes(v, 0x06, b"c"),
    "no user name field [MQTT-3.1.2-19] [5: MQTT-3.1.2-17]": lambda v: connect_bytes(v, 0x82, b"c"),
    "no password field [MQTT-3.1.2-21] [5: MQTT-3.1.2-19]": lambda v: connect_bytes(v, 0xC2, b"c", b"user"),
    "a field too many [MQTT-3.1.2-18] [MQTT-3.1.2-11] [5: MQTT-3.1.2-16]": lambda v: connect_bytes(v, 2, b"c", b"user"),
    "no client id [MQTT-3.1.3-3]": lambda v: connect_bytes(v, 2),
    "a client id longer than the packet": lambda v: connect_bytes(v, 2, b"c")[:-3] + b"\0\x09c",
    "will topic with a wildcard": lambda v: with_will(v, b"a/#"),
    "will topic that is empty": lambda v: with_will(v, b""),
}


@VERSIONS
@pytest.mark.parametrize("problem", _CONTRADICTIONS)
def test_a_connect_that_contradicts_itself_is_refused(version: int, problem: str) -> None:
    """[MQTT-3.1.4-1] It gets no CONNACK in 3.1.1, an error at most in 5; and no session."""
    world = World()
    client = world.client(version)
    client.raw(_CONTRADICTIONS[problem](version) + b"\xc0\0")
    assert client.closed
    assert all(isinstance(one, Connack) and version == 5 and one.code >= 0x80 for one in client.received)
    assert not world.engine.sessions


@VERSIONS
@pytest.mark.parametrize("right", [b"", b"will", b"user", b"password"], ids=bytes.decode)
def test_a_connect_that_is_right_is_accepted(version: int, right: bytes) -> None:
    """[MQTT-3.1.3-1] What the wrong ones are made of."""
    packet = {
        b"": connect_bytes(version, 2, b"c"),
        b"will": with_will(version, flags=0x36),
        b"user": connect_bytes(version, 0x82, b"c", b"user"),
        b"password": connect_bytes(version, 0xC2, b"c", b"user", b"secret"),
    }[right]
    world = World()
    client = world.client(version)
    client.raw(packet)
    assert client.connack.code == 0
    (session,) = world.engine.sessions.values()
    assert session.key == ("" if right in (b"", b"will") else "user", "c")
    assert (session.will is not None) == (right == b"will")


def test_a_password_without_a_user_name() -> None:
    """[MQTT-3.1.2-22] Forbidden in 3.1.1; 5 allows it (3.1.2.9)."""
    world = World()
    old, new = world.client(4), world.client(5)
    old.raw(connect_bytes(4, 0x42, b"old", b"secret"))
    new.raw(connect_bytes(5, 0x42, b"new", b"secret"))
    assert old.closed
    assert old.received == []
    assert new.connack.code == 0


@VERSIONS
@pytest.mark.parametrize("bad", BAD_TEXT)
@pytest.mark.parametrize("field", ["client id", "will topic", "user name"])
def test_connect_with_bad_text_is_refused(version: int, bad: str, field: str) -> None:
    """[MQTT-3.1.3-4] [MQTT-3.1.3-10, -11] [5: MQTT-3.1.3-11, -12] Every text of CONNECT is UTF-8, without U+0000."""
    raw = BAD_TEXT[bad]
    packet = {
        "client id": connect_bytes(version, 2, raw),
        "will topic": with_will(version, raw),
        "user name": connect_bytes(version, 0x82, b"c", raw),
    }[field]
    world = World()
    client = world.client(version)
    client.raw(packet)
    assert client.closed
    assert all(isinstance(one, Connack) and version == 5 and one.code == MALFORMED for one in client.received)
    assert not world.engine.sessions


@VERSIONS
@pytest.mark.parametrize(
    "client_id", ["a", "0123456789abcdefghijklm", "ABCDEFGHIJKLMNOPQRSTUVW", "nopqrstuvwxyzNXYZ"], ids=len
)
def test_client_ids_that_must_be_allowed(version: int, client_id: str) -> None:
    """[MQTT-3.1.3-5] 1 to 23 bytes of 0-9a-zA-Z."""
    assert World().connect(client_id, version=version).connack.code == 0


@VERSIONS
def test_a_client_without_an_id_gets_one_of_its_own(version: int) -> None:
    """[MQTT-3.1.3-6] [5: MQTT-3.1.3-6, -7] Two such clients do not meet in one session."""
    world = World()
    first, second = world.connect(version=version), world.connect(version=version)
    assert (first.closed, second.closed) == (False, False)
    first.subscribe("a")
    world.connect("other").publish("a", b"x")
    assert (len(first.messages), len(second.messages)) == (1, 0)
    assert len({key[1] for key in world.engine.sessions} - {""}) == 3


def test_a_client_without_an_id_that_wants_to_stay() -> None:
    """[MQTT-3.1.3-8] [MQTT-3.1.3-9] Without a clean session, 3.1.1 answers with 2; 5 gives it an id."""
    world = World()
    old, new = world.connect("", clean=False), world.connect("", version=5, clean=False)
    assert (old.connack.code, old.connack.session_present, old.closed) == (2, False, True)
    assert (new.connack.code, new.closed) == (0, False)


@VERSIONS
def test_connack_comes_first_and_once(version: int) -> None:
    """[MQTT-3.1.4-4] [MQTT-3.2.0-1] [5: MQTT-3.1.4-5, MQTT-3.2.0-2] Before what waited for a session, and what came along."""
    world = World()
    before = world.stay("client", version=version)
    before.subscribe("a", qos=1)
    before.lose()
    world.connect("other").publish("a", b"waited", 1)
    client = world.client(version)
    client.raw(encode(Connect("client", version, False), version) + encode(Pingreq(), version))
    assert [type(one).__name__ for one in client.received] == ["Connack", "Publish", "Pingresp"]
    assert client.connack.session_present


@VERSIONS
@pytest.mark.parametrize("separately", [False, True])
def test_nothing_behind_a_refused_connect_is_looked_at(version: int, separately: bool) -> None:
    """[MQTT-3.1.4-5] [5: MQTT-3.1.4-6] Neither what came with it nor what comes later."""
    world, _, watcher = opened(version)
    refused = world.client(version)
    pieces = [
        encode(Connect("bad", version, username="u", password=b"wrong"), version),
        encode(Publish("a", b"x", 0), version),
        encode(Connect("bad", version), version) + encode(Publish("a", b"x"), version),
    ]
    for piece in pieces if separately else [b"".join(pieces)]:
        refused.raw(piece)
    assert refused.closed
    assert [type(one) for one in refused.received] == [Connack]
    assert watcher.messages == []


@VERSIONS
def test_a_refusal_has_no_session_and_ends(version: int) -> None:
    """[MQTT-3.2.2-4, -5] [5: MQTT-3.2.2-6, -7] Session present is 0 even where there is one, and the connection is closed."""
    world = World()
    world.stay("client", version=version, username="u").lose()
    client = world.connect("client", version=version, clean=False, username="u", password=b"wrong")
    assert client.connack == Connack(4 if version == 4 else Reason.BAD_USER_NAME_OR_PASSWORD, False, {})
    assert client.closed
    assert world.stay("client", version=version, username="u").connack.session_present


@VERSIONS
def test_packets_may_follow_connect_at_once(version: int) -> None:
    """A client need not wait for CONNACK (3.1.4, non normative): all that came in one read is done, in order."""
    world = World()
    client = world.client(version)
    client.packet(
        Connect("client", version), Subscribe(7, [SubscribeFilter("a")]), Publish("a", b"x"), Pingreq(), Disconnect()
    )
    assert [type(one) for one in client.received] == [Connack, Suback, Publish, Pingresp]
    assert client.closed
