"""What the broker of `fuzz` asks and where it stores: a policy that thinks and fails, a storage without a file."""

from collections.abc import Awaitable, Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

from devices.mqtt.codes import Reason
from hub.broker.policy import Accepted, Action, Login, Refused
from hub.broker.storage import (
    Storage,
    StorageError,
    Stored,
    StoredDelivery,
    StoredMessage,
    StoredSession,
    StoredSubscription,
)
from tests.fakes import FakeClock

__all__ = ["Failure", "FuzzPolicy", "Tables"]


class Failure(AssertionError):
    """Something does not hold that must."""


class Later:
    """An answer that is not there yet."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __await__(self) -> Generator[None, None, Any]:
        yield
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class FuzzPolicy:
    """Denies `denied/...`, thinks about `wait/...`, fails with `fail/...` when it waits; users of these names likewise."""

    reason = Reason.NOT_AUTHORIZED

    def __init__(self, clock: FakeClock, waits: bool) -> None:
        self._clock, self.waits = clock, waits

    def authenticate(self, login: Login) -> Accepted | Refused | Awaitable[Accepted | Refused]:
        user = login.connect.username or ""
        if user == "no":
            return Refused(Reason.BAD_USER_NAME_OR_PASSWORD)
        if user == "brief":
            return Accepted("brief", "", self._clock.wall_ms() / 1000 + 5)
        if user == "wait":
            return Later(Accepted("wait", ""))
        if user == "fail":
            return Later(ValueError("the policy fails"))
        return Accepted(user, "")

    def allows(self, principal: Any, action: Action, topic: str) -> bool | Awaitable[bool]:
        allowed = not topic.startswith("denied/") and not (principal == "wait" and topic == "#")
        if self.waits and topic.startswith("wait/"):
            return Later(allowed)
        if self.waits and topic.startswith("fail/"):
            return Later(ValueError("the policy fails"))
        return allowed

    def remember(self, principal: Any) -> bytes:
        return str(principal).encode()

    def recall(self, stored: bytes, owner: str, client_id: str) -> Any:
        return stored.decode()


def _without(table: dict[Any, Any], key: object) -> None:
    table.pop(key, None)


class Tables(Storage):
    """The storage without a file: what is committed outlives `crash`, and what refers to nothing is a failure."""

    def __init__(self, syncs: bool) -> None:
        super().__init__(Path("none"), synchronous="full" if syncs else "normal")
        self.sessions: dict[tuple[str, str], StoredSession] = {}
        self.messages: dict[int, StoredMessage] = {}
        self.kept: dict[str, StoredMessage] = {}
        self.faults = 0
        """So many commits fail."""
        self._steps: list[Callable[[], None]] = []
        self._written: list[Callable[[], None]] = []

    def _note(self, step: Callable[[], None]) -> None:
        self._steps.append(step)
        self.dirty = True

    def open(self) -> Stored:
        for session in self.sessions.values():
            for delivery in session.deliveries:
                if delivery.message not in self.messages:
                    raise Failure("a stored delivery without its message")
        numbers = [*self.messages, *(one.id for each in self.sessions.values() for one in each.deliveries)]
        copies = [
            replace(
                one,
                subscriptions=list(one.subscriptions),
                deliveries=sorted(one.deliveries, key=lambda delivery: delivery.id),
                incoming=set(one.incoming),
            )
            for one in self.sessions.values()
        ]
        return Stored(copies, dict(self.kept), dict(self.messages), max(numbers, default=0))

    def crash(self) -> None:
        """What was not committed is lost."""
        self._steps.clear()
        self._written.clear()
        self.dirty = False

    def write(self) -> None:
        self._written += self._steps
        self._steps.clear()
        self.dirty = False

    def commit(self) -> None:
        if self.faults:
            self.faults -= 1
            raise StorageError(Path("none"), "the disk is full", "make room")
        for step in self._written:
            step()
        self._written.clear()

    def close(self) -> None:
        self.write()
        self.commit()

    def _session(self, key: tuple[str, str]) -> StoredSession:
        if key not in self.sessions:
            raise Failure("something is stored for a session that is not")
        return self.sessions[key]

    def save_session(self, key: tuple[str, str], expiry: float, ended: float | None, attributes: bytes) -> None:
        def step() -> None:
            known = self.sessions.get(key) or StoredSession(key, expiry, ended, attributes)
            known.expiry, known.ended, known.attributes = expiry, ended, attributes
            self.sessions[key] = known

        self._note(step)

    def delete_session(self, key: tuple[str, str]) -> None:
        self._note(lambda: _without(self.sessions, key))

    def save_subscription(self, key: tuple[str, str], subscription: StoredSubscription) -> None:
        def step() -> None:
            session = self._session(key)
            session.subscriptions = [
                one for one in session.subscriptions if one.topic_filter != subscription.topic_filter
            ]
            session.subscriptions.append(subscription)

        self._note(step)

    def delete_subscription(self, key: tuple[str, str], topic_filter: str) -> None:
        def step() -> None:
            if (session := self.sessions.get(key)) is not None:
                session.subscriptions = [one for one in session.subscriptions if one.topic_filter != topic_filter]

        self._note(step)

    def save_message(self, id: int, message: StoredMessage) -> None:
        self._note(lambda: self.messages.update({id: message}))

    def delete_message(self, id: int) -> None:
        self._note(lambda: _without(self.messages, id))

    def save_delivery(self, key: tuple[str, str], delivery: StoredDelivery) -> None:
        def step() -> None:
            session = self._session(key)
            session.deliveries = [one for one in session.deliveries if one.id != delivery.id] + [delivery]

        self._note(step)

    def delete_delivery(self, key: tuple[str, str], id: int) -> None:
        def step() -> None:
            if (session := self.sessions.get(key)) is not None:
                session.deliveries = [one for one in session.deliveries if one.id != id]

        self._note(step)

    def save_incoming(self, key: tuple[str, str], packet_id: int) -> None:
        self._note(lambda: self._session(key).incoming.add(packet_id))

    def delete_incoming(self, key: tuple[str, str], packet_id: int) -> None:
        def step() -> None:
            if (session := self.sessions.get(key)) is not None:
                session.incoming.discard(packet_id)

        self._note(step)

    def save_retained(self, message: StoredMessage) -> None:
        self._note(lambda: self.kept.update({message.topic: message}))

    def delete_retained(self, topic: str) -> None:
        self._note(lambda: _without(self.kept, topic))
