"""What browsers send, before aiortc sees it: session descriptions and candidates are anybody's text."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final

from aiortc import RTCIceCandidate
from aiortc.sdp import candidate_from_sdp

from devices.video import CameraError

__all__ = ["described_fragment", "fragment_of", "kinds_of", "line_of", "parse_candidate", "take_apart"]

MAX_SDP: Final = 65_536
MAX_SECTIONS: Final = 8
LONGEST_FRAGMENT: Final = 256
FRAGMENT: Final = f"[A-Za-z0-9+/]{{4,{LONGEST_FRAGMENT}}}"
MDNS: Final = re.compile(r"[A-Za-z0-9-]{1,63}\.local")


def described_fragment(description: Any, kind: str = "offer") -> str:
    """The ICE user name fragment of an offer, or of an answer. Raises CameraError: it is none."""
    sdp = description.get("sdp") if isinstance(description, Mapping) and description.get("type") == kind else None
    if not isinstance(sdp, str) or len(sdp) > MAX_SDP:
        raise CameraError(f"malformed {kind}")
    kinds, found = kinds_of(sdp), None
    for line in sdp.splitlines():
        found = found or re.fullmatch(f"a=ice-ufrag:({FRAGMENT})", line)
    if found is None or not 1 <= len(kinds) <= MAX_SECTIONS:
        raise CameraError(f"malformed {kind}")
    if not set(kinds) <= {"audio", "video"}:
        raise CameraError(f"the {kind} may hold audio and video only")
    return found[1]


def kinds_of(sdp: str) -> list[str]:
    """Of its sections; with the line ends that aiortc knows."""
    return [line.removeprefix("m=").partition(" ")[0] for line in sdp.splitlines() if line.startswith("m=")]


def fragment_of(candidate: Any) -> str | None:
    """The user name fragment that a candidate belongs to, if it says."""
    if not isinstance(candidate, Mapping):
        return None
    told = candidate.get("usernameFragment")
    if isinstance(told, str):
        return told[: LONGEST_FRAGMENT + 1]  # so much of it is no connection's already
    found = re.search(f" ufrag ({FRAGMENT})(?: |$)", line_of(candidate))
    return found[1] if found else None


def take_apart(sdp: str) -> tuple[str, list[str]]:
    """A description without its candidates, and those.

    All its sections are made to share the transport of the first, as browsers have them: aiortc loses a transport when a group
    names what is not there. Raises CameraError.
    """
    lines = sdp.splitlines()
    theirs = [line for line in lines if line.startswith("a=candidate:")]
    lines = [
        line for line in lines if line and not line.startswith(("a=candidate:", "a=end-of-candidates", "a=group:"))
    ]
    starts = [number for number, line in enumerate(lines) if line.startswith("m=")]
    mids = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        named = [line.removeprefix("a=mid:") for line in lines[start:end] if line.startswith("a=mid:")]
        if len(named) != 1 or named[0] in mids or not re.fullmatch(r"[\w-]{1,32}", named[0]):
            raise CameraError("malformed session description")
        mids += named
    lines.insert(starts[0], f"a=group:BUNDLE {' '.join(mids)}")
    return "\r\n".join(lines) + "\r\n", theirs


def line_of(candidate: Any) -> str:
    """The one field of a candidate that counts; empty: there is none, or it is too long to be one."""
    line = candidate.get("candidate") if isinstance(candidate, Mapping) else None
    return line if isinstance(line, str) and len(line) <= 1024 else ""


def parse_candidate(candidate: Any) -> RTCIceCandidate | None:
    """A candidate that can be tried, or None."""
    line = line_of(candidate)
    try:
        parsed = candidate_from_sdp(line.strip().removeprefix("a=").removeprefix("candidate:"))
        if not MDNS.fullmatch(parsed.ip):
            if "%" in parsed.ip:
                return None
            ipaddress.ip_address(parsed.ip)
    except (ValueError, AssertionError, IndexError):
        return None
    sound = parsed.protocol.lower() == "udp" and 0 < parsed.port < 65_536 and 0 <= parsed.priority < 2**32
    return parsed if sound and parsed.type in ("host", "srflx", "prflx", "relay") else None
