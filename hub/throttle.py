"""Who has tried too often to log in. Pure: times are seconds of any monotonic clock.

    Throttled
      (no attempt now; says how many seconds to wait)

Buckets of tokens (`hub.limits`), all of which must have one for an attempt:

    address              3 x burst, 3 x rate     whoever comes from there, and whatever they try; IPv6 by its /64
    subject at address   burst, rate             one account (or station), tried from there
    subject              10 x burst, 10 x rate   one account, tried from everywhere

A token is taken before any work is done, so that attempts at once do not slip through, and given back when it was right. Where
an account has logged in from, it is not held up by what others do elsewhere: nobody can lock its owner out.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from hub.limits import TokenBucket

__all__ = ["Attempt", "Throttle", "Throttled", "network_of"]

KEYS: Final = 50_000
"""Buckets of each kind that are kept, and places that accounts have logged in from."""
ADDRESS_FACTOR: Final = 3
SUBJECT_FACTOR: Final = 10
_PREFIX: Final = 64


class Throttled(Exception):
    """Too many attempts; nothing was tried.

    Attributes:
        seconds: until one more is allowed.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many attempts; wait {seconds:.1f} s")
        self.seconds = seconds


def network_of(address: str) -> str:
    """What counts as one address: an IPv4 address, the /64 of an IPv6 address; what is neither, as it is."""
    try:
        return str(IPv4Address(address))
    except AddressValueError:
        pass
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except AddressValueError:
        return address[:64]
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{int(parsed) >> (128 - _PREFIX):x}/{_PREFIX}"


class _Buckets:
    """The buckets of one kind; those that are full again are forgotten, and beyond `keys` the oldest."""

    def __init__(self, rate: float, burst: float, keys: int) -> None:
        self._rate, self._burst, self._keys = rate, burst, keys
        self._kept: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def wait(self, key: str, now: float) -> float:
        bucket = self._kept.get(key)
        return 0.0 if bucket is None else bucket.wait(now)

    def take(self, key: str, now: float) -> TokenBucket:
        bucket = self._kept.setdefault(key, TokenBucket(self._rate, self._burst))
        bucket.take(now)
        self._kept.move_to_end(key)
        # in the order of their last use: the first is full first, or nearly so
        while len(self._kept) > self._keys or next(iter(self._kept.values())).is_full(now):
            self._kept.popitem(last=False)
        return bucket


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that was allowed, and what it took; it stays taken unless one of these is called, once.

    Attributes:
        place: the subject and where it is tried from; None without a subject.
    """

    at_address: tuple[TokenBucket, ...] = ()
    at_subject: tuple[TokenBucket, ...] = ()
    place: tuple[str, str] | None = None
    _good: "OrderedDict[tuple[str, str], None]" = field(default_factory=OrderedDict, repr=False)

    @property
    def is_trusted(self) -> bool:
        """Whether the subject has succeeded from this place before."""
        return self.place in self._good

    def succeeded(self) -> None:
        """It was right: what a login took comes back, and from this place others' failures do not count any more."""
        if self.place is not None:
            _give(self.at_address + self.at_subject)
            self._good[self.place] = None
            self._good.move_to_end(self.place)
            if len(self._good) > KEYS:
                self._good.popitem(last=False)

    def undone(self) -> None:
        """Nothing came of it, neither right nor wrong: everything comes back."""
        _give(self.at_address + self.at_subject)


def _give(buckets: tuple[TokenBucket, ...]) -> None:
    for bucket in buckets:
        bucket.give()


class Throttle:
    """The buckets of all addresses and subjects.

    Args:
        burst: attempts at once on a subject from one address.
        rate: how many more a second; 0: no limit at all.
        keys: buckets of each kind that are kept.
    """

    def __init__(self, burst: float, rate: float, *, keys: int = KEYS) -> None:
        self._rate = rate
        self._addresses = _Buckets(rate * ADDRESS_FACTOR, burst * ADDRESS_FACTOR, keys)
        self._places = _Buckets(rate, burst, keys)
        self._subjects = _Buckets(rate * SUBJECT_FACTOR, burst * SUBJECT_FACTOR, keys)
        self._good: OrderedDict[tuple[str, str], None] = OrderedDict()

    def __len__(self) -> int:
        """Buckets that are not known to be full."""
        return len(self._addresses) + len(self._places) + len(self._subjects)

    def trust(self, address: str, subject: str) -> None:
        """The subject has proven itself from this place (see `Attempt.succeeded`)."""
        Attempt(place=(subject, network_of(address)), _good=self._good).succeeded()

    def take(self, now: float, address: str, subject: str | None = None) -> Attempt:
        """Asks for one attempt, before any work is done for it.

        Args:
            address: where it comes from.
            subject: what is tried, in one spelling; None: nothing that could be guessed.

        Raises:
            Throttled: nothing was taken.
        """
        if self._rate <= 0:
            return Attempt()
        network = network_of(address)
        wanted = [(self._addresses, network)]
        place = None if subject is None else (subject, network)
        if subject is not None:
            wanted.append((self._places, f"{network} {subject}"))
            if place not in self._good:
                wanted.append((self._subjects, subject))
        wait = max(buckets.wait(key, now) for buckets, key in wanted)
        if wait > 0:
            raise Throttled(wait)
        at_address, *at_subject = (buckets.take(key, now) for buckets, key in wanted)
        return Attempt((at_address,), tuple(at_subject), place, self._good)
