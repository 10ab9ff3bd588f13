"""How much one may ask for: a token bucket, pure. Times are seconds of any monotonic clock."""

__all__ = ["TokenBucket"]


class TokenBucket:
    """Allows `rate` a second in the long run and `burst` at once; `rate` 0: no limit."""

    __slots__ = ("_each", "_full_at", "_whole")

    def __init__(self, rate: float, burst: float) -> None:
        # seconds until one, and until a whole burst, may be taken again; sums of 1/rate are not exact
        self._each = 1 / rate if rate > 0 else 0.0
        self._whole = burst * self._each + 1e-9
        self._full_at = float("-inf")

    def take(self, now: float) -> bool:
        """Takes one; False when there is none left."""
        each = self._each
        if not each:
            return True
        # the bucket is full at `_full_at`; each take moves that, and an empty one is a whole burst away from full
        full_at = (self._full_at if self._full_at > now else now) + each
        if full_at - now > self._whole:
            return False
        self._full_at = full_at
        return True

    def wait(self, now: float) -> float:
        """Seconds until there is one to take; 0: there is."""
        return max(0.0, max(self._full_at, now) + self._each - self._whole - now) if self._each else 0.0

    def give(self) -> None:
        """Puts one back that was taken."""
        self._full_at -= self._each

    def is_full(self, now: float) -> bool:
        """Whether nothing is missing, so that it may as well be forgotten."""
        return self._full_at <= now
