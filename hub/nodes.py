"""Which hub nodes are alive, and which of them writes for a station (architecture.md section 4). Pure.

Rules:
    a node is alive from its record until the record is cleared (by its will) or not written again for NODE_TIMEOUT;
    of the nodes alive, the one with the highest hash(nid, id) owns an id: all nodes come to the same answer on their own.
"""

import hashlib
import secrets
from typing import Final

from devices.clock import Clock

__all__ = ["BEAT", "NODE_TIMEOUT", "Nodes", "new_node_id", "new_peer_id", "node_of"]

BEAT: Final = 5.0
"""Seconds between two writes of a node's record."""
NODE_TIMEOUT: Final = 15.0
"""Seconds without a beat after which a node is gone: a broker that restarts loses wills."""


def new_node_id() -> str:
    """A node id, new at every boot."""
    return secrets.token_hex(4)


def new_peer_id(nid: str) -> str:
    """A peer id, opaque to clients: it begins with its node, so that no directory of peers is needed."""
    return nid + secrets.token_hex(8)


def node_of(peer_id: str) -> str:
    """The node that holds a peer."""
    return peer_id[:8]


class Nodes:
    """The set of nodes alive; the own node always is.

    Args:
        nid: the own node id, new at every boot.
    """

    def __init__(self, nid: str, clock: Clock) -> None:
        self.nid = nid
        self._clock = clock
        self._heard: dict[str, float] = {}

    @property
    def alive(self) -> frozenset[str]:
        """Ids of all nodes alive, the own one among them."""
        return frozenset(self._heard) | {self.nid}

    def heard(self, nid: str) -> bool:
        """A node wrote its record. True when it is new."""
        new = nid != self.nid and nid not in self._heard
        if nid != self.nid:
            self._heard[nid] = self._clock.monotonic()
        return new

    def gone(self, nid: str) -> bool:
        """A node's record was cleared. True when it was alive."""
        return self._heard.pop(nid, None) is not None

    def refresh(self) -> None:
        """The own link was down: everybody gets another NODE_TIMEOUT to be heard."""
        self._heard = dict.fromkeys(self._heard, self._clock.monotonic())

    def silent(self) -> list[str]:
        """Nodes that were not heard for too long; they are gone now."""
        before = self._clock.monotonic() - NODE_TIMEOUT
        late = [nid for nid, at in self._heard.items() if at < before]
        for nid in late:
            del self._heard[nid]
        return late

    def owner(self, of: str) -> str:
        """The node that writes for `of`."""
        if not self._heard:
            return self.nid
        return max(self.alive, key=lambda nid: hashlib.blake2b(f"{nid}/{of}".encode(), digest_size=8).digest())

    def owns(self, of: str) -> bool:
        """Whether the own node writes for `of`."""
        return not self._heard or self.owner(of) == self.nid
