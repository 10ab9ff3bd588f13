"""What holds of the broker at any moment, and when all have gone, for `fuzz`."""

from devices.mqtt.codec import encode
from devices.mqtt.packets import Pingreq
from hub.broker.connection import TOPICS
from hub.broker.session import Session, SharedGroup
from tests.hub.broker.fuzz_world import Client, Failure, Flag, FuzzWorld

__all__ = ["calm", "check", "empty"]


def _holds(what: object, text: str) -> None:
    if not what:
        raise Failure(text)


def check(world: FuzzWorld) -> None:
    """What holds between any two steps. Raises Failure."""
    engine, limits = world.engine, world.limits
    subscriptions = shared = 0
    for key, session in engine.sessions.items():
        _holds(session.key == key, "a session under another's key")
        _session(world, session)
        subscriptions += len(session.subscriptions)
        shared += session.shared
        _holds(
            sum(one.group is not None for one in session.subscriptions.values()) == session.shared,
            "shared subscriptions are counted wrong",
        )
    groups = engine.deliveries.groups
    router = engine.deliveries.router
    _holds(router.subscriptions == subscriptions - shared + len(groups), "subscriptions of no session")
    found = router.filters
    _holds(sum(map(len, found.values())) == router.subscriptions, "the router counts wrong")
    for topic_filter, subscribers in found.items():
        for one in subscribers:
            if isinstance(one, Session):
                _holds(one.subscriptions.get(topic_filter) is subscribers[one], "the router and a session disagree")
                _holds(engine.sessions.get(one.key) is one, "a subscription of a session that ended")
            elif isinstance(one, SharedGroup):
                _holds(groups.get((one.name, one.topic_filter)) is one and one.members, "a shared subscription of nobody")
    for group in groups.values():
        for session in group.members:
            _holds(engine.sessions.get(session.key) is session, "a member of a shared subscription that ended")
    _holds(len(engine.sessions) <= max(limits.sessions, engine.connections), "more sessions than allowed")
    away = [session for session in engine.sessions.values() if session.connection is None]
    _holds(set(away) == set(engine._away), "sessions that are away are known wrong")
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
        session = connection.session
        _holds(session is None or session.connection is connection, "two connections of one session")
    _holds(bool(engine._waking) >= bool(engine.dirty), "nobody will flush")
    retained = engine.deliveries.retained
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
    _holds(len(waiting) <= limits.queue_messages, "a queue of too many messages")
    _holds(session.queue_bytes == sum(one.message.size for one in waiting), "the bytes of a queue are counted wrong")
    _holds(session.queue_bytes <= limits.queue_bytes, "a queue of too many bytes")
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
    for round_ in range(200):
        for client in list(world.clients.values()):
            if client.stuck and not client.gone and not client.closed:
                client.stuck = 0
                client.connection.drained()
        world.settle()
        busy = any([client.acknowledge() for client in world.clients.values() if client.tame])
        while world.thoughts:
            busy = True
            world.think(0)
        world.settle()
        if not busy and round_:
            break
        if world.timers:
            world.clock.forward(0.25)
    else:
        raise Failure("it does not end")
    retained = world.engine.deliveries.retained
    _holds(all(one.source is None for one in retained), "a retained message holds on to a session")
    if not world.flags & Flag.RATE:
        for client in world.clients.values():
            if _ready(client) and not client.connection._tail:
                _answers(world, client)
    if world.tables is not None:
        _stored(world)


def _answers(world: FuzzWorld, client: Client) -> None:
    session = client.connection.session
    assert session is not None
    _holds(not client.paused and not client.unsent, "a client is not read any more")
    _holds(session.queue is None, "a message waits for nothing")
    _holds(not session.resend, "a message in flight is not sent again")
    _holds(not client.connection.backlog, "a retained message waits for nothing")
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
    engine._draining = False
    world.settle()
    check(world)
    _holds(not engine.connections, "a connection outlives its network")
    for _ in range(3):
        world.forward(4 * 70)
        world.settle()
    check(world)
    router = engine.deliveries.router
    _holds(not engine.sessions and not engine._away, "a session outlives its time")
    _holds(not router.subscriptions and not engine.deliveries.groups, "a subscription outlives its session")
    _holds(not router._exact and not router._root.children, "the router keeps what nobody wants")
    _holds(not len(engine.deadlines), "a deadline outlives its session")
    _holds(not engine._held and not engine.dirty and not engine.turns, "something is to be done for nobody")
    if world.tables is not None:
        _stored(world)
        _holds(not world.tables.sessions and not world.tables.messages, "stored for nobody")
