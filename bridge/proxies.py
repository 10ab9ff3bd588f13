"""Who a client is behind proxies: one rule for HTTP and WebSocket. Pure."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

__all__ = ["client_address"]


def client_address(peer: str, forwarded_for: str, trusted: frozenset[str]) -> str:
    """The address of a client.

    Args:
        peer: who holds the other end of the connection.
        forwarded_for: all `X-Forwarded-For` of the request, joined by commas; each proxy appended whom it heard from.
        trusted: addresses of proxies that are believed.
    """
    client = _address(peer) or peer
    known = _addresses(trusted)
    # from the right, while those who tell are proxies of ours: what stands left of that is the client's own claim
    for hop in reversed(forwarded_for.split(",")):
        if client not in known:
            break
        if hop.strip():
            told = _address(hop.strip())
            if told is None:
                break  # a proxy that keeps its secret, or no proxy at all
            client = told
    return client


def _address(text: str) -> str | None:
    """The one way to write that address, without a port; None: it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


@lru_cache(maxsize=8)
def _addresses(texts: frozenset[str]) -> frozenset[str]:
    return frozenset(_address(text) or text for text in texts)
