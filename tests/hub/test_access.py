"""Who may do what on the embedded broker, over real sockets."""

import asyncio
import json
import logging
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator

import pytest

from devices.mqtt.packets import Connect
from hub.auth import Tokens
from hub.authentication import Authenticator
from hub.broker import Access
from hub.broker.policy import Login, Refused
from hub.embedded import EmbeddedLink
from hub.remote import RemoteLink
from tests.hub.client import Client, Received, connect_packet, eventually
from tests.hub.conftest import SECRET

NOT_AUTHORIZED = 5
TOKENS = Tokens(SECRET)


@pytest.fixture
async def link() -> AsyncIterator[EmbeddedLink]:
    async with EmbeddedLink(authenticator=Authenticator(TOKENS), mqtt_port=0, mqtt_ws_port=0) as link:
        yield link


async def connect(link: EmbeddedLink, username: str | None, password: str | None, client_id: str = "c") -> Client:
    return await Client.connect(link.mqtt_port, connect_packet(client_id, username, password))


def unsigned(station_id: str) -> str:
    """A token with alg none."""
    parts = ({"alg": "none", "typ": "JWT"}, {"type": "station", "stationId": station_id, "exp": 4_000_000_000})
    return ".".join(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


async def test_a_good_token_is_accepted(link: EmbeddedLink) -> None:
    """A station with its own token connects."""
    client = await connect(link, "st-1", TOKENS.mint_station("st-1"))
    assert client.code == 0
    assert link.broker.engine.stats.refused == 0


@pytest.mark.parametrize(
    ("username", "password"),
    [
        (None, None),
        ("st-1", None),
        ("st-1", ""),
        ("st-1", "wrong"),
        ("st-1", TOKENS.mint_station("st-1", lifetime=-60)),
        ("st-1", Tokens("another secret of 32 characters!").mint_station("st-1")),
        ("st-1", unsigned("st-1")),
        ("st-2", TOKENS.mint_station("st-1")),
        ("viewer", TOKENS.mint_user("viewer", role="viewer")),
        ("operator", TOKENS.mint_user("operator", role="operator")),
    ],
    ids=["nothing", "name", "empty", "no token", "expired", "wrong key", "alg none", "another's", "viewer", "operator"],
)
async def test_a_bad_token_is_refused(link: EmbeddedLink, username: str | None, password: str | None) -> None:
    """CONNACK 5, then the connection is closed, and it is counted."""
    client = await connect(link, username, password)
    assert client.code == NOT_AUTHORIZED
    await asyncio.wait_for(client.closed.wait(), 5)
    assert link.broker.engine.stats.refused == 1


async def test_a_station_speaks_for_itself_alone(link: EmbeddedLink) -> None:
    """A denied PUBLISH is dropped and counted, and the connection lives on."""
    seen: list[str] = []
    link.subscribe("#", lambda topic, payload, retained: seen.append(topic))
    client = await connect(link, "st-1", TOKENS.mint_station("st-1"))
    denied = ("stations/st-2/status", "stations/st-1/cmd", "stations/st-1/signal/in", "live/stations/st-1", "x")
    for topic in denied:
        client.publish(topic, b"{}", qos=1)
    client.publish("stations/st-1/status", b"{}", qos=1)
    await eventually(lambda: client.acked == len(denied) + 1 and seen)
    await client.ping()
    assert seen == ["stations/st-1/status"]
    assert link.broker.engine.stats.denied["publish"] == len(denied)


async def test_a_station_hears_itself_alone(link: EmbeddedLink) -> None:
    """A denied SUBSCRIBE gets 0x80; its own topics are granted."""
    client = await connect(link, "st-1", TOKENS.mint_station("st-1"))
    denied = (
        "#",
        "stations/#",
        "stations/+/cmd",
        "stations/st-2/cmd",
        "stations/st-1/status",
        "live/#",
        "live/stations/+",
    )
    assert [await client.subscribe(one) for one in denied] == [0x80] * len(denied)
    assert link.broker.engine.stats.denied["subscribe"] == len(denied)
    granted = ("stations/st-1/cmd", "stations/st-1/signal/in", "live/stations/st-1")
    assert [await client.subscribe(one, 1) for one in granted] == [1, 1, 1]
    link.publish("stations/st-2/cmd", b"not yours")
    link.publish("stations/st-1/cmd", b"yours")
    await eventually(lambda: client.received)
    assert client.received == [Received("stations/st-1/cmd", b"yours", 1, False)]


@pytest.mark.parametrize("topic", ["stations/st-2/offline", "stations/st-1/cmd", "live/stations/st-1", "stations/#"])
async def test_a_will_obeys_the_same_rule(link: EmbeddedLink, topic: str) -> None:
    """A will for a topic that the station may not publish to refuses the connection."""
    packet = connect_packet("c", "st-1", TOKENS.mint_station("st-1"), will=(topic, b"x", 1, False))
    client = await Client.connect(link.mqtt_port, packet)
    assert client.code in (NOT_AUTHORIZED, None)  # a topic with wildcards is no CONNECT at all
    assert link.broker.engine.stats.refused == 1


@pytest.mark.parametrize("role", ["service", "admin"])
async def test_a_service_reads_all_and_commands(link: EmbeddedLink, role: str) -> None:
    """stations/# and live/# may be read, stations/+/cmd written, nothing else."""
    token = TOKENS.mint_user("svc", role=role)  # type: ignore[arg-type]
    seen: list[str] = []
    link.subscribe("#", lambda topic, payload, retained: seen.append(topic))
    link.publish("live/stations/st-1", b"{}", retain=True)
    client = await connect(link, "anything", token)
    assert [await client.subscribe(one) for one in ("stations/#", "live/#", "peers/#", "#")] == [0, 0, 0x80, 0x80]
    await eventually(lambda: client.received)
    assert client.received == [Received("live/stations/st-1", b"{}", 0, True)]
    for topic in ("stations/st-1/status", "live/stations/st-1", "stations/st-1/cmd"):
        client.publish(topic, b"{}")
    await eventually(lambda: "stations/st-1/cmd" in seen)
    assert seen == ["live/stations/st-1", "stations/st-1/cmd"]


async def test_a_service_may_use_a_remote_link(link: EmbeddedLink) -> None:
    """A real client library, with credentials in the URL."""
    token = TOKENS.mint_user("svc", role="service")
    seen: list[str] = []
    async with RemoteLink(f"mqtt://svc:{token}@127.0.0.1:{link.mqtt_port}") as remote:
        remote.subscribe("stations/#", lambda topic, payload, retained: seen.append(topic))
        remote.publish("stations/st-1/cmd", b"{}")
        await eventually(lambda: seen)


async def test_without_passwords_when_anonymous() -> None:
    """A client without a password has the rights of the station it names; a wrong password is refused even then."""
    async with EmbeddedLink(authenticator=Authenticator(TOKENS), mqtt_port=0, mqtt_ws_port=0, anonymous=True) as link:
        seen: list[str] = []
        link.subscribe("#", lambda topic, payload, retained: seen.append(topic))
        client = await connect(link, None, None)
        assert client.code == 0
        assert [await client.subscribe(one) for one in ("stations/any/cmd", "stations/#", "live/#")] == [0, 0x80, 0x80]
        for topic in ("stations/one/cmd", "live/stations/one", "stations/one/status", "stations/two/status"):
            client.publish(topic, b"{}")
        await eventually(lambda: len(seen) == 2)
        assert seen == ["stations/one/status", "stations/two/status"]
        named = await connect(link, "st-1", None, "named")
        wrong = await connect(link, "st-1", "wrong", "wrong")
        assert (named.code, wrong.code) == (0, NOT_AUTHORIZED)


@pytest.mark.parametrize(
    ("username", "password"), [("st-1", "wrong"), ("st-2", TOKENS.mint_station("st-2")), (None, None)]
)
@pytest.mark.parametrize("clean", [True, False])
async def test_a_refused_client_changes_nothing_for_another(
    link: EmbeddedLink, username: str | None, password: str | None, clean: bool
) -> None:
    """A wrong password, or another station, with a victim's client id leaves the victim alone."""
    victim = await connect(link, "st-1", TOKENS.mint_station("st-1"), "victim")
    await victim.subscribe("stations/st-1/cmd", 1)
    thief = await Client.connect(link.mqtt_port, connect_packet("victim", username, password, clean=clean))
    assert thief.code == (0 if username == "st-2" else NOT_AUTHORIZED)
    link.publish("stations/st-1/cmd", b"do")
    await eventually(lambda: victim.received)
    victim.publish("stations/st-1/status", b"still here")
    await victim.ping()


async def test_a_kept_session_is_its_owners(link: EmbeddedLink) -> None:
    """Another station's client of the same client id has a session of its own, and gets nothing of the owner's queue."""
    first = connect_packet("kept", "st-1", TOKENS.mint_station("st-1"), clean=False)
    owner = await Client.connect(link.mqtt_port, first)
    assert await owner.subscribe("stations/st-1/cmd", 1) == 1
    await owner.disconnect()
    link.publish("stations/st-1/cmd", b"open-gate")
    thief = await Client.connect(
        link.mqtt_port, connect_packet("kept", "st-2", TOKENS.mint_station("st-2"), clean=False)
    )
    assert thief.code == 0
    await thief.ping()
    assert thief.received == []
    again = await Client.connect(link.mqtt_port, first)
    await eventually(lambda: again.received)
    await thief.ping()


async def test_a_refused_clients_will_is_not_anothers(link: EmbeddedLink) -> None:
    """A refused client that names a kept session's id cannot plant its will there."""
    seen: list[bytes] = []
    link.subscribe("#", lambda topic, payload, retained: seen.append(payload))
    will = ("stations/st-1/offline", b"own", 1, False)
    packet = connect_packet("kept", "st-1", TOKENS.mint_station("st-1"), will=will, clean=False)
    victim = await Client.connect(link.mqtt_port, packet)
    planted = ("stations/st-1/offline", b"planted", 1, False)
    await Client.connect(link.mqtt_port, connect_packet("kept", "st-1", "wrong", will=planted, clean=False))
    await victim.abort()
    station = await connect(link, "st-1", TOKENS.mint_station("st-1"), "other")
    station.publish("stations/st-1/status", b"marker")
    await eventually(lambda: b"marker" in seen)
    assert b"planted" not in seen


def test_the_log_is_quiet_and_keeps_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Refusals are one line in ten seconds at INFO, with a station's name and never a token."""
    now = [0.0]
    access = Access(Authenticator(TOKENS), clock=lambda: now[0])
    token = TOKENS.mint_station("st-2")

    def login(username: str, password: str) -> Login:
        return Login(Connect("c", username=username, password=password.encode()), "127.0.0.1", None)

    with caplog.at_level(logging.INFO):
        for _ in range(100):
            assert isinstance(access.authenticate(login("st-1", token)), Refused)
        now[0] = 11.0
        assert isinstance(access.authenticate(login(token, "hunter2")), Refused)
    assert [record.getMessage() for record in caplog.records] == [
        "refused st-1: the token is not that station's, nor a service's",
        "refused an MQTT client: its token or key is missing, wrong, expired or revoked",
    ]
