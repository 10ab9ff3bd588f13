"""The native door: plain JSON over WebSocket, `/ws` for everybody and `/ws/admin` for admins (contract.md section 1)."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson

from bridge import protocol
from bridge.connection import PING_INTERVAL, text_frame
from bridge.dispatch import dispatch, read_wanted
from bridge.door import Door, Handshake, Socket
from bridge.errors import ADMIN_ONLY, CLOSE_REFUSED, TOO_MANY_EVENTS, UNAUTHORIZED, ConnectRefused, EventError
from bridge.events import ADMIN_EVENTS, EVENTS, Event
from bridge.gateway import EVERYTHING, Gateway
from bridge.handshake import bearer
from bridge.monitor import Monitor
from bridge.peer import Peer
from hub.auth import Identity

__all__ = ["AUTH_WITHIN", "NativeDoor", "NativePeer"]

AUTH_WITHIN: Final = 5.0
"""Seconds for the first frame `auth` of a client that brought no token."""


class NativePeer(Peer):
    """A peer that speaks `bridge.protocol`."""

    @staticmethod
    def frame(event: str, data: bytes) -> bytes:
        return text_frame(protocol.push(event, data))


class NativeDoor(Door):
    """One native connection.

    Args:
        monitor: given for `/ws/admin`: the connection is an admin's, and gets `monitor-update`.
    """

    def __init__(self, gateway: Gateway, handshake: Handshake, monitor: Monitor | None = None) -> None:
        self._gateway, self._monitor = gateway, monitor
        # the first present wins, even if bad
        header, query = bearer(handshake.headers), handshake.query.get("token")
        self._token = header if header is not None else query
        self._events: Mapping[str, Event] = EVENTS if monitor is None else ADMIN_EVENTS
        self._wire: Socket
        # while the issuer of a token is asked for its keys: what came meanwhile, with the read that was under way
        self._early: list[bytes | str] | None = None
        self._answered = self._gone = False
        self._peer: NativePeer | None = None
        self._deadline: asyncio.TimerHandle | None = None
        # of the frame `auth`: what it says beside the token, and what to tell where that was malformed
        self._wanted = EVERYTHING
        self._complaint: bytes | None = None

    def opened(self, wire: Socket) -> None:
        self._wire = wire
        if self._token is not None:
            self._login(self._token)
        else:
            self._deadline = asyncio.get_running_loop().call_later(AUTH_WITHIN, self._refuse, UNAUTHORIZED)

    def received(self, message: bytes | str) -> None:
        peer = self._peer
        if self._early is not None:
            self._early.append(message)
            return
        try:
            request_id, event, data = protocol.parse(message)
        except EventError as malformed:
            if peer is None:
                self._refuse(UNAUTHORIZED)
                return
            allowed = peer.may_send()
            failure = malformed if allowed else EventError(*TOO_MANY_EVENTS)
            peer.send_frame(text_frame(protocol.failure(None, failure)))
            return
        if peer is None:
            self._introduced(request_id, data if event == "auth" and isinstance(data, dict) else {})
            return

        def answer(value: bytes, error: EventError | None) -> None:
            if error is not None:
                peer.send_frame(text_frame(protocol.failure(request_id, error)))
            elif request_id is not None:
                peer.send_frame(text_frame(protocol.ack(request_id, value)))

        dispatch(self._gateway, peer, event, data, answer, self._events)

    def writable(self) -> None:
        if self._peer is not None:
            self._gateway.writable(self._peer)

    def closed(self, code: int) -> None:
        self._stop_waiting()
        self._gone = True
        if self._peer is not None:
            self._gateway.disconnect(self._peer)

    def _introduced(self, request_id: int | float | str | None, data: Mapping[str, Any]) -> None:
        """The first frame came; if it is not `auth`, without data."""
        self._wanted, malformed = read_wanted(data)
        if malformed is not None:
            self._complaint = text_frame(protocol.failure(request_id, malformed))
        token = data.get("token")
        self._login(token if isinstance(token, str) else "")

    def _login(self, token: str) -> None:
        self._stop_waiting()
        self._gateway.login(token, self._logged_in)
        if not self._answered:
            self._early = []
            self._wire.pause()

    def _logged_in(self, identity: Identity | ConnectRefused) -> None:
        self._answered = True
        if self._gone:
            return
        self._admit(identity)
        early, self._early = self._early, None
        if early is not None and self._peer is not None:
            for message in early:
                self.received(message)
            self._wire.resume()

    def _admit(self, identity: Identity | ConnectRefused) -> None:
        if isinstance(identity, ConnectRefused):
            self._refuse(str(identity))
            return
        if self._monitor is not None and not identity.has("admin"):
            self._refuse(ADMIN_ONLY)
            return
        gateway, admin = self._gateway, self._monitor is not None
        peer = self._peer = gateway.new_peer(NativePeer, identity, self._wire, admin=admin)
        self._wire.trust()
        peer.send_frame(peer.frame("welcome", _welcome(peer)))
        if self._complaint is not None:
            peer.send_frame(self._complaint)
        gateway.connect(peer, self._wanted)
        if self._monitor is not None:
            peer.push("monitor-update", self._monitor.update())

    def _refuse(self, reason: str) -> None:
        self._stop_waiting()
        self._wire.close(CLOSE_REFUSED, reason)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _welcome(peer: Peer) -> bytes:
    who = peer.identity
    # a token issued elsewhere may hold half a surrogate pair, which is no text
    nickname = who.nickname.encode(errors="replace").decode()
    me = {"peerId": peer.peer_id, "heartbeat": round(PING_INTERVAL)}
    return orjson.dumps(me | {"role": who.role, "userId": who.user_id, "nickname": nickname})
