"""THE table of facts: everything a simulation measures, what it means, and which of it a sound hub never shows.

Rules are checked against it, reports take units and meanings from it, and docs/simulate.md lists it.

A time is seven facts: `ack` gives `ack.count`, `ack.mean`, `ack.p50`, `ack.p90`, `ack.p99`, `ack.p999` and `ack.max`. A name that
ends in `.*` is a family: `ack.*` holds `ack.ping`, and so `ack.ping.p99`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Literal, NamedTuple

__all__ = [
    "FACTS",
    "PERCENTILES",
    "STATISTICS",
    "Fact",
    "Figure",
    "Witness",
    "all_names",
    "figure",
    "near",
    "time_named",
]

Kind = Literal["time", "count", "gauge"]
Better = Literal["less", "more"]
Witness = Literal["stations", "browsers", "watchers"]
"""Who must be there for a fact to be measured; watchers: browsers, or the observers of a broker alone."""

PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
STATISTICS: Final = ("count", "mean", *PERCENTILES, "max")
"""What each time is summed up by; all but `count` in milliseconds."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One row.

    Attributes:
        meaning: what it is, for people. Of a count: what "2 stations" did, the verb in the past ("were refused").
        unit: "ms", "%", "MB" or "" (a number).
        noun: what a count counts, singular and plural.
        worst: the default rule: what makes a run fail, or None.
        witnesses: who measures it, all of them together; none: the tester itself.
        better: which way is better, where either is.
        over: how a gauge's seconds become one fact, and `across` how its workers become one value.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    noun: tuple[str, str] = ("", "")
    worst: str | None = None
    better: Better | None = None
    witnesses: tuple[Witness, ...] = ()
    over: Literal["max", "mean"] = "max"
    across: Literal["sum", "max"] = "sum"

    @property
    def title(self) -> str:
        """What it means, as a phrase of its own: "stations that were refused"."""
        return f"{self.noun[1]} that {self.meaning}" if self.kind == "count" else self.meaning

    def sentence(self, count: int) -> str:
        """A count in words: "3 stations were refused", "there were no stations that were refused"."""
        if not count:
            return f"there were no {self.title}"
        if count > 1:
            return f"{count:,} {self.noun[1]} {self.meaning}"
        singular = f"was {self.meaning[5:]}" if self.meaning.startswith("were ") else self.meaning
        return f"{count} {self.noun[0]} {singular}"


class Figure(NamedTuple):
    """What one name stands for: a fact, and of a time one of its statistics."""

    fact: Fact
    statistic: str | None

    @property
    def unit(self) -> str:
        """Its unit; the count of a time has none."""
        return "" if self.statistic == "count" else self.fact.unit

    @property
    def better(self) -> Better | None:
        """Which way is better; how many were timed is neither."""
        return None if self.statistic == "count" else self.fact.better


def _time(name: str, meaning: str, witnesses: tuple[Witness, ...]) -> Fact:
    return Fact(name, "time", meaning, "ms", better="less", witnesses=witnesses)


def _count(name: str, nouns: str, meaning: str, witnesses: tuple[Witness, ...], better: Better | None = None) -> Fact:
    singular, _, plural = nouns.partition("/")
    return Fact(name, "count", meaning, "", (singular, plural or f"{singular}s"), None, better, witnesses)


def _never(name: str, nouns: str, meaning: str, witnesses: tuple[Witness, ...]) -> Fact:
    """A count that is 0 with a sound hub."""
    singular, _, plural = nouns.partition("/")
    return Fact(name, "count", meaning, "", (singular, plural or f"{singular}s"), f"{name} > 0", "less", witnesses)


_STATUS: Final = "status/statuses"
_STATIONS: Final[tuple[Witness, ...]] = ("stations",)
_BROWSERS: Final[tuple[Witness, ...]] = ("browsers",)
_WATCHERS: Final[tuple[Witness, ...]] = ("watchers",)
_BOTH: Final[tuple[Witness, ...]] = ("stations", "browsers")
"""What a browser is told of stations, or has them do."""
_SEEN: Final[tuple[Witness, ...]] = ("stations", "watchers")

FACTS: Final[tuple[Fact, ...]] = (
    # browsers' requests
    _time("ack", "from any request of a browser until its ack", _BROWSERS),
    _time("ack.*", "the same of one event, such as ack.station-command", _BROWSERS),
    _time("answer", "from station-request-status until the station's status came", _BOTH),
    _time("stream", "from a request for a stream until it was ready", _BOTH),
    _time("invite", "from an invitation until the station was in the room", _BOTH),
    _time("signal", "of an offer, answer or candidate, from peer to peer", _BROWSERS),
    _time("call", "from a station's call until a browser heard it", _BOTH),
    _time("login", "of a browser: from the start of its login until it was connected", _WATCHERS),
    _never("ack.late", "ack", "came later than the scenario allows", _BROWSERS),
    _never("ack.missing", "ack", "never came", _BROWSERS),
    _never("ack.wrong", "ack", "were not of the shape agreed on", _BROWSERS),
    _never("ack.errors", "ack", "carried an error without a cause", _BROWSERS),
    _never("answers.lost", "status request", "were never answered", _BOTH),
    _never("streams.lost", "stream request", "never led to a stream", _BOTH),
    _never("invites.lost", "invitation", "never brought the station into the room", _BOTH),
    _never("signals.lost", "signal", "never reached the other peer", _BROWSERS),
    _never("calls.lost", "call", "were heard by no browser", _BOTH),
    _count("actions.skipped", "action", "were not tried, as the browser was not connected at that time", _BROWSERS, "less"),
    # stations and their presence
    _time("connect", "of a station: from opening its connection until it was subscribed", _STATIONS),
    _time("recovery", "from a lost connection until the station was connected again", _STATIONS),
    _time("broker.*", "from what a station asked of the broker until its answer, by kind, such as broker.puback", _STATIONS),
    _time("presence.online", "from a station's birth message until a browser was told that it is online", _BOTH),
    _time("presence.offline.*", "from a station's end until a browser was told so, by cause, such as goodbye or abort", _BOTH),
    _count("stations.started", "station", "were started", _STATIONS),
    _never("broker.late", "answer/answers", "came later from the broker than the scenario allows", _STATIONS),
    _never("stations.unanswered", "question/questions", "were asked by stations and never answered by the broker", _STATIONS),
    _never("stations.unreachable", "station login", "met nobody who listened", _STATIONS),
    _never("stations.missing", "station", "were not there at the end, and should have been", _STATIONS),
    _never("stations.refused", "station login", "were refused", _STATIONS),
    _never("stations.disconnects", "station connection", "were lost without a cause", _STATIONS),
    _count("stations.reconnects", "time/times", "a station connected again", _STATIONS),
    _never("stations.missedOnline", "station", "were online without a browser being told in time", _BOTH),
    _never("stations.missedOffline", "station", "were gone without a browser being told in time", _BOTH),
    _never("stations.falselyOffline", "station", "were called offline while connected", _BOTH),
    _never("stations.falselyOnline", "station", "were called online while gone", _BOTH),
    _never("stations.repeated", "presence message", "said what had just been said", _BOTH),
    _never("stations.lost", "station", "stayed connected, but no status came to a browser any more", _SEEN),
    Fact("stations.connected", "gauge", "stations connected at a time, at most", better="more", witnesses=_STATIONS),
    Fact("stations.seen", "gauge", "stations that browsers believed online at a time, on average of the browsers, at most",
         better="more", witnesses=_BOTH),
    # browsers
    _count("browsers.started", "browser", "were started", _WATCHERS),
    _never("browsers.unreachable", "browser login", "met nobody who listened", _WATCHERS),
    _never("browsers.missing", "browser", "were not there at the end, and should have been", _WATCHERS),
    _never("browsers.refused", "browser login", "were refused", _WATCHERS),
    _never("browsers.disconnects", "browser connection", "were lost without a cause", _WATCHERS),
    _never("browsers.kicked", "browser", "were sent away by the hub", _BROWSERS),
    _count("browsers.reconnects", "time/times", "a browser connected again", _WATCHERS),
    Fact("browsers.connected", "gauge", "browsers connected at a time, at most", better="more", witnesses=_WATCHERS),
    # statuses
    _time("status.delay", "from the intended sending of a status until a browser had it", _SEEN),
    _time("status.age", "age of the newest status that a browser has of a station, looked at each second", _SEEN),
    _count("status.sent", _STATUS, "were sent by stations", _STATIONS),
    _count("status.received", _STATUS, "were received by browsers", _SEEN, "more"),
    _never("status.lost", _STATUS, "never reached a browser", _SEEN),
    _never("status.duplicated", _STATUS, "reached a browser twice", _SEEN),
    _never("status.reordered", _STATUS, "reached a browser after a newer one", _SEEN),
    _never("status.wrong", _STATUS, "were not what the station had sent", _SEEN),
    _count("status.superseded", _STATUS, "were replaced by a newer one before the hub passed them on, as it may", _SEEN),
    # commands
    _count("commands.sent", "command", "were sent by browsers", _BOTH),
    _count("commands.done", "command", "were acknowledged as done", _BOTH, "more"),
    _count("commands.failed", "command", "were acknowledged as failed", _BOTH, "less"),
    _count("commands.executed", "command", "were carried out by stations", _BOTH, "more"),
    _never("commands.duplicated", "command", "were carried out twice", _BOTH),
    _never("commands.expiredExecuted", "command", "were carried out after their deadline", _BOTH),
    _never("commands.phantom", "command", "were acknowledged as done, and never carried out", _BOTH),
    _never("commands.wrong", "command", "were carried out by another station than the one meant", _BOTH),
    _never("commands.refusedDuplicates", "command", "reached a station a second time, which refused it", _BOTH),
    # everything else
    _never("errors", "other error", "were counted", ()),
    # the tester itself
    _time("tester.lag", "how late the tester's own timers ran: what it measures cannot be more exact", ()),
    Fact("tester.cpu", "gauge", "processor time of all workers, in percent of one core, on average", "%", better="less",
         over="mean"),
    Fact("tester.memory", "gauge", "resident memory of all workers, at most", "MB", better="less"),
)  # fmt: skip

_MEMBER: Final = re.compile(r"[a-z]+(-[a-z]+)*")
"""An event or a cause."""
_BY_NAME: Final = {fact.name: fact for fact in FACTS}


def figure(name: str) -> Figure | None:
    """What the name of a fact stands for, such as `ack.ping.p99` or `status.lost`; None: there is no such fact."""
    fact = _BY_NAME.get(name)
    if fact is not None and fact.kind != "time":
        return Figure(fact, None)
    time, _, statistic = name.rpartition(".")
    if statistic not in STATISTICS:
        return None
    fact = time_named(time)
    return None if fact is None else Figure(fact, statistic)


def time_named(name: str) -> Fact | None:
    """The row of a time, which for `ack.ping` is that of its family."""
    fact = _BY_NAME.get(name)
    if fact is None:
        family, _, member = name.rpartition(".")
        fact = _BY_NAME.get(f"{family}.*") if _MEMBER.fullmatch(member) else None
    return fact if fact is not None and fact.kind == "time" and not name.endswith("*") else None


def all_names() -> Iterator[str]:
    """All names of facts; of families the pattern, such as `ack.*.p99`."""
    for fact in FACTS:
        if fact.kind == "time":
            yield from (f"{fact.name}.{statistic}" for statistic in STATISTICS)
        else:
            yield fact.name


def near(name: str, others: Iterable[str] = ()) -> list[str]:
    """Up to three names of facts, or of `others`, that look like this one."""
    known = {each.lower(): each for each in (*all_names(), *others) if "*" not in each}
    return [known[each] for each in get_close_matches(name.lower(), known, n=3, cutoff=0.6)]
