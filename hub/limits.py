"""How much one may ask for: a token bucket, pure. Times are seconds of any monotonic clock."""

__all__ = ["TokenBucket"]


class TokenBucket:
    """Allows `rate` a second in the long run and `burst` at once; `rate` 0: no limit."""

    __slots__ = ("_burst", "_full_at", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._full_at = float("-inf")

    def take(self, now: float) -> bool:
        """Takes one; False when there is none left."""
        if self._rate <= 0:
            return True
        # the bucket is full at `_full_at`; each take moves that by 1/rate, and an empty one is burst/rate away from full
        full_at = max(self._full_at, now) + 1 / self._rate
        if full_at - now > self._burst / self._rate + 1e-9:  # sums of 1/rate are not exact
            return False
        self._full_at = full_at
        return True

    def wait(self, now: float) -> float:
        """Seconds until there is one to take; 0: there is."""
        if self._rate <= 0:
            return 0.0
        missing = max(self._full_at, now) - now + (1 - self._burst) / self._rate
        return missing if missing > 1e-9 else 0.0

    def give(self) -> None:
        """Puts one back that was taken."""
        if self._rate > 0:
            self._full_at -= 1 / self._rate

    def is_full(self, now: float) -> bool:
        """Whether nothing is missing, so that it may as well be forgotten."""
        return self._full_at <= now
