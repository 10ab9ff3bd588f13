"""The members of the families of facts, as far as a run can have them: a rule on another one could never be measured."""

from difflib import get_close_matches
from typing import Final

__all__ = ["MEMBERS", "unknown_member"]

MEMBERS: Final = {
    # the requests of a browser
    "ack": frozenset(
        {
            *("ping", "create-room", "join-room", "leave-room", "offer", "answer", "ice-candidate"),
            *("get-online-stations", "station-watch", "station-invite", "station-cmd-request-stream"),
            *("station-request-status", "station-command"),
        }
    ),
    # how a connection of a station ends: by a fault that ends it, by its own will, or without a cause
    "presence.offline": frozenset(
        {
            *("abort", "half-open", "duplicate-client-id", "token-expiry", "late-will", "storm", "run"),
            *("goodbye", "lost"),
        }
    ),
    # the packets that answer one
    "broker": frozenset({"connack", "suback", "puback", "pingresp"}),
}
"""By family, without its `.*`."""


def unknown_member(name: str) -> str:
    """What is wrong with the member that the name of a fact has, such as `presence.offline.nosuch.p99`; empty: nothing."""
    family, _, member = name.rpartition(".")[0].rpartition(".")
    if (known := MEMBERS.get(family)) is None or member in known:
        return ""
    close = get_close_matches(member, sorted(known), n=1)
    return f"{family}.* has no {member}" + (
        f"; did you mean {close[0]}?" if close else f", but {', '.join(sorted(known))}"
    )
