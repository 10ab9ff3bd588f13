"""What two brokers may do in different ways, and how what a client got of both is compared.

A `Twin` is one client at both: ours and a real Mosquitto. What may differ stands in `EXCEPTIONS` and `NOT_TRIED`, nowhere else.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from devices.mqtt.codes import Reason
from devices.mqtt.packets import SubscribeFilter, Will
from devices.mqtt.properties import Property
from tests.hub.broker.differential_client import Got, Hold, Side

__all__ = ["EXCEPTIONS", "NOT_TRIED", "USED", "Twin", "differences"]

EXPIRY_SLACK: Final = 3
"""Seconds by which two remaining expiries may differ: the brokers get the message one after the other."""


@dataclass
class Twin:
    """A client at both brokers.

    Attributes:
        keeps: its session outlives its connection.
        small: it does not take large packets.
        window: messages in flight that it takes at most; 0: it did not say.
        filters: its subscriptions, with their identifiers.
        zero: identifiers that its subscriptions of QoS 0 have had.
        zero_kept: one of those had Retain As Published.
        will: what is published if it goes without a word.
        copies: since it holds answers back, Mosquitto may have sent it one message more than once.
    """

    client_id: str
    ours: Side
    theirs: Side
    version: int = 4
    keeps: bool = False
    small: bool = False
    window: int = 0
    filters: dict[str, tuple[SubscribeFilter, int]] = field(default_factory=dict)
    zero: set[int] = field(default_factory=set)
    zero_kept: bool = False
    will: Will | None = None
    hold: Hold = None
    copies: bool = False
    aliases: dict[int, str] = field(default_factory=dict)

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.ours, self.theirs

    @property
    def delayed(self) -> bool:
        """Its will is, or would be, published later."""
        return self.will is not None and self.will.properties.get(Property.WILL_DELAY, 0) > 0

    @property
    def connected(self) -> bool:
        return self.ours.connection is not None

    async def both(self, act: Callable[[Side], Awaitable[Any]]) -> list[Any]:
        """Does the same at both brokers."""
        return list(await asyncio.gather(*(act(side) for side in self.sides)))


# what may differ


class Case(NamedTuple):
    """What one client got in one step, or since it began to hold answers back.

    Attributes:
        step: the name of the step.
        merged: several copies of a message count as one.
    """

    twin: Twin
    step: str
    merged: bool


class Allowed(NamedTuple):
    """A difference that the standard leaves open. `apply` makes one of the two like the other as far as it goes."""

    name: str
    clause: str
    reason: str
    what: str  # "messages" or "answers"
    apply: Callable[[Case, list[Any], list[Any]], list[Any]]
    """Gets ours and theirs, gives theirs as they are compared."""


def _one_copy(case: Case, _: list[Got], theirs: list[Got]) -> list[Got]:
    if case.step == "subscribe":
        return theirs  # retained messages: one for each subscription at both
    return merged(theirs)


def merged(messages: list[Got]) -> list[Got]:
    """The copies of each message as one, where the first stood."""
    found: dict[tuple[str, bytes, bool], Got] = {}
    for one in messages:
        key = one.topic, one.payload, one.again
        known = found.get(key)
        if known is not None:
            one = replace(
                one,
                qos=max(one.qos, known.qos),
                retain=one.retain or known.retain,
                expiry=min(one.expiry, known.expiry),
                identifiers=tuple(sorted((*one.identifiers, *known.identifiers))),
            )
        found[key] = one
    return list(found.values())


def _late_copy(case: Case, ours: list[Got], theirs: list[Got]) -> list[Got]:
    if case.step != "connect" and not case.merged:
        return theirs
    wanted = {(one.topic, one.payload, one.again): one for one in ours}
    result = []
    for one in theirs:
        other = wanted.get((one.topic, one.payload, one.again))
        if other is not None:
            mine, found = Counter(other.identifiers), Counter(one.identifiers)
            if found <= mine and set(mine - found) <= case.twin.zero:
                one = replace(one, identifiers=other.identifiers)
            if other.retain and case.twin.zero_kept:
                one = replace(one, retain=True)
        result.append(one)
    return result


def _expiry(_: Case, ours: list[Got], theirs: list[Got]) -> list[Got]:
    wanted = {(one.topic, one.payload, one.again): one.expiry for one in ours}
    result = []
    for one in theirs:
        other = wanted.get((one.topic, one.payload, one.again), -1)
        if other >= 0 and one.expiry >= 0 and abs(other - one.expiry) <= EXPIRY_SLACK:
            one = replace(one, expiry=other)
        result.append(one)
    return result


def _silent_takeover(case: Case, ours: list[Any], theirs: list[Any]) -> list[Any]:
    told = ("DISCONNECT", int(Reason.SESSION_TAKEN_OVER))
    if case.step == "connect" and told in ours and told not in theirs:
        return [*theirs, told]
    return theirs


def _matched(_: Case, ours: list[Any], theirs: list[Any]) -> list[Any]:
    unmatched = ("published", 2, int(Reason.NO_MATCHING_SUBSCRIBERS))
    pairs = zip_longest(ours, theirs)
    found = [mine if mine == unmatched and other == ("published", 2, 0) else other for mine, other in pairs]
    return found[: len(theirs)]


def _other_reason(case: Case, ours: list[Any], theirs: list[Any]) -> list[Any]:
    mine, other = (
        [one for one in some if one[0] == "DISCONNECT" and one[1] >= Reason.UNSPECIFIED_ERROR]
        for some in (ours, theirs)
    )
    if case.step == "say" and len(mine) == 1 and len(other) <= 1:
        return [one for one in theirs if one not in other] + mine
    return theirs


EXCEPTIONS: Final[dict[str, Allowed]] = {
    one.name: one
    for one in (
        Allowed(
            "one copy",
            "[MQTT-3.3.4-2], 3.1.1: [MQTT-3.3.5-1]",
            "Where subscriptions overlap, Mosquitto sends a copy for each, we send one with the highest QoS and all identifiers.",
            "messages",
            _one_copy,
        ),
        Allowed(
            "late copy",
            "3.3.4",
            "Of those copies Mosquitto does not queue the ones of QoS 0; our one copy has their identifiers and RETAIN, too.",
            "messages",
            _late_copy,
        ),
        Allowed(
            "expiry",
            "[MQTT-3.3.2-6]",
            "The remaining time is in whole seconds, and they round it in their ways.",
            "messages",
            _expiry,
        ),
        Allowed(
            "silent takeover",
            "[MQTT-3.1.4-3]",
            "A version 5 client that is taken over must be told; Mosquitto ends the connection without a word.",
            "answers",
            _silent_takeover,
        ),
        Allowed(
            "another reason",
            "4.13.1",
            "For what no client may send Mosquitto gives another reason than we do, or none: the standard says SHOULD.",
            "answers",
            _other_reason,
        ),
        Allowed(
            "unmatched at PUBREC",
            "3.5.2.1",
            "Mosquitto looks for subscribers when PUBREL comes: its PUBREC cannot say that there are none. Ours does.",
            "answers",
            _matched,
        ),
    )
}
NOT_TRIED: Final = {
    "will of a session taken over": (
        "[MQTT-3.1.2-8], [MQTT-3.1.4-3]",
        "Mosquitto drops the will of a connection that is taken over by one that continues its session. We send it.",
    ),
    "receive maximum": (
        "[MQTT-3.3.4-9]",
        "Ours sends no more than its own bound, however large a client's receive maximum; Mosquitto's bound is for 3.1.1 alone.",
    ),
    "delay beyond the session": (
        "[MQTT-3.1.3-9]",
        "Mosquitto forgets a will whose delay is longer than its session. We send it when the session ends.",
    ),
    "delay of a session that ends": (
        "[MQTT-3.1.3-9]",
        "Mosquitto forgets a will that waits when its client starts a new session. We send it: the old session has ended.",
    ),
    "too large at QoS 1": (
        "[MQTT-3.1.2-25]",
        "A message that is too large for a client holds its place in Mosquitto's window for ever. With us it does not.",
    ),
    "retained to shared": (
        "4.8.2",
        "Mosquitto sends retained messages to a shared subscription that is made. We do not.",
    ),
    "other options": (
        "[MQTT-3.8.4-3]",
        "A subscription made again keeps its No Local and Retain As Published in Mosquitto. With us the new ones count.",
    ),
    "QoS 2 at PUBREL": (
        "4.6",
        "Mosquitto takes a QoS 2 message when its PUBREL comes, we with its PUBLISH: of several retained ones sent at once on a"
        " topic another may be the last, and another the first in a full window. Order is promised for each QoS alone.",
    ),
    "a second CONNECT": (
        "[MQTT-3.1.2-8]",
        "Mosquitto forgets will and session of a client that sends CONNECT twice. With us it is an error like others.",
    ),
    "no local and shared": (
        "[MQTT-3.8.3-4]",
        "Mosquitto takes a shared subscription with No Local, which is an error.",
    ),
    "members that are away": (
        "4.8.2",
        "Mosquitto gives members of a shared subscription that are away their turn. We give it to those that are there.",
    ),
    "wrong filters": (
        "4.7.1",
        "Mosquitto ends the connection for `a/#/b`, and takes `$share/name`. We say so in SUBACK (0x8F, 0x80 in 3.1.1).",
    ),
    "topics with $": (
        "4.7.2",
        "Mosquitto lets clients publish there, but for $SYS. We do not: a server should keep them for itself.",
    ),
    "full queues": (
        "none",
        "Mosquitto refuses the newest message, we drop the oldest; here neither gets so far.",
    ),
}
"""What is known of Mosquitto and would make everything behind it differ."""
USED: Counter[str] = Counter()
"""How often each exception made a difference."""


def _differ(ours: list[Any], theirs: list[Any]) -> Iterator[str]:
    for one, count in (Counter(ours) - Counter(theirs)).items():
        yield f"ours alone, {count}x: {one}"
    for one, count in (Counter(theirs) - Counter(ours)).items():
        yield f"Mosquitto alone, {count}x: {one}"


def _excepted(what: str, case: Case, ours: list[Any], theirs: list[Any]) -> list[Any]:
    for exception in EXCEPTIONS.values():
        if exception.what == what:
            before, theirs = theirs, exception.apply(case, ours, theirs)
            USED[exception.name] += before != theirs
    return theirs


def differences(twin: Twin, step: str, group: Callable[[Got], Any]) -> list[str]:
    """What a twin's two sides got that is not the same, and forgets it.

    Args:
        group: messages of one group must come in the same order.
    """
    found: list[str] = []
    ours, theirs = twin.ours.answers[:], twin.theirs.answers[:]
    for side in twin.sides:
        side.answers.clear()
    case = Case(twin, step, twin.copies)
    theirs = _excepted("answers", case, ours, theirs)
    if Counter(ours) != Counter(theirs):
        found.append(f"answers: ours {ours}, Mosquitto {theirs}")
    if twin.copies and (twin.hold is not None or not twin.connected):
        return found  # its window holds copies: what is behind them comes later
    mine, other = twin.ours.inbox[:], twin.theirs.inbox[:]
    repeats = [side.repeats[:] for side in twin.sides]
    for side in twin.sides:
        side.inbox.clear()
        side.repeats.clear()
    if twin.copies:
        # before and after its connection was lost, too
        mine, other = (merged([replace(one, again=False) for one in some]) for some in (mine, other))
        twin.copies = False
    else:
        found += _differ(repeats[0], _expiry(case, *repeats))
    other = _excepted("messages", case, mine, other)
    found += _differ(mine, other)
    if not found:
        for key in {group(one) for one in mine}:
            order = [[one.payload for one in some if group(one) == key] for some in (mine, other)]
            if order[0] != order[1]:
                found.append(f"order of {key}: ours {order[0]}, Mosquitto {order[1]}")
    return found
