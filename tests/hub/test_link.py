"""One suite over both links: the embedded broker, and a real Mosquitto."""

import asyncio
from pathlib import Path

import pytest

from hub.auth import Tokens
from hub.authentication import Authenticator
from hub.embedded import EmbeddedLink
from hub.link import LinkDown
from hub.remote import RemoteLink
from tests.hub.client import GUARD, Received, eventually, publish_packet
from tests.hub.conftest import (
    CMD,
    LIVE,
    OFFLINE,
    SECRET,
    STATUS,
    WILL,
    Broker,
    Inbox,
    Message,
    subscribed,
)
from tests.mosquitto import mosquitto


async def settled(broker: Broker, inbox: Inbox) -> list[Message]:
    """All that had come when a message of a fresh client had come; without that."""
    client = await broker.client()
    client.publish("stations/st-1/room", b"marker", qos=1)
    marker = ("stations/st-1/room", b"marker", False)
    await eventually(lambda: marker in inbox)
    return [message for message in inbox if message != marker]


@pytest.mark.parametrize("qos", [0, 1])
async def test_messages_go_both_ways(broker: Broker, qos: int) -> None:
    """A client's message reaches the link, the link's reaches a client that subscribed, at the QoS asked for."""
    inbox = await subscribed(broker.link, "stations/+/status")
    client = await broker.client()
    assert await client.subscribe(CMD, 1) == 1
    client.publish(STATUS, b"{}", qos=qos)
    await eventually(lambda: inbox)
    assert inbox == [(STATUS, b"{}", False)]
    broker.link.publish(CMD, b"do", qos=qos)
    await eventually(lambda: client.received)
    assert client.received == [Received(CMD, b"do", qos, False)]
    await eventually(lambda: client.acked == qos)


async def test_a_qos_0_subscription_gets_qos_0(broker: Broker) -> None:
    """The lower of the two counts."""
    client = await broker.client()
    await client.subscribe(CMD, 0)
    broker.link.publish(CMD, b"do", qos=1)
    await eventually(lambda: client.received)
    assert client.received == [Received(CMD, b"do", 0, False)]


async def test_retained_messages_wait_for_clients(broker: Broker) -> None:
    """What the link retains comes to a later subscriber with the RETAIN flag, the newest only, and not once cleared."""
    broker.link.publish(LIVE, b"1", retain=True)
    broker.link.publish(LIVE, b"2", retain=True)
    await subscribed(broker.link, "live/#")
    early, late = await broker.client(), await broker.client()
    await early.subscribe(LIVE, 1)
    await eventually(lambda: early.received)
    assert early.received == [Received(LIVE, b"2", 1, True)]
    broker.link.publish(LIVE, b"", retain=True)
    await eventually(lambda: len(early.received) == 2)
    assert early.received[1] == Received(LIVE, b"", 1, False)
    await late.subscribe(LIVE, 1)
    await late.ping()
    assert late.received == []


async def test_retained_messages_wait_for_the_link(broker: Broker) -> None:
    """A subscription gets what was kept before it, marked so, the hub's and the clients', then live messages unmarked."""
    client = await broker.client()
    first = await subscribed(broker.link, "#")
    client.publish(STATUS, b"kept", retain=True, qos=1)
    broker.link.publish(LIVE, b"kept", retain=True)
    await eventually(lambda: len([one for one in first if one[1] == b"kept"]) == 2)
    assert all(not retained for _, _, retained in first)
    second = Inbox()
    broker.link.subscribe("+/#", second)
    await eventually(lambda: len(second) >= 2)
    assert sorted(second[:2]) == [(LIVE, b"kept", True), (STATUS, b"kept", True)]
    client.publish(STATUS, b"live")
    await eventually(lambda: (STATUS, b"live", False) in second)


async def test_the_link_clears_what_a_client_retained(broker: Broker) -> None:
    """An empty retained publish clears the topic, whoever filled it."""
    client = await broker.client()
    inbox = await subscribed(broker.link, "stations/#")
    client.publish(STATUS, b"kept", retain=True, qos=1)
    await eventually(lambda: inbox)
    broker.link.publish(STATUS, b"", retain=True)
    await eventually(lambda: len(inbox) == 2)
    later = await subscribed(broker.link, "stations/+/status")
    assert later == []


async def test_order_holds_per_topic(broker: Broker) -> None:
    """Neither direction reorders, nor loses at QoS 1."""
    inbox = await subscribed(broker.link, "stations/+/status")
    client = await broker.client()
    await client.subscribe(CMD, 1)
    numbers = [b"%d" % number for number in range(300)]
    for number in numbers:
        client.publish(STATUS, number, qos=1)
        broker.link.publish(CMD, number)
    await eventually(lambda: len(inbox) == len(client.received) == 300)
    assert [payload for _, payload, _ in inbox] == numbers
    assert [message.payload for message in client.received] == numbers


async def test_own_publishes_come_back_once_and_later(broker: Broker) -> None:
    """A subscriber sees what the link publishes once, after `publish` returned, in order."""
    inbox = await subscribed(broker.link, "live/#")
    broker.link.publish(LIVE, b"1", retain=True)
    broker.link.publish(LIVE, b"2", qos=0)
    assert inbox == []
    await eventually(lambda: len(inbox) == 2)
    assert await settled(broker, await subscribed(broker.link, "stations/#")) == []
    assert inbox == [(LIVE, b"1", False), (LIVE, b"2", False)]


async def test_publishing_from_a_callback(broker: Broker) -> None:
    """A callback may publish and subscribe."""
    replies = Inbox()

    def answer(topic: str, payload: bytes, retained: bool) -> None:
        broker.link.subscribe("stations/st-1/reply", replies)
        broker.link.publish("stations/st-1/reply", payload)

    broker.link.subscribe(STATUS, answer)
    client = await broker.client()
    await subscribed(broker.link, "live/#")
    client.publish(STATUS, b"x")
    await eventually(lambda: replies)
    assert replies[0][:2] == ("stations/st-1/reply", b"x")


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_lost_client_leaves_its_will(broker: Broker, qos: int) -> None:
    """A connection that ends without DISCONNECT publishes the will, once."""
    inbox = await subscribed(broker.link, "stations/#")
    client = await broker.client(will=(OFFLINE, b"gone", qos, False))
    await client.abort()
    await eventually(lambda: inbox)
    assert await settled(broker, inbox) == [(OFFLINE, b"gone", False)]


async def test_a_goodbye_voids_the_will(broker: Broker) -> None:
    """After DISCONNECT there is no will. [MQTT-3.14.4-3]"""
    inbox = await subscribed(broker.link, "stations/#")
    client = await broker.client(will=WILL)
    client.publish(OFFLINE, b"bye", qos=1)
    await eventually(lambda: inbox)
    await client.disconnect()
    assert await settled(broker, inbox) == [(OFFLINE, b"bye", False)]


async def test_errors_of_callbacks_stay_there(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """A callback that raises is one line in the log; the others, and the next messages, come."""

    def fails(topic: str, payload: bytes, retained: bool) -> None:
        raise RuntimeError("broken")

    broker.link.subscribe("stations/+/status", fails)
    inbox = await subscribed(broker.link, "stations/+/status")
    client = await broker.client()
    client.publish(STATUS, b"1")
    client.publish(STATUS, b"2")
    await eventually(lambda: len(inbox) == 2)
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.getMessage() for record in errors] == 2 * [
        "a subscriber of stations/+/status failed: RuntimeError: broken"
    ]
    assert all(record.exc_info is None for record in errors)


async def test_empty_payloads(broker: Broker) -> None:
    """An empty message is a message."""
    inbox = await subscribed(broker.link, STATUS)
    client = await broker.client()
    await client.subscribe(CMD)
    client.publish(STATUS, b"")
    broker.link.publish(CMD, b"")
    await eventually(lambda: inbox and client.received)
    assert (inbox, client.received) == ([(STATUS, b"", False)], [Received(CMD, b"", 0, False)])


async def test_overlapping_filters_get_each_message_once(broker: Broker) -> None:
    """However filters overlap, each callback has a message once, and none that does not match."""
    inboxes = [
        await subscribed(broker.link, one)
        for one in ("stations/+/status", "stations/st-1/#", "stations/st-1/+", STATUS, STATUS, "stations/+/online")
    ]
    client = await broker.client()
    client.publish(STATUS, b"x", qos=1)
    await eventually(lambda: inboxes[0])
    await settled(broker, inboxes[1])
    assert [[one for one in inbox if one[1] == b"x"] for inbox in inboxes] == [[(STATUS, b"x", False)]] * 5 + [[]]


async def test_an_oversized_message_does_not_arrive(broker: Broker) -> None:
    """1,000,000 bytes pass, 1,000,001 do not, and nobody else notices."""
    inbox = await subscribed(broker.link, "stations/#")
    client = await broker.client()
    client.publish(STATUS, bytes(999_900))
    await eventually(lambda: inbox)
    client.publish(STATUS, bytes(1_000_001))
    other = await broker.client()
    other.publish(STATUS, b"next")
    await eventually(lambda: inbox[-1][1] == b"next")
    assert [len(payload) for _, payload, _ in inbox] == [999_900, 4]


async def test_not_a_filter(broker: Broker) -> None:
    """What is no topic filter is refused at once."""
    with pytest.raises(ValueError, match="not a topic filter"):
        broker.link.subscribe("stations/#/status", Inbox())


async def test_a_newer_connection_ends_the_older(broker: Broker) -> None:
    """Of two connections with one client id the newer stays. [MQTT-3.1.4-2]"""
    older = await broker.client("same")
    newer = await broker.client("same")
    await asyncio.wait_for(older.closed.wait(), GUARD)
    await newer.ping()


async def test_a_taken_over_session_is_served(broker: Broker) -> None:
    """The newer connection of a kept session gets what the session subscribed to."""
    older = await broker.client("same", clean=False)
    await older.subscribe(CMD, 1)
    newer = await broker.client("same", clean=False)
    await newer.ping()
    broker.link.publish(CMD, b"do")
    await eventually(lambda: newer.received)


async def test_a_silent_client_is_noticed(broker: Broker) -> None:
    """A client that misses its keep-alive by half is gone, and leaves its will. [MQTT-3.1.2-24]"""
    inbox = await subscribed(broker.link, "stations/#")
    await broker.client(will=WILL, keep_alive=1)
    await eventually(lambda: inbox)  # Mosquitto looks every few seconds


async def test_nobody_gets_retained_messages_unasked(broker: Broker) -> None:
    """A client gets no retained message that only others subscribed to."""
    station = await broker.client()
    station.publish(STATUS, b"kept", retain=True, qos=1)
    reader = await broker.client(service=True)
    await reader.subscribe("stations/#")
    await eventually(lambda: reader.received)
    stranger = await broker.client()
    await stranger.ping()
    await stranger.subscribe(CMD)
    assert stranger.received == []


async def test_a_delivery_has_the_lower_qos(broker: Broker) -> None:
    """A QoS 0 message stays one for a QoS 1 subscription. [MQTT-3.8.4-6]"""
    reader, station = await broker.client(service=True), await broker.client()
    await reader.subscribe(STATUS, 1)
    station.publish(STATUS, b"x", qos=0)
    await eventually(lambda: reader.received)
    assert reader.received[0].qos == 0


async def test_subscribing_again_changes_the_qos(broker: Broker) -> None:
    """The newer subscription to a filter replaces the older. [MQTT-3.8.4-3]"""
    client = await broker.client()
    await client.subscribe(CMD, 0)
    await client.subscribe(CMD, 1)
    broker.link.publish(CMD, b"do")
    await eventually(lambda: client.received)
    assert client.received[0].qos == 1


async def test_a_kept_session_gets_what_it_missed(broker: Broker) -> None:
    """QoS 1 messages wait for a kept session, and come as live ones."""
    client = await broker.client("kept", clean=False)
    await client.subscribe(CMD, 1)
    await client.disconnect()
    await subscribed(broker.link, "live/#")
    broker.link.publish(CMD, b"do")
    await subscribed(broker.link, "live/#")
    again = await broker.client("kept", clean=False)
    await eventually(lambda: again.received)
    assert again.received == [Received(CMD, b"do", 1, False)]


async def test_an_unacknowledged_message_comes_again(broker: Broker) -> None:
    """What was not acknowledged is sent again, marked DUP, when the kept session is back. [MQTT-4.4.0-1]"""
    client = await broker.client("kept", clean=False, acknowledge=False)
    await client.subscribe(CMD, 1)
    broker.link.publish(CMD, b"do")
    await eventually(lambda: client.received)
    await client.abort()
    again = await broker.client("kept", clean=False)
    await eventually(lambda: again.received)
    assert again.received == [Received(CMD, b"do", 1, False, True)]


async def test_all_before_a_goodbye_counts(broker: Broker) -> None:
    """Messages sent right before DISCONNECT arrive."""
    inbox = await subscribed(broker.link, "stations/+/status")
    client = await broker.client()
    client.send(b"".join(publish_packet(STATUS, b"%d" % number) for number in range(20)))
    await client.disconnect()
    await eventually(lambda: len(inbox) == 20)


async def test_a_refused_message_does_nothing(broker: Broker) -> None:
    """Bytes inside a PUBLISH with a wildcard topic are payload, whatever they look like. [MQTT-3.3.2-2]"""
    inbox = await subscribed(broker.link, "stations/#")
    client = await broker.client()
    client.publish("stations/st-1/#", publish_packet(STATUS, b"smuggled"))
    assert await settled(broker, inbox) == []


async def test_a_will_survives_a_dollar_topic(broker: Broker) -> None:
    """A client that published to a $ topic still has its will."""
    inbox = await subscribed(broker.link, "stations/#")
    client = await broker.client(will=WILL)
    client.publish("$mine/x", b"")
    await client.ping()
    await client.abort()
    await eventually(lambda: inbox)


async def test_version_5_is_spoken(broker: Broker) -> None:
    """A version 5 client may connect."""
    assert await broker.client(level=5)


async def test_a_stopped_link_is_down(tmp_path: Path) -> None:
    """Before start and after stop nothing is published; watchers hear of both; stopping twice is one stop."""
    async with mosquitto(tmp_path) as server:
        for link, final in (
            (EmbeddedLink(authenticator=Authenticator(Tokens(SECRET)), mqtt_port=0, mqtt_ws_port=0), True),
            (RemoteLink(server.url), False),
        ):
            told: list[bool] = []
            link.watch_connection(told.append)
            with pytest.raises(LinkDown):
                link.publish(LIVE, b"")
            await link.start()
            assert (link.connected, told, link.wills_are_final) == (True, [True], final)
            await link.stop()
            await link.stop()
            assert (link.connected, told) == (False, [True, False])
            with pytest.raises(LinkDown):
                link.publish(LIVE, b"")
