"""What of sessions and messages is stored, and when: the engine's side of `hub.broker.storage`. Pure but for the file behind it.

Sessions that outlive their connection are stored with their subscriptions, their QoS 1 and 2 messages and the packet ids of
the QoS 2 messages they sent; retained messages are, except for topics that `keeps` says are not worth it.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from devices.clock import Clock
from hub.broker.message import Message
from hub.broker.session import Delivery, Session, Subscription, Will
from hub.broker.storage import Storage, StoredDelivery, StoredMessage, StoredSession, StoredSubscription

__all__ = ["RESTART_GRACE", "Store"]

RESTART_GRACE: Final = 60.0
"""Seconds that clients have to come back to a broker that was away, before their wills are published."""


def _pack_will(will: Will | None) -> bytes:
    if will is None:
        return b""
    message = will.message
    head = json.dumps((message.topic, message.qos, message.retain, will.delay, will.expiry, len(message.payload)))
    return head.encode() + b"\n" + message.payload + message.properties


def _unpack_will(data: bytes) -> Will | None:
    if not data:
        return None
    head, _, body = data.partition(b"\n")
    topic, qos, retain, delay, expiry, size = json.loads(head)
    return Will(Message(topic, body[:size], qos, retain, body[size:]), delay, expiry)


class Store:
    """Notes what has changed; a shell commits.

    Args:
        clock: stored times are wall-clock, the broker's are monotonic.
        keeps: whether the retained message of a topic is stored.
        remember: makes bytes of a principal.

    Attributes:
        notes: grows with each note: who compares two values knows whether something is to be committed.
    """

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        remember: Callable[[Any], bytes],
        keeps: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.storage, self._clock, self._remember, self._keeps = storage, clock, remember, keeps
        self.notes = 0
        self._last_id = 0

    @property
    def dirty(self) -> bool:
        """Whether notes wait for a commit."""
        return self.storage.dirty

    def _offset(self) -> float:
        return self._clock.wall_ms() / 1000 - self._clock.monotonic()

    def _message(self, message: Message) -> StoredMessage:
        expires = None if message.expires is None else message.expires + self._offset()
        return StoredMessage(message.topic, message.payload, message.qos, message.properties, expires)

    def _restored(self, stored: StoredMessage, retain: bool) -> Message:
        expires = None if stored.expires is None else stored.expires - self._offset()
        return Message(stored.topic, stored.payload, stored.qos, retain, stored.properties, expires)

    # committing

    @property
    def syncs(self) -> bool:
        """Whether a commit waits for the disk, and so wants a thread."""
        return self.storage.synchronous in ("full", "extra")

    def write(self) -> None:
        """Writes what is noted, without committing it. Raises StorageError."""
        self.storage.write()

    def commit(self) -> None:
        """Commits what is written. Raises StorageError: then the next `write` tries again."""
        self.storage.commit()

    def close(self) -> None:
        """Commits all, and ends."""
        self.storage.close()

    # sessions

    def session(self, session: Session) -> None:
        """A session began, or its connection began or ended."""
        self.notes += 1
        ended = None if session.ended is None else session.ended + self._offset()
        principal = self._remember(session.principal)
        attributes = len(principal).to_bytes(4, "big") + principal + _pack_will(session.will)
        self.storage.save_session(session.key, session.expiry, ended, attributes)

    def dropped(self, session: Session) -> None:
        """A session is no more."""
        self.notes += 1
        for delivery in (*session.inflight.values(), *(session.queue or ())):
            if delivery.id:
                delivery.id = 0
                self._release(delivery.message)
        self.storage.delete_session(session.key)

    def subscription(self, session: Session, subscription: Subscription) -> None:
        """A session subscribed."""
        self.notes += 1
        identifier = subscription.identifier or None
        self.storage.save_subscription(
            session.key, StoredSubscription(subscription.topic_filter, subscription.options, identifier)
        )

    def unsubscribed(self, session: Session, topic_filter: str) -> None:
        """A session unsubscribed."""
        self.notes += 1
        self.storage.delete_subscription(session.key, topic_filter)

    # messages

    def delivery(self, session: Session, delivery: Delivery) -> None:
        """A message is due to a session."""
        message = delivery.message
        if not message.id:
            self._last_id += 1
            message.id = self._last_id
            self.storage.save_message(message.id, self._message(message))
        message.holders += 1
        self._last_id += 1
        delivery.id = self._last_id
        self._save(session, delivery)

    def sent(self, session: Session, delivery: Delivery) -> None:
        """A QoS 2 message has its packet id now, or was received."""
        self._save(session, delivery)

    def _save(self, session: Session, delivery: Delivery) -> None:
        self.notes += 1
        self.storage.save_delivery(
            session.key,
            StoredDelivery(
                delivery.id,
                delivery.message.id,
                delivery.qos,
                delivery.retain,
                delivery.identifiers,
                delivery.packet_id or None,
                delivery.released,
            ),
        )

    def delivered(self, session: Session, delivery: Delivery) -> None:
        """A message is due no more."""
        self.notes += 1
        self.storage.delete_delivery(session.key, delivery.id)
        delivery.id = 0
        self._release(delivery.message)

    def _release(self, message: Message) -> None:
        message.holders -= 1
        if not message.holders:
            self.storage.delete_message(message.id)
            message.id = 0

    def incoming(self, session: Session, packet_id: int) -> None:
        """A QoS 2 message of a session was taken."""
        self.notes += 1
        self.storage.save_incoming(session.key, packet_id)

    def released(self, session: Session, packet_id: int) -> None:
        """Its PUBREL came: the packet id is free."""
        self.notes += 1
        self.storage.delete_incoming(session.key, packet_id)

    # retained messages

    def retained(self, message: Message) -> None:
        """A message is kept for its topic."""
        if self._keeps(message.topic):
            self.notes += 1
            self.storage.save_retained(self._message(message))

    def cleared(self, topic: str) -> None:
        """Nothing is kept for a topic any more."""
        if self._keeps(topic):
            self.notes += 1
            self.storage.delete_retained(topic)

    # after a restart

    def load(self, recall: Callable[[bytes, str, str], Any]) -> tuple[list[Session], list[Message]]:
        """What was stored: sessions, all without a connection, and retained messages. Raises StorageError.

        Args:
            recall: makes a principal of what `remember` gave for it, and the owner's name.
        """
        stored = self.storage.open()
        self._last_id = stored.last_id
        messages = {number: self._restored(message, False) for number, message in stored.messages.items()}
        for number, message in messages.items():
            message.id = number
        sessions = [self._load_session(one, messages, recall) for one in stored.sessions]
        return sessions, [self._restored(message, True) for message in stored.retained.values()]

    def _load_session(
        self, stored: StoredSession, messages: dict[int, Message], recall: Callable[[bytes, str, str], Any]
    ) -> Session:
        size = int.from_bytes(stored.attributes[:4], "big")
        session = Session(stored.key, recall(stored.attributes[4 : 4 + size], *stored.key))
        session.will = _unpack_will(stored.attributes[4 + size :])
        session.durable, session.expiry = True, stored.expiry
        now = self._clock.monotonic()
        # it was connected when the hub went: its time starts now, and its will waits for it to come back
        session.ended = now if stored.ended is None else min(now, stored.ended - self._offset())
        if session.will is not None:
            delay = max(session.will.delay, RESTART_GRACE) if stored.ended is None else session.will.delay
            session.will_due = session.ended + min(delay, session.expiry)
        for one in stored.subscriptions:
            session.subscriptions[one.topic_filter] = Subscription.from_options(
                one.topic_filter, one.options, one.identifier or 0
            )
        session.incoming = dict.fromkeys(stored.incoming)
        for one_delivery in stored.deliveries:
            message = messages[one_delivery.message]
            message.holders += 1
            delivery = Delivery(message, one_delivery.qos, one_delivery.retain, one_delivery.identifiers)
            delivery.id, delivery.released = one_delivery.id, one_delivery.released
            if one_delivery.packet_id is not None:
                delivery.packet_id = one_delivery.packet_id
                session.inflight[delivery.packet_id] = delivery
            else:
                session.enqueue(delivery)
        return session
