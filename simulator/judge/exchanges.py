"""Did everything that must lead to something do so: answers, streams, invitations, signals, calls? Pure: times in, findings out.

Times each kind under its own name, and finds `<kind>s.lost`.
"""

from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

from simulator.judge.wording import PLAIN, Wording
from simulator.measuring.measures import Recorder

__all__ = ["Exchanges"]

WORDS: Final = {
    "answer": "was asked for its status",
    "stream": "was asked for a stream",
    "invite": "was invited into a room",
    "signal": "should have had a signal",
    "call": "called",
}


class _Open(NamedTuple):
    began: float
    deadline: float
    station: int | None


class Exchanges:
    """What is waited for.

    Args:
        settle: seconds after a restart in which nothing counts yet.
        calm: whether a station has been online and undisturbed since a moment.
    """

    def __init__(
        self,
        recorder: Recorder,
        settle: float,
        *,
        calm: Callable[[int, float], bool] = lambda number, since: True,
        wording: Wording = PLAIN,
    ) -> None:
        self._recorder, self._settle, self._calm, self._words = recorder, settle, calm, wording
        self._open: dict[tuple[str, Hashable], _Open] = {}
        self._excused = float("-inf")

    def expect(self, kind: str, key: Hashable, now: float, within: float, *, station: int | None = None) -> None:
        """Something of that kind must come.

        Args:
            key: tells it from all others of its kind.
            now: when what leads to it was meant to happen: it is timed from there.
            within: seconds.
            station: the one that it depends on; disturbed, it excuses what is lost.
        """
        self._open[kind, key] = _Open(now, now + within, station)

    def met(self, kind: str, key: Hashable, now: float) -> bool:
        """It came; False: nobody waits for it, or not any more."""
        found = self._open.pop((kind, key), None)
        if found is None:
            return False
        self._recorder.time(kind, (now - found.began) * 1000)
        return True

    @property
    def open(self) -> int:
        """How many are waited for."""
        return len(self._open)

    def excuse(self, what: float | Callable[[str, Hashable], bool]) -> None:
        """Does not wait any more: for all that began until a moment, as a hub restarts; or for those that `what` names."""
        if isinstance(what, int | float):
            self._excused = max(self._excused, what)
            return
        for kind, key in [each for each in self._open if what(*each)]:
            del self._open[kind, key]

    def check(self, now: float) -> None:
        """Each second: what did not come in time."""
        late = [each for each, found in self._open.items() if found.deadline <= now]
        for kind, key in late:
            began, deadline, station = self._open.pop((kind, key))
            if began <= self._excused + self._settle or (station is not None and not self._calm(station, began)):
                continue
            who = "a browser" if station is None else self._words.station(station)
            said = f"{who} {WORDS.get(kind, kind)} at {self._words.at(began)}"
            self._recorder.found(f"{kind}s.lost", f"{said}; nothing had come of it at {self._words.at(deadline)}")
