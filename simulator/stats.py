"""What a simulation counts and times, in bounded memory."""

import math
import time
from collections import Counter

__all__ = ["Histogram", "Stats"]

GROWTH = 1.05


class Histogram:
    """Durations from 0.01 ms to 100 s in buckets that grow by 5 %: so right are the percentiles."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    def record(self, ms: float) -> None:
        """One duration."""
        self._buckets[math.ceil(math.log(min(max(ms, 0.01), 100_000.0), GROWTH))] += 1

    def percentile(self, percent: float) -> float | None:
        """Milliseconds that `percent` of all stayed within; None when there were none."""
        seen, wanted = 0, self._buckets.total() * percent / 100
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return round(GROWTH**bucket, 2)
        return None


class Stats:
    """Counts and times, as `report` explains them; `errors` counts each kind."""

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()
        self.start()

    def start(self) -> None:
        """All are connected: measures anew; errors are kept."""
        self.sent = self.received = 0
        self.batch_delay, self.ack, self.answer = Histogram(), Histogram(), Histogram()
        self.began = time.monotonic()
