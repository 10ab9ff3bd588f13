"""What holds of the broker at any moment, and when all have gone, for `fuzz`."""

from collections import Counter

from devices.mqtt.codec import encode
from devices.mqtt.packets import Connect, Pingreq, Publish, Subscribe, SubscribeFilter
from devices.mqtt.properties import Property
from hub.broker.connection import TOPICS
from hub.broker.session import Session, SharedGroup
from tests.hub.broker.fuzz_client import Client
from tests.hub.broker.fuzz_fakes import Failure
from tests.hub.broker.fuzz_world import Flag, FuzzWorld

__all__ = ["calm", "check", "empty", "serves"]


def _holds(what: object, text: str) -> None:
    if not what:
        raise Failure(text)


def check(world: FuzzWorld) -> None:
    """What holds between any two steps. Raises Failure."""
    engine, limits = world.engine, world.limits
    if world.closed:
        _holds(not engine.connections and not engine._all, "a connection outlives the broker")
        return
    subscriptions = shared = 0
    for key, session in engine.sessions.items():
        _holds(session.key == key, "a session under another's key")
        _session(world, session)
        subscriptions += len(session.subscriptions)
        for topic_filter, subscription in session.subscriptions.items():
            _holds(
                (subscription.group is not None) == topic_filter.startswith("$share/"), "not in its shared subscription"
            )
            shared += subscription.group is not None
    _holds(engine.deliveries.subscriptions.count == subscriptions + world.local, "subscriptions are counted wrong")
    groups = engine.deliveries.subscriptions.groups
    router = engine.deliveries.router
    _holds(router.subscriptions == subscriptions - shared + len(groups) + world.local, "subscriptions of no session")
    found = router.filters
    _holds(sum(map(len, found.values())) == router.subscriptions, "the router counts wrong")
    for topic_filter, subscribers in found.items():
        for one in subscribers:
            if isinstance(one, Session):
                _holds(one.subscriptions.get(topic_filter) is subscribers[one], "the router and a session disagree")
                _holds(engine.sessions.get(one.key) is one, "a subscription of a session that ended")
            elif isinstance(one, SharedGroup):
                _holds(groups.get((one.name, one.topic_filter)) is one and len(one), "a shared subscription of nobody")
    for group in groups.values():
        members = dict(group.members())
        _holds(len(members) == len(group), "members of a shared subscription are counted wrong")
        for session, subscription in members.items():
            _holds(engine.sessions.get(session.key) is session, "a member of a shared subscription that ended")
            _holds(
                session.subscriptions.get(subscription.topic_filter) is subscription, "a member that did not subscribe"
            )
    _holds(len(engine.sessions) <= limits.sessions, "more sessions than allowed")
    _holds(
        Counter(owner for owner, _ in engine.sessions) == +engine._owned, "the sessions of an owner are counted wrong"
    )
    here = {session for session in engine.sessions.values() if session.connection is not None}
    _holds(here == world.watcher.here, "the watcher was told otherwise")
    away = [session for session in engine.sessions.values() if session.connection is None]
    _holds(set(away) == set(engine._away), "sessions that are away are known wrong")
    _holds(
        set(away) == {one for some in engine._away_of.values() for one in some},
        "sessions away by owner are known wrong",
    )
    deadlines = engine.deadlines
    _holds(0 <= len(deadlines) <= engine.connections + len(away), "deadlines of nobody")
    _holds(len(deadlines._heap) <= 2 * len(deadlines) + 130, "cancelled deadlines are kept")
    _holds(len(engine._all) == engine.connections, "connections are counted wrong")
    for connection in engine._all:
        _holds(len(connection._tail) <= limits.max_packet + 70_000, "a client's bytes are kept without bound")
        _holds(len(connection.topics) <= TOPICS, "routes remembered without bound")
        _holds(len(connection._aliases_in or ()) <= limits.topic_aliases, "aliases remembered without bound")
        _holds(len(connection._aliases_out or ()) <= connection.aliases_max, "aliases given without bound")
        _holds(connection.held >= 0, "fewer than no packets wait for a commit")
        _holds(not connection.out or connection in engine.dirty, "packets that never leave")
        own = connection.session
        _holds(own is None or own.connection is connection, "two connections of one session")
    _holds(bool(engine._waking) >= bool(engine.dirty), "nobody will flush")
    retained = engine.deliveries.retained
    _holds(retained.size == sum(one.size for one in retained), "the bytes of retained messages are counted wrong")
    owners = Counter(one.owner for one in retained if one.owner is not None)
    _holds(owners == retained._owned, "the retained messages of an owner are counted wrong")
    _holds(all(count <= limits.retained_of_owner for count in owners.values()), "an owner keeps too many messages")
    topics = retained.match("#") + [one.topic for one in retained if one.topic.startswith("$")]
    _holds(sorted(topics) == sorted(one.topic for one in retained), "retained messages that no filter finds")


def _session(world: FuzzWorld, session: Session) -> None:
    limits, connection = world.limits, session.connection
    _holds(connection is None or connection.session is session, "a session with another's connection")
    _holds((connection is None) == (session.ended is not None), "neither here nor away")
    _holds(len(session.inflight) <= limits.inflight, "more in flight than the window")
    _holds(len(session.subscriptions) <= limits.subscriptions, "more subscriptions than allowed")
    _holds(all(one.packet_id == key for key, one in session.inflight.items()), "in flight under another's packet id")
    queue = session.queue
    _holds(queue is None or queue, "an empty queue")
    waiting = list(queue or ())
    # what was in flight waits again after a restart, with what waited before
    crashed = world.crashed
    _holds(len(waiting) <= limits.queue_messages + crashed * limits.inflight, "a queue of too many messages")
    _holds(session.queue_bytes == sum(one.message.size for one in waiting), "the bytes of a queue are counted wrong")
    _holds(crashed or session.queue_bytes <= limits.queue_bytes, "a queue of too many bytes")
    _holds(session.queued_qos0 == sum(one.qos == 0 for one in waiting), "QoS 0 in a queue is counted wrong")
    _holds(session.expiry <= limits.session_expiry, "a session that lives too long")
    _holds(all(one.message.source is None for one in waiting), "a queued message holds on to a session")
    if connection is None:
        _holds(session.resend is None, "a session that is away is sending")
        _holds(session.expiry > 0, "a session that outlives its connection and should not")


def _stored(world: FuzzWorld) -> None:
    """What is in the storage is what is in memory; all is committed."""
    tables, engine = world.tables, world.engine
    assert tables is not None
    durable = {key: session for key, session in engine.sessions.items() if session.durable}
    _holds(set(tables.sessions) == set(durable), "sessions are stored that are not, or the reverse")
    needed = set()
    for key, session in durable.items():
        stored = tables.sessions[key]
        _holds({one.topic_filter for one in stored.subscriptions} == set(session.subscriptions), "stored subscriptions")
        _holds(stored.incoming == set(session.incoming), "stored incoming packet ids")
        waiting = [*session.inflight.values(), *(session.queue or ())]
        _holds({one.id for one in stored.deliveries} == {one.id for one in waiting if one.qos}, "stored deliveries")
        for one in stored.deliveries:
            needed.add(one.message)
            if one.packet_id:
                _holds(session.inflight[one.packet_id].released == one.released, "a stored PUBREC")
    _holds(needed == set(tables.messages), "messages are stored that nobody needs, or the reverse")
    _holds(set(tables.kept) == {one.topic for one in engine.deliveries.retained}, "stored retained messages")


def _ready(client: Client) -> bool:
    return client.tame and not client.gone and not client.closed and client.connection.session is not None


def calm(world: FuzzWorld) -> None:
    """When networks take all and clients answer, all that waits is delivered and pings are answered. Raises Failure."""
    if world.tables is not None:
        world.tables.faults = 0
    for round_ in range(200):
        for client in list(world.clients.values()):
            client.clog(0)
        world.settle()
        busy = sum(client.acknowledge() for client in world.clients.values() if client.tame) > 0
        while world.thoughts:
            busy = True
            world.think(0)
        world.settle()
        busy = busy or bool(world.timers)
        if not busy and round_:
            break
        if world.timers or not round_:
            world.forward(1)
    else:
        raise Failure("it does not end")
    retained = world.engine.deliveries.retained
    _holds(all(one.source is None for one in retained), "a retained message holds on to a session")
    if not world.flags & Flag.RATE:
        for client in world.clients.values():
            if _ready(client) and not client.connection._tail:
                _answers(world, client)
    if world.tables is not None and not world.closed:
        _stored(world)


def _answers(world: FuzzWorld, client: Client) -> None:
    session = client.connection.session
    assert session is not None
    _holds(not client.paused and not client.unsent, "a client is not read any more")
    _holds(session.queue is None, "a message waits for nothing")
    _holds(not session.resend, "a message in flight is not sent again")
    _holds(
        not (client.connection.session and client.connection.session.backlog), "a retained message waits for nothing"
    )
    _holds(not session.inflight, "a message stays in flight")
    before = client.pongs
    world.receive(client, encode(Pingreq(), 4))
    world.settle()
    _holds(client.closed or client.pongs == before + 1, "a ping is not answered")


def empty(world: FuzzWorld) -> None:
    """When all clients have gone and the time of every session is over, nothing is left. Raises Failure."""
    engine = world.engine
    for client in list(world.clients.values()):
        world.lose(client)
    world.forget_thoughts()
    world.settle()
    check(world)
    _holds(not engine.connections, "a connection outlives its network")
    if world.closed:
        return
    for _ in range(3):
        world.forward(4 * 70)
        world.settle()
    check(world)
    router = engine.deliveries.router
    _holds(not engine.sessions and not engine._away, "a session outlives its time")
    _holds(
        router.subscriptions == world.local and not engine.deliveries.subscriptions.groups,
        "a subscription outlives its session",
    )
    _holds(world.local or (not router._exact and not router._root.children), "the router keeps what nobody wants")
    _holds(not len(engine.deadlines), "a deadline outlives its session")
    _holds(not engine._away_of and not +engine._owned, "an owner is remembered for nothing")
    _holds(not engine.commits._held and not engine.dirty and not engine.turns, "something is to be done for nobody")
    if world.tables is not None:
        _stored(world)
        _holds(not world.tables.sessions and not world.tables.messages, "stored for nobody")


def serves(world: FuzzWorld) -> None:
    """After all that, the broker still does its work: each QoS, both versions, both ways. Raises Failure."""
    if world.closed:
        return
    _work(world)
    clients = Client(world), Client(world)
    world.clients = dict(enumerate(clients))
    for version, client in zip((4, 5), clients, strict=True):
        properties = {Property.TOPIC_ALIAS_MAXIMUM: 2} if version == 5 else {}
        client.feed(encode(Connect(f"probe{version}", version, properties=properties), version), wild=False)
        wanted = [SubscribeFilter(f"p/+/{version}", 2), SubscribeFilter("p/#", 1)]
        client.feed(encode(Subscribe(9, wanted), version), wild=False)
        _work(world)
    for number in range(6):
        for version, client in zip((4, 5), clients, strict=True):
            payload = bytes((number, version)) * (100 if number % 2 else 3)
            message = Publish(f"p/q/{9 - version}", payload, number // 2, packet_id=number + 1 if number > 1 else None)
            for each in clients:
                each.heard = None
            client.feed(encode(message, version), wild=False)
            _work(world)
            for own, each in zip((4, 5), clients, strict=True):
                heard = each.heard
                _holds(heard is not None, "a message does not arrive")
                assert heard is not None
                _holds(heard.payload == payload, "another payload arrives")
                _holds(each.topic == message.topic, "another topic arrives")
                _holds(heard.qos == min(message.qos, 2 if own != version else 1), "another QoS arrives")


def _work(world: FuzzWorld) -> None:
    """All there is to do, until nothing is left."""
    busy = True
    while busy:
        world.settle()
        busy = bool(world.thoughts or world.timers)
        while world.thoughts:
            world.think(0)
        if world.timers:
            world.forward(1)
        busy = sum(client.acknowledge() for client in world.clients.values()) > 0 or busy
