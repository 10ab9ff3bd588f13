"""Two peers in a room: a browser that invites a station, or another browser, exchanges signals with it, and leaves.

Each signal holds a text of its own, so that the one who hears it can tell that it is whole, and whose it is.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from devices.door import DoorClient, OperatorError
from simulator.browsers.requests import Requests
from simulator.world import World

__all__ = ["WITHIN", "RoomTalk", "StationTalk", "Talk", "Talker", "token_in"]

WITHIN: Final = 10.0
"""Seconds after which what a peer should have said will not come any more."""
STATION_PEER: Final = "station:"


class Talker(Protocol):
    """A browser, as talks see it."""

    number: int
    requests: Requests
    talks: "set[Talk]"

    @property
    def client(self) -> DoorClient | None:
        """Its connection, while it has one that is good to use."""

    @property
    def available(self) -> bool:
        """Whether others may talk to it."""


def token_in(content: Any) -> str | None:
    """The text of its own that a signal holds."""
    found = content.get("sdp", content.get("candidate")) if isinstance(content, dict) else None
    return found if isinstance(found, str) else None


class Talk:
    """What both kinds share. It is over by itself, however its peers behave.

    Args:
        world: whose Exchanges are told what must come.
        caller: the browser that begins it.
        token: a text no other talk of the run has.
    """

    def __init__(self, world: World, caller: Talker, token: str) -> None:
        self._world, self._caller, self._token = world, caller, token
        self._keys: list[tuple[str, Any]] = []
        self._room: str | None = None
        self._station: int | None = None
        self.over = False
        self._members: list[Talker] = []
        self._guard = world.schedule.at(world.schedule.real() + 2 * WITHIN, self.end)

    def begin(self, intended: float) -> None:
        """Makes the room."""
        self._join(self._caller)
        self._ask(self._caller, "create-room", None, self._made, intended=intended)

    def end(self) -> None:
        """Everybody leaves; what has not come is not waited for any more, and what should have is judged."""
        if self.over:
            return
        self.over = True
        self._guard.cancel()
        for talker in self._members:
            talker.talks.discard(self)
            if self._room is not None and talker.client is not None:
                talker.requests.ask(talker.client, "leave-room", {"roomId": self._room}, _nothing)
        self._excuse()

    def heard(self, who: Talker, event: str, data: Any, now: float) -> bool:
        """A push of a room reached a member; whether this talk waited for it."""
        raise NotImplementedError

    def lost(self, who: Talker) -> None:
        """A member's connection ended: nobody is to blame for what does not come now."""
        self.end()

    # ---- for the two kinds

    def _made(self, ack: Any) -> None:
        raise NotImplementedError

    def _join(self, talker: Talker) -> None:
        self._members.append(talker)
        talker.talks.add(self)

    def _fair(self) -> bool:
        """Whether all whom this needs are there."""
        return self._station_is_there() and not self.over

    def _station_is_there(self) -> bool:
        return self._station is None or self._world.presence.settled(self._station, self._world.schedule.real())

    def _ask(
        self, who: Talker, event: str, data: Any, then: Callable[[Any], None], *, intended: float | None = None
    ) -> None:
        client = who.client
        if client is None:
            self.end()
            return

        def answered(ack: Any) -> None:
            if isinstance(ack, OperatorError):
                self.end()
            elif not self.over:
                then(ack)

        there = [(talker, talker.client) for talker in self._members]

        def still() -> bool:
            return self._station_is_there() and all(talker.client is client for talker, client in there)

        who.requests.ask(client, event, data, answered, intended=intended, fair=self._fair, still=still)

    def _expect(self, kind: str, *what: Any, since: float | None = None) -> None:
        key = (self._token, *what)
        self._keys.append((kind, key))
        moment = self._world.schedule.real() if since is None else since
        self._world.exchanges.expect(kind, key, moment, WITHIN, station=self._station)
        self._guard.cancel()
        self._guard = self._world.schedule.at(moment + WITHIN + 1.0, self._late)

    def _met(self, kind: str, *what: Any, now: float) -> bool:
        if (kind, key := (self._token, *what)) not in self._keys:
            return False
        self._keys.remove((kind, key))
        self._world.exchanges.met(kind, key, now)
        return True

    def _excuse(self) -> None:
        keys, self._keys = set(self._keys), []
        if keys:
            self._world.exchanges.excuse(lambda kind, key: (kind, key) in keys)

    def _twice(self, event: str) -> None:
        self._world.recorder.error(f"browsers: {event} came without being sent, or twice")

    def _late(self) -> None:
        """Waited long enough: what is still expected counts as lost, as Exchanges finds by itself."""
        self._keys = []
        self.end()


class StationTalk(Talk):
    """A browser invites a station; once it is there, an offer, and its answer back."""

    def __init__(self, world: World, caller: Talker, token: str, station: int, invited: Callable[[], None]) -> None:
        super().__init__(world, caller, token)
        self._station, self._peer = station, f"{STATION_PEER}{world.station_id(station)}"
        self._done = invited

    def end(self) -> None:
        if not self.over:
            self._done()
        super().end()

    def _made(self, ack: Any) -> None:
        self._room = _room_of(ack)
        if self._room is None:
            self.end()
            return
        now = self._world.schedule.real()
        self._expect("invite", "join", since=now)
        data = {"stationId": self._peer.removeprefix(STATION_PEER), "roomId": self._room}
        self._ask(self._caller, "station-invite", data, _nothing)

    def heard(self, who: Talker, event: str, data: Any, now: float) -> bool:
        if event == "peer-joined" and data["peerId"] == self._peer and self._met("invite", "join", now=now):
            self._expect("signal", "answer", since=now)
            offer = {"type": "offer", "sdp": self._token}
            self._ask(self._caller, "offer", {"to": self._peer, "offer": offer}, _nothing)
            return True
        if event == "answer" and token_in(data["answer"]) == self._token and data["from"] == self._peer:
            if self._met("signal", "answer", now=now):
                self.end()
            else:
                self._twice(event)
            return True
        return False


class RoomTalk(Talk):
    """Two browsers: an offer, an answer, a candidate from each, and one sees the other leave."""

    def __init__(self, world: World, caller: Talker, token: str, partner: Talker) -> None:
        super().__init__(world, caller, token)
        self._partner = partner
        self._peers: dict[int, str] = {}

    def _made(self, ack: Any) -> None:
        self._room = _room_of(ack)
        if self._room is None or self._caller.client is None or self._partner.client is None:
            self.end()
            return
        for talker in (self._caller, self._partner):
            self._peers[talker.number] = talker.client.peer_id if talker.client is not None else ""
        self._join(self._partner)
        self._expect("signal", "peer-joined")
        self._ask(self._partner, "join-room", {"roomId": self._room}, _nothing)

    def heard(self, who: Talker, event: str, data: Any, now: float) -> bool:
        other = self._partner if who is self._caller else self._caller
        peer = self._peers.get(other.number)
        if event in ("peer-joined", "peer-left", "peer-disconnected"):
            # no room is named: it may be of another talk of the same two
            if data["peerId"] != peer or who is not self._caller or not self._met("signal", event, now=now):
                return False
            if event == "peer-joined":
                self._say(self._caller, "offer", {"type": "offer", "sdp": self._token})
            else:
                self._members = [self._caller]
                self.end()
            return True
        content = data.get("candidate" if event == "ice-candidate" else event)
        if token_in(content) != self._token or data["from"] != peer:
            return False
        if self._met("signal", event, other.number, now=now):
            self._next(who, event)
        else:
            self._twice(event)
        return True

    def _next(self, who: Talker, event: str) -> None:
        """What follows a signal that `who` heard."""
        if event == "offer":
            self._say(who, "answer", {"type": "answer", "sdp": self._token})
        elif event == "answer" or who is self._partner:
            candidate = {"candidate": self._token, "sdpMid": "0", "sdpMLineIndex": 0}
            self._say(who, "ice-candidate", candidate)
        else:
            self._expect("signal", "peer-left")
            self._partner.talks.discard(self)
            self._ask(self._partner, "leave-room", {"roomId": self._room}, _nothing)

    def _say(self, who: Talker, event: str, content: Any) -> None:
        to = self._partner if who is self._caller else self._caller
        self._expect("signal", event, who.number)
        field = "candidate" if event == "ice-candidate" else event
        self._ask(who, event, {"to": self._peers[to.number], field: content}, _nothing)


def _room_of(ack: Any) -> str | None:
    room = ack.get("roomId") if isinstance(ack, dict) else None
    return room if isinstance(room, str) else None


def _nothing(_ack: Any) -> None:
    """The ack says all."""
