"""What a judge found, read from a real Recorder."""

from simulator.measuring.facts import FACTS
from simulator.measuring.measures import Recorder

__all__ = ["evidence", "findings"]

NEVER = {fact.name for fact in FACTS if fact.worst is not None}


def findings(recorder: Recorder) -> dict[str, int]:
    """The counts that a sound hub never shows, and what is in no table."""
    snapshot = recorder.take(0)
    recorder._evidence.update(snapshot.evidence)
    known = {fact.name for fact in FACTS}
    counted = {name: count for name, count in snapshot.counts.items() if name in NEVER or name not in known}
    for name in snapshot.counts:
        recorder._counts[name] += snapshot.counts[name]
    return counted


def evidence(recorder: Recorder, name: str) -> str:
    """The sentences of a finding."""
    return "\n".join(recorder._evidence.get(name, []))
