"""Which browsers read slowly, and since when: what reaches them late is no fault of the hub's. Pure."""

__all__ = ["Slowness"]


class Slowness:
    """The browsers that read slowly.

    Args:
        settle: seconds that they need after it to catch up.
    """

    __slots__ = ("_all", "_one", "_settle")

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._one: dict[int, tuple[float, float]] = {}
        self._all = (float("inf"), float("-inf"))

    def add(self, browser: int | None, now: float, until: float) -> None:
        """It reads slowly from now until then; None: all do. A time that overlaps one before goes on from there."""
        began, ended = self._all if browser is None else self._one.get(browser, self._all)
        span = (min(began, now), max(ended, until)) if now <= ended + self._settle else (now, until)
        if browser is None:
            self._all = span
        else:
            self._one[browser] = span

    def since(self, browser: int, now: float) -> float | None:
        """When it began to read slowly; None: it does not, and has caught up."""
        began, ended = self._all
        late = began if now <= ended + self._settle else None
        if self._one and (one := self._one.get(browser)) is not None and now <= one[1] + self._settle:
            return one[0] if late is None else min(late, one[0])
        return late
