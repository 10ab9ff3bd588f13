"""MQTT 5, what 3.1.1 does not know: how connections begin and end, and with which reasons.

| clause | test |
|---|---|
| [MQTT-3.1.2-1], 2 | `test_connack_tells_why` (version) |
| [MQTT-3.1.4-1], [MQTT-3.2.2-6] to 8, [MQTT-3.14.0-1], [MQTT-4.13.2-1] | `test_connack_tells_why` |
| [MQTT-3.1.4-2] | `test_a_refused_login_has_its_reason` |
| [MQTT-3.1.4-6] | `test_nothing_behind_a_refused_connect_counts` |
| [MQTT-3.1.4-3] | `test_the_older_connection_hears_that_it_was_taken_over` |
| [MQTT-3.1.3-6], 7, [MQTT-3.2.2-16] | `test_a_client_without_an_id_is_given_one` |
| [MQTT-3.1.2-21], [MQTT-3.2.2-21], 22 | `test_server_keep_alive` |
| [MQTT-3.1.2-22] | `test_silence_is_told` |
| [MQTT-3.1.2-28] | `test_no_response_information` |
| [MQTT-3.1.2-29] | `test_no_reason_strings_when_not_wanted` |
| [MQTT-3.2.0-1], 2 | `test_connack_comes_first_and_once` |
| [MQTT-3.2.2-9] to 14, 17, 18 | `test_connack_says_what_is_limited` |
| [MQTT-3.3.2-2], [MQTT-4.7.0-1], [MQTT-4.7.3-1] | `test_errors_end_the_connection_with_their_reason` |
| [MQTT-3.14.1-1], [MQTT-3.15.1-1], [MQTT-4.13.1-1] | `test_errors_end_the_connection_with_their_reason` |
| [MQTT-3.14.2-2], [MQTT-3.14.4-1], 2 | `test_nothing_follows_a_disconnect` |
| [MQTT-3.14.2-3], [MQTT-3.1.2-24] | `test_a_disconnect_fits_the_client` |
| [MQTT-4.12.0-1], 4 | `test_enhanced_authentication_is_refused` |
| [MQTT-4.12.0-6], 7, [MQTT-4.12.1-2] | `test_auth_without_a_method_is_an_error` |
| 4.13, 0x8B and 0x87 | `test_the_server_shuts_down`, `test_the_end_of_a_token` |
| 3.2.2.2 | `test_too_many_connections`, `test_too_many_sessions_of_one_owner` |
| [MQTT-3.1.0-1] | `test_auth_before_connect_is_an_error` |
| [MQTT-3.3.2-13], 14, 19, [MQTT-1.5.4-1], 2 | `test_errors_end_the_connection_with_their_reason` (properties) |
"""

from collections.abc import Awaitable

import pytest

from devices.mqtt.codec import encode
from devices.mqtt.codes import Reason
from devices.mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Publish,
    Will,
)
from devices.mqtt.properties import Properties, Property
from hub.broker.limits import Limits
from hub.broker.policy import Accepted, Login, Refused
from tests.hub.broker.world import Client, OpenPolicy, World

P = Property


def connect_bytes(body: bytes = b"", *, flags: int = 2, version: int = 5, rest: bytes = b"\0\1x") -> bytes:
    """A CONNECT put together by hand: `body` are its properties with their length."""
    packet = b"\0\4MQTT" + bytes([version, flags]) + b"\0\0" + (body or b"\0") + rest
    return b"\x10" + bytes([len(packet)]) + packet


def ended(client: Client) -> Reason:
    """The reason with which the broker ended a connection."""
    assert client.closed
    last = client.received[-1]
    assert isinstance(last, Disconnect)
    return last.reason


# CONNECT and CONNACK


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(connect_bytes(flags=3), Reason.MALFORMED_PACKET, id="reserved flag"),
        pytest.param(connect_bytes(rest=b"\0\1\xff"), Reason.MALFORMED_PACKET, id="client id not UTF-8"),
        pytest.param(connect_bytes(b"\3\x23\0\1"), Reason.MALFORMED_PACKET, id="property of PUBLISH"),
        pytest.param(connect_bytes(b"\6\x21\0\1\x21\0\1"), Reason.PROTOCOL_ERROR, id="property twice"),
        pytest.param(connect_bytes(b"\3\x21\0\0"), Reason.PROTOCOL_ERROR, id="receive maximum 0"),
        pytest.param(connect_bytes(b"\5\x27\0\0\0\0"), Reason.PROTOCOL_ERROR, id="maximum packet size 0"),
        pytest.param(connect_bytes(b"\2\x17\2"), Reason.PROTOCOL_ERROR, id="request problem information 2"),
        pytest.param(connect_bytes(b"\2\x19\2"), Reason.PROTOCOL_ERROR, id="request response information 2"),
        pytest.param(connect_bytes(b"\4\x16\0\1d"), Reason.PROTOCOL_ERROR, id="authentication data alone"),
        pytest.param(connect_bytes(version=6), Reason.UNSUPPORTED_PROTOCOL_VERSION, id="version 6"),
        pytest.param(
            encode(Connect("x", 5, will=Will("$SYS/broker", b"")), 5), Reason.TOPIC_NAME_INVALID, id="will on $SYS"
        ),
        pytest.param(
            connect_bytes(flags=6, rest=b"\0\1x\0\0\1#\0\0"), Reason.TOPIC_NAME_INVALID, id="will with a wildcard"
        ),
        pytest.param(connect_bytes()[:1] + b"\xff\xff\x7f" + connect_bytes()[2:], Reason.PACKET_TOO_LARGE, id="large"),
    ],
)
def test_connack_tells_why(data: bytes, reason: Reason) -> None:
    """[MQTT-3.2.2-7] [MQTT-3.14.0-1]: a CONNECT that cannot be accepted gets a CONNACK with the reason, and no DISCONNECT."""
    world = World()
    client = world.client(5)
    client.raw(data)
    assert client.received == [Connack(reason)]  # and so without session present [MQTT-3.2.2-6]
    assert client.closed
    assert not world.engine.sessions


@pytest.mark.parametrize("reason", [Reason.BAD_USER_NAME_OR_PASSWORD, Reason.NOT_AUTHORIZED, Reason.BANNED])
def test_a_refused_login_has_its_reason(reason: Reason) -> None:
    """[MQTT-3.1.4-2]: what the policy says is in the CONNACK."""

    class Closed(OpenPolicy):
        def authenticate(self, login: Login) -> Accepted | Refused | Awaitable[Accepted | Refused]:
            return Refused(reason)

    client = World(policy=Closed()).connect("x", version=5)
    assert client.received == [Connack(reason)]
    assert client.closed


def test_too_many_connections() -> None:
    """3.2.2.2: one client more than there is room for hears 0x89."""
    world = World(limits=Limits(max_connections=1))
    world.connect("a", version=5)
    late = world.connect("b", version=5)
    assert late.received == [Connack(Reason.SERVER_BUSY)]
    assert late.closed


def test_too_many_sessions_of_one_owner() -> None:
    """3.2.2.2: 0x97, when none of the owner's sessions is away to make room; its others, and other owners, are not touched."""
    world = World(limits=Limits(sessions_of_owner=1))
    first = world.connect("a", version=5, username="one", properties={P.SESSION_EXPIRY: 100})
    late = world.connect("b", version=5, username="one")
    assert late.received == [Connack(Reason.QUOTA_EXCEEDED)]
    assert late.closed
    assert not world.connect("b", version=5, username="two").closed
    assert first.ping()
    first.lose()
    assert not world.connect("b", version=5, username="one").closed


def test_nothing_behind_a_refused_connect_counts() -> None:
    """[MQTT-3.1.4-6]: what was sent together with a CONNECT that is refused is not looked at."""
    world = World()
    listener = world.connect("listener", version=5)
    listener.subscribe("#")
    client = world.client(5)
    client.packet(Connect("x", 5, username="u", password=b"wrong"), Publish("a", b"1"), Auth())
    assert client.received == [Connack(Reason.BAD_USER_NAME_OR_PASSWORD)]
    assert listener.messages == []


def test_connack_says_what_is_limited() -> None:
    """3.2.2.3: receive maximum, packet size and aliases are told; what is not limited is not [MQTT-3.2.2-9]."""
    limits = Limits(receive_maximum=7, max_packet=4_321, topic_aliases=3)
    granted = World(limits=limits).connect("x", version=5).connack
    assert granted == Connack(
        Reason.SUCCESS,
        False,
        {P.RECEIVE_MAXIMUM: 7, P.MAXIMUM_PACKET_SIZE: 4_321, P.TOPIC_ALIAS_MAXIMUM: 3},
    )
    # without aliases nothing is offered [MQTT-3.2.2-18]
    assert P.TOPIC_ALIAS_MAXIMUM not in World(limits=Limits(topic_aliases=0)).connect("x", version=5).connack.properties


def test_connack_comes_first_and_once() -> None:
    """[MQTT-3.2.0-1] [MQTT-3.2.0-2]: also when a session has messages waiting."""
    world = World()
    keep: Properties = {P.SESSION_EXPIRY: 100}
    client = world.connect("x", version=5, properties=keep)
    client.subscribe("t", qos=1)
    client.lose()
    world.connect("y", version=5).publish("t", b"1", 1)
    back = world.client(5)
    back.packet(Connect("x", 5, clean=False, properties=keep))
    assert [type(one) for one in back.received] == [Connack, Publish]


def test_a_client_without_an_id_is_given_one() -> None:
    """[MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]: a new one each time, told, and good for coming back."""
    world = World()
    keep: Properties = {P.SESSION_EXPIRY: 100}
    first, second = (world.connect("", version=5, properties=keep) for _ in range(2))
    names = [one.connack.properties[P.ASSIGNED_CLIENT_ID] for one in (first, second)]
    assert len(set(names)) == 2
    assert all(names)
    assert not first.closed
    first.lose()
    back = world.connect(names[0], version=5, clean=False, properties=keep)
    assert back.connack.session_present
    assert P.ASSIGNED_CLIENT_ID not in back.connack.properties


@pytest.mark.parametrize(("asked", "granted"), [(0, 20), (30, 20), (20, None), (5, None)])
def test_server_keep_alive(asked: int, granted: int | None) -> None:
    """[MQTT-3.2.2-21] [MQTT-3.2.2-22]: a longer keep-alive, or none, is shortened and told; any other is kept."""
    world = World(limits=Limits(keep_alive_max=20))
    client = world.connect("x", version=5, keep_alive=asked)
    assert client.connack.properties.get(P.SERVER_KEEP_ALIVE) == granted
    kept = granted or asked
    world.forward(kept * 1.5)
    assert not client.closed
    world.forward(1)
    assert ended(client) is Reason.KEEP_ALIVE_TIMEOUT


def test_silence_is_told() -> None:
    """[MQTT-3.1.2-22]: 0x8D, at one and a half times the keep-alive and not before; any packet counts."""
    world = World()
    client = world.connect("x", version=5, keep_alive=10)
    world.forward(14)
    assert client.ping()
    world.forward(15)
    assert not client.closed
    world.forward(1)
    assert ended(client) is Reason.KEEP_ALIVE_TIMEOUT


@pytest.mark.parametrize("asked", [0, 1])
def test_no_response_information(asked: int) -> None:
    """[MQTT-3.1.2-28]: with 0 it must not be returned; with 1 it may not be, and there is none."""
    client = World().connect("x", version=5, properties={P.REQUEST_RESPONSE_INFORMATION: asked})
    assert P.RESPONSE_INFORMATION not in client.connack.properties


@pytest.mark.parametrize("wanted", [0, 1])
def test_no_reason_strings_when_not_wanted(wanted: int) -> None:
    """[MQTT-3.1.2-29]: with Request Problem Information 0 no reason string; otherwise DISCONNECT has one."""
    world = World()
    world.policy.denied.add(("publish", "t"))
    client = world.connect("x", version=5, properties={P.REQUEST_PROBLEM_INFORMATION: wanted})
    client.publish("t", b"", 1)
    client.publish("t", b"", 2)
    client.subscribe("#/bad")
    client.unsubscribe("none")
    for packet in client.received[1:]:
        properties: Properties = getattr(packet, "properties", {})
        assert not {P.REASON_STRING, P.USER_PROPERTY} & properties.keys()
    client.packet(Auth())
    assert (P.REASON_STRING in client.last(Disconnect).properties) is bool(wanted)


# enhanced authentication


def test_enhanced_authentication_is_refused() -> None:
    """[MQTT-4.12.0-1] [MQTT-4.12.0-4]: no method is supported: 0x8C, closed, and the client of that id is not touched."""
    world = World()
    rightful = world.connect("x", version=5)
    client = world.connect("x", version=5, properties={P.AUTHENTICATION_METHOD: "SCRAM", P.AUTHENTICATION_DATA: b"n"})
    assert client.received == [Connack(Reason.BAD_AUTHENTICATION_METHOD)]
    assert client.closed
    assert rightful.ping()


@pytest.mark.parametrize(
    "packet",
    [
        Auth(),
        Auth(Reason.REAUTHENTICATE, {P.AUTHENTICATION_METHOD: "SCRAM"}),
        Auth(Reason.CONTINUE_AUTHENTICATION, {P.AUTHENTICATION_METHOD: "SCRAM", P.AUTHENTICATION_DATA: b"n"}),
    ],
)
def test_auth_without_a_method_is_an_error(packet: Auth) -> None:
    """[MQTT-4.12.0-7] [MQTT-4.12.1-2]: AUTH ends the connection; the server sends none, and no method [MQTT-4.12.0-6]."""
    client = World().connect("x", version=5)
    assert P.AUTHENTICATION_METHOD not in client.connack.properties
    client.packet(packet)
    assert ended(client) is Reason.PROTOCOL_ERROR
    assert not client.count(Auth)


def test_auth_before_connect_is_an_error() -> None:
    """[MQTT-3.1.0-1] [MQTT-3.14.0-1]: closed, without a DISCONNECT since there was no CONNACK."""
    client = World().client(5)
    client.packet(Auth())
    assert client.closed
    assert client.received == []


# how a connection ends


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"\xe1\0", Reason.MALFORMED_PACKET, id="DISCONNECT with reserved bits"),
        pytest.param(b"\xf1\0", Reason.MALFORMED_PACKET, id="AUTH with reserved bits"),
        pytest.param(b"\x00\0", Reason.MALFORMED_PACKET, id="type 0"),
        pytest.param(b"\x30\3\0\1\xff", Reason.MALFORMED_PACKET, id="PUBLISH not UTF-8"),
        pytest.param(b"\x30\4\0\1#\0", Reason.TOPIC_NAME_INVALID, id="PUBLISH with a wildcard"),
        pytest.param(b"\x30\3\0\0\0", Reason.PROTOCOL_ERROR, id="PUBLISH without topic and alias"),
        pytest.param(b"\x30\x06\0\1t\2\x01\2", Reason.PROTOCOL_ERROR, id="payload format 2"),
        pytest.param(b"\x30\x08\0\1t\4\x08\0\1#", Reason.PROTOCOL_ERROR, id="response topic with a wildcard"),
        pytest.param(b"\x30\x08\0\1t\4\x08\0\1\xff", Reason.MALFORMED_PACKET, id="response topic not UTF-8"),
        pytest.param(b"\x30\x08\0\1t\4\x03\0\1\xff", Reason.MALFORMED_PACKET, id="content type not UTF-8"),
        pytest.param(b"\x30\x0b\0\1t\7\x26\0\1a\0\1\0", Reason.MALFORMED_PACKET, id="user property with U+0000"),
        pytest.param(b"\x30\x06\0\1t\5\x01\0", Reason.MALFORMED_PACKET, id="properties cut off"),
        pytest.param(b"\x82\7\0\1\0\0\1t\x34", Reason.PROTOCOL_ERROR, id="retain handling 3"),
        pytest.param(b"\x82\7\0\1\0\0\1t\x40", Reason.MALFORMED_PACKET, id="reserved option"),
        pytest.param(b"\x82\7\0\1\0\0\1t\3", Reason.PROTOCOL_ERROR, id="subscription of QoS 3"),
        pytest.param(b"\x82\3\0\1\0", Reason.PROTOCOL_ERROR, id="SUBSCRIBE without a filter"),
        pytest.param(b"\x82\x09\0\1\2\x0b\0\0\1t\0", Reason.PROTOCOL_ERROR, id="subscription identifier 0"),
        pytest.param(b"\x82\x0b\0\1\4\x0b\1\x0b\2\0\1t\0", Reason.PROTOCOL_ERROR, id="two subscription identifiers"),
        pytest.param(b"\xa2\3\0\1\0", Reason.PROTOCOL_ERROR, id="UNSUBSCRIBE without a filter"),
        pytest.param(b"\x40\4\0\1\x92\0", Reason.PROTOCOL_ERROR, id="PUBACK with a reason of PUBREL"),
        pytest.param(b"\x20\3\0\0\0", Reason.PROTOCOL_ERROR, id="CONNACK from a client"),
        pytest.param(b"\x90\4\0\1\0\0", Reason.PROTOCOL_ERROR, id="SUBACK from a client"),
        pytest.param(b"\xd0\0", Reason.PROTOCOL_ERROR, id="PINGRESP from a client"),
        pytest.param(b"\x30\x80\x80\x80\x01", Reason.PACKET_TOO_LARGE, id="too large, by its header"),
    ],
)
def test_errors_end_the_connection_with_their_reason(data: bytes, reason: Reason) -> None:
    """[MQTT-4.13.1-1]: DISCONNECT says what was wrong, and the will is published [MQTT-3.1.2-8]."""
    world = World()
    listener = world.connect("listener", version=5)
    listener.subscribe("will", "t")
    client = world.connect("x", version=5, will=Will("will", b"gone"))
    client.raw(data)
    assert ended(client) is reason
    assert listener.messages == [("will", b"gone", 0, False)]


def test_the_older_connection_hears_that_it_was_taken_over() -> None:
    """[MQTT-3.1.4-3]: 0x8E for the old one, the session for the new one."""
    world = World()
    keep: Properties = {P.SESSION_EXPIRY: 100}
    old = world.connect("x", version=5, properties=keep)
    old.subscribe("t")
    new = world.connect("x", version=5, clean=False, properties=keep)
    assert ended(old) is Reason.SESSION_TAKEN_OVER
    assert new.connack.session_present
    new.publish("t", b"1")
    assert new.messages == [("t", b"1", 0, False)]


def test_the_server_shuts_down() -> None:
    """4.13: every client hears 0x8B; one of 3.1.1 is just closed."""
    world = World()
    five, four, unknown = world.connect("five", version=5), world.connect("four"), world.client(5)
    world.engine.close()
    assert ended(five) is Reason.SERVER_SHUTTING_DOWN
    assert four.closed
    assert not four.count(Disconnect)
    assert unknown.closed
    assert unknown.received == []


@pytest.mark.parametrize("version", [4, 5])
def test_the_end_of_a_token(version: int) -> None:
    """A token's end and the grace after it end the connection (0x87), however lively; the will goes out."""

    class Tokens(OpenPolicy):
        def authenticate(self, login: Login) -> Accepted:
            ends = world.clock.wall_ms() / 1000 + 60
            return Accepted("", "", ends if login.connect.client_id == "x" else float("inf"))

    world = World(policy=Tokens(), limits=Limits(token_grace=30))
    listener = world.connect("listener")
    listener.subscribe("will")
    client = world.connect("x", version=version, keep_alive=20, will=Will("will", b"gone"))
    for _ in range(8):
        world.forward(11)
        assert client.ping()  # 88 seconds
    world.forward(1.5)
    assert not client.closed
    world.forward(1)
    assert client.closed
    assert listener.messages == [("will", b"gone", 0, False)]
    if version == 5:
        assert ended(client) is Reason.NOT_AUTHORIZED


def test_nothing_follows_a_disconnect() -> None:
    """[MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-3.14.2-2]: closed, nothing more is sent or read; it holds no session expiry."""
    world = World()
    client = world.connect("x", version=5, properties={P.SESSION_EXPIRY: 100})
    client.subscribe("t", qos=1)
    client.packet(Auth(), Publish("t", b"late", 1, packet_id=9))
    assert ended(client) is Reason.PROTOCOL_ERROR
    assert P.SESSION_EXPIRY not in client.last(Disconnect).properties
    sent = len(client.received)
    world.connect("y", version=5).publish("t", b"1", 1)
    world.forward(1)
    assert len(client.received) == sent
    assert not client.publishes


def test_a_disconnect_fits_the_client() -> None:
    """[MQTT-3.14.2-3] [MQTT-3.1.2-24]: the reason string is left out when the client could not take it."""
    client = World().connect("x", version=5, properties={P.MAXIMUM_PACKET_SIZE: 30})
    client.packet(Auth())
    assert ended(client) is Reason.PROTOCOL_ERROR
    assert len(encode(client.received[-1], 5)) <= 30
