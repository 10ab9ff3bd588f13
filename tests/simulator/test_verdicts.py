"""A hub that is broken is found to be, by the right fact and with evidence; a sound one is not: real runs, all at a time."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import uvloop

from simulator.plan import Credentials
from tests.mosquitto import mosquitto
from tests.simulator.broken import WHOLE, Break
from tests.simulator.broken_acts import ACTS, TIMED
from tests.simulator.trials import BROWSERS, STATIONS, Outcome, Trial, mix, run, run_at

PING: Final = {"mix": mix("ping"), "think": (1.0, 2.0)}
LATE: Final[Mapping[str, Any]] = {"late": 2.0}
SELDOM: Final[Mapping[str, Any]] = {"stations": {"interval": 60.0}, "scenario": {"fail_if": []}}
OF_REQUESTS: Final = "answers.lost streams.lost invites.lost signals.lost"
"""What a request leads to is waited for as long as its ack: either may be missed first."""
QUICK: Final = {"think": (0.1, 0.3)}
NONE: Final = {"count": 0}


def _trial(kind: str, *finds: str, may: str = "", name: str = "", **options: Any) -> Trial:
    """One break: `kind`, with the options of Break that are given; the others are the trial's."""
    of_break = {key: options.pop(key) for key in ("share", "most", "seconds", "what", "value") if key in options}
    name = name or (f"{kind}-{of_break['what'].replace('/', '-')}" if "what" in of_break else kind)
    return Trial(name, (Break(kind, **of_break),), finds, frozenset(may.split()), **options)


def _doing(*actions: str) -> dict[str, Any]:
    return {"mix": mix(*actions)}


BROKEN: Final = [
    # who is let in
    _trial("refuse-station", "stations.refused", most=4, exact=True, after=0, browsers=PING),
    _trial("refuse-browser", "browsers.refused", most=4, exact=True, after=0, browsers=PING),
    # statuses on their way to the hub
    _trial("drop-status", "status.lost", share=0.3, may="status.age.max", browsers=PING),
    _trial("reorder-status", "status.lost", share=0.3, may="status.age.max status.delay.p99", browsers=PING),
    _trial("delay-status", "status.delay.p99", "status.age.max", seconds=3.5, browsers=PING, steady=8,
           may="status.lost stations.falselyOnline stations.missedOffline"),
    # commands and replies
    _trial("drop-reply", "ack.errors", share=0.5, browsers=_doing("command")),
    _trial("drop-command", "ack.errors", share=0.5, exact=True, browsers=_doing("command")),
    _trial("drop-command", "invites.lost", what="join-room", exact=True, browsers=_doing("invite")),
    _trial("drop-command", "streams.lost", what="start-stream", exact=True, browsers=_doing("stream")),
    # the next status of its own accord is an answer, too: late, or none where stations report seldom
    _trial("drop-command", "answer.p99", what="report-status", name="late-answers", browsers=_doing("status"),
           scenario={"fail_if": ["answer.p99 > 1s"]}),
    # long after the last station came: its first status answers who asked meanwhile, and who asked before it came is owed nothing
    _trial("drop-command", "answers.lost", what="report-status", exact=True, browsers=_doing("status"), after=4, steady=8,
           **SELDOM),
    _trial("delay-command", "ack.late", seconds=2.5, exact=True, scenario=LATE, browsers=_doing("command")),
    _trial("duplicate-command", "commands.refusedDuplicates", what="open-gate", share=0.5, exact=True),
    _trial("repeat-command", "commands.duplicated", what="open-gate", share=0.5, exact=True),
    _trial("repeat-request", "commands.duplicated", what="station-command", share=0.5, exact=True,
           browsers=_doing("command")),
    _trial("late-command", "commands.expiredExecuted", seconds=0.4, most=4, exact=True, may="ack.errors",
           browsers={"command_timeout": 2.0}, steady=9),
    _trial("misroute-command", "commands.wrong", share=0.5, exact=True, may="ack.errors"),
    _trial("phantom-command", "commands.phantom", share=0.5, exact=True),
    _trial("reorder-commands", "ack.errors", browsers={"command_timeout": 1.5, **_doing("command")}),
    # what stations say besides
    _trial("drop-call", "calls.lost", share=0.5, stations={"calls": 900}, browsers=PING, steady=16),
    _trial("drop-goodbye", "stations.missedOffline", browsers=PING),
    _trial("drop-from-station", "signals.lost", what="signal/out", exact=True, browsers=_doing("invite")),
    _trial("drop-from-station", "streams.lost", what="stream", exact=True, browsers=_doing("stream")),
    _trial("drop-from-station", "invites.lost", what="room", browsers=_doing("invite")),
    _trial("drop-to-station", "signals.lost", what="signal/in", may="", browsers=_doing("invite")),
    # requests and acks
    _trial("drop-request", "ack.missing", share=0.3, may=OF_REQUESTS),
    _trial("drop-ack", "ack.missing", share=0.3, may=OF_REQUESTS),
    _trial("delay-ack", "ack.late", seconds=2.5, scenario=LATE),
    _trial("alter-ack", "ack.wrong", share=0.3, exact=True),
    _trial("refuse-ack", "ack.errors", share=0.3),
    # pushes
    _trial("drop-push", "calls.lost", what="station-incoming-call", stations={"calls": 900}, browsers=PING, steady=16),
    _trial("drop-push", "stations.missedOnline", what="station-connected", after=0, browsers=PING, may="stations.repeated"),
    _trial("drop-push", "stations.missedOffline", what="station-disconnected", browsers=PING),
    _trial("drop-push", "streams.lost", what="station-stream-ready", exact=True, browsers=_doing("stream")),
    _trial("drop-push", "answers.lost", what="station-status-update", exact=True, browsers=_doing("status")),
    _trial("drop-push", "invites.lost", "signals.lost", what="peer-joined"),
    _trial("drop-push", "signals.lost", what="offer", exact=True),
    _trial("drop-push", "signals.lost", what="answer", exact=True),
    _trial("drop-push", "signals.lost", what="ice-candidate", exact=True),
    _trial("duplicate-push", "stations.repeated", what="station-connected", after=0, browsers=PING),
    _trial("duplicate-push", "stations.repeated", what="station-disconnected", browsers=PING),
    _trial("delay-push", "stations.missedOnline", what="station-connected", seconds=5.5, after=0, browsers=PING,
           steady=9),
    _trial("delay-push", "stations.missedOffline", what="station-disconnected", seconds=9.0, browsers=PING),
    # inverted, "connected" is a "disconnected" of who is known to be gone, and the news itself never comes
    _trial("invert-presence", "stations.repeated", "stations.missedOnline", "stations.falselyOnline", after=0,
           may="stations.missedOffline",           browsers=PING),
    _trial("forge-disconnected", "stations.falselyOffline", seconds=1.0, browsers=PING,
           may="stations.repeated stations.missedOnline"),
    _trial("forge-connected", "stations.falselyOnline", seconds=0.7, browsers=PING,
           may="stations.repeated stations.missedOffline",
           stages=({"name": "half go", "duration": 0.5, "shape": "linear", "stations": "50%"},
                   {"name": "steady", "duration": 6})),
    # batches
    # further apart than two flushes by more than a tester may be late: of two that are closer, the first is owed to nobody
    _trial("drop-batched", "status.lost", share=0.4, exact=True, may="status.age.max", browsers=PING,
           stations={"interval": 2.5}, after=5, steady=10),
    _trial("duplicate-batched", "status.duplicated", share=0.3, exact=True, browsers=PING),
    _trial("reorder-batched", "status.reordered", share=0.3, may="status.lost status.age.max status.delay.p99",
           browsers=PING),
    _trial("freeze-batched", "stations.lost", may="status.lost status.age.max", stations={"interval": 0.5}, browsers=PING,
           steady=9),
    _trial("replay-batched", "status.duplicated", may="stations.lost status.lost status.age.max", browsers=PING),
    _trial("misname-batched", "status.wrong", share=0.3, browsers=PING,
           may="status.lost status.duplicated status.reordered status.age.max"),
    # connections
    *(_trial(f"{how}-station", "stations.disconnects", seconds=1.0, most=3, exact=True) for how in ("reset", "end")),
    *(_trial(f"{how}-browser", "browsers.disconnects", seconds=1.0, most=3, exact=True) for how in ("reset", "end")),
    _trial("half-open-station", "stations.unanswered", seconds=1.0, most=2, stations={"keepalive": 2},
           may="status.lost stations.falselyOffline stations.missing status.age.max ack.errors"),
    # nobody ends that connection: the browser finds out by what does not come
    _trial("half-open-browser", "ack.missing", seconds=1.0, most=1, may="status.lost stations.lost stations.missedOffline "
           "status.age.max signals.lost answers.lost streams.lost invites.lost"),
    _trial("delay-all", "ack.late", "broker.late", seconds=1.2, scenario=LATE, may="status.age.max status.delay.p99"),
    # with nobody but stations to see it
    _trial("delay-all", "broker.late", seconds=1.2, scenario=LATE, browsers=NONE, name="late-unwatched"),
    _trial("hang", "stations.unanswered", browsers=NONE, name="hang-unwatched"),
    _trial("hang", "stations.unanswered", browsers=NONE, stations={"legacy": 1.0}, name="hang-legacy"),
    _trial("hang", "stations.unanswered", browsers=NONE, stations={"goodbye": False}, name="hang-no-goodbye"),
    _trial("hang", "stations.unanswered", browsers=NONE, stations={"keepalive": 2}, steady=15, name="hang-for-long",
           may="stations.missing broker.late"),
    _trial("die", "stations.disconnects", "stations.unreachable", "stations.missing", browsers=NONE, name="die-unwatched"),
    _trial("hang", "stations.unanswered", "ack.missing", browsers=_doing("ping"),
           may="status.lost stations.lost status.age.max stations.missedOffline browsers.unreachable browsers.missing "
           "browsers.disconnects stations.missing"),
    _trial("die", "stations.disconnects", "stations.unreachable", "stations.missing", "browsers.disconnects",
           "browsers.unreachable", "browsers.missing"),
]  # fmt: skip

FAULTS: Final = [
    {"kind": "abort", "count": 2, "at": 0.0},
    {"kind": "half-open", "count": 1, "at": 0.5, "lasts": 4},
    {"kind": "slow-reader", "count": 1, "at": 1.0, "lasts": 2},
    {"kind": "duplicate-client-id", "count": 1, "at": 1.5, "lasts": 1},
    {"kind": "clock-skew", "count": 1, "at": 2.0, "skew": 20, "lasts": 2},
    {"kind": "late-will", "count": 1, "at": 2.5},
    {"kind": "token-expiry", "count": 1, "at": 3.0, "lasts": 3},
    {"kind": "storm", "share": 0.5, "at": 6.0, "jitter": 1},
    {"kind": "abort", "who": "browsers", "count": 1, "at": 0.2},
    {"kind": "half-open", "who": "browsers", "count": 1, "at": 1.2, "lasts": 2},
    {"kind": "slow-reader", "who": "browsers", "count": 1, "at": 3.2, "lasts": 2},
    {"kind": "token-expiry", "who": "browsers", "count": 1, "at": 4.0, "lasts": 3},
    {"kind": "storm", "who": "browsers", "share": 0.5, "at": 7.0, "jitter": 1},
]
"""Each kind that a scenario may have, but for restarts."""
FAULTY: Final[Mapping[str, Any]] = {
    "stations": {"legacy": 0.25, "keepalive": 2, "calls": 300},
    "stages": ({"name": "faults", "duration": 9, "faults": FAULTS},),
    "scenario": {"fail_if": []},
}

SOUND: Final = [
    Trial("sound"),
    Trial("sound-watching-all", browsers={"watch": "all", "socketio": 1.0} | QUICK),
    Trial("sound-often", stations={"interval": 0.5, "calls": 900, "legacy": 0.25}),
    *(Trial(f"sound-faults-{seed}", **{**FAULTY, "scenario": {"fail_if": [], "seed": seed}}) for seed in (1, 2)),
    # a sound hub makes up for these
    _trial("duplicate-status"),
    _trial("drop-birth", after=0, browsers=PING),
    # nor is this looked for: who asks takes the first ack
    _trial("duplicate-ack"),
]  # fmt: skip

IN_SPITE_OF_FAULTS: Final = [
    _trial("drop-batched", "status.lost", name="faults-drop-batched", share=0.2, **FAULTY),
    _trial("phantom-command", "commands.phantom", name="faults-phantom-command", share=0.5, **FAULTY),
    _trial("alter-ack", "ack.wrong", name="faults-alter-ack", share=0.2, **FAULTY,
           may="stations.missedOnline stations.repeated"),
]  # fmt: skip

TRIALS: Final = {trial.name: trial for trial in (*BROKEN, *SOUND, *IN_SPITE_OF_FAULTS)}


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Of all trials that are asked for: they run at a time, which takes as long as the longest."""
    calls = [getattr(item, "callspec", None) for item in request.session.items if item.path == request.path]
    names = {call.params["name"] for call in calls if call is not None and "name" in call.params}
    chosen = [trial for name, trial in TRIALS.items() if name in names]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(chosen, tmp_path_factory.mktemp("hubs")))


@pytest.mark.parametrize("name", [trial.name for trial in (*BROKEN, *IN_SPITE_OF_FAULTS)])
def test_what_is_broken_is_found_and_named(outcomes: dict[str, Outcome], name: str) -> None:
    """The right facts fail, each with a sentence that names who met it; no others do."""
    trial, outcome = TRIALS[name], outcomes[name]
    kind = trial.breaks[0].kind
    assert kind == "delay-all" or outcome.done[kind] > 0
    assert not outcome.verdict.passed
    found = outcome.found
    assert set(trial.finds) <= found.keys(), found
    assert found.keys() <= {*trial.finds, *trial.may}, found
    for fact in trial.finds:
        assert found[fact]
        _assert_victims(outcome, kind, found[fact])
    if trial.exact:
        assert outcome.facts[trial.finds[0]] == outcome.done[kind], found


@pytest.mark.parametrize("name", [trial.name for trial in SOUND])
def test_nothing_is_found_where_nothing_is_broken(outcomes: dict[str, Outcome], name: str) -> None:
    """Nor where a scenario's faults strike, and a hub does what it can."""
    outcome = outcomes[name]
    assert outcome.found == {}
    assert outcome.errors == {}
    assert outcome.verdict.passed


def _assert_victims(outcome: Outcome, kind: str, evidence: tuple[str, ...]) -> None:
    """Each sentence that names a station names one to whom it was done, where that was to stations."""
    victims = outcome.ids.intersection(outcome.victims.get(kind, ()))
    for sentence in evidence if victims and kind != "misname-batched" else ():  # there, others get the blame
        named = {station for station in outcome.ids if station in sentence}
        assert not named or named & victims, sentence


def test_every_break_is_tried() -> None:
    """Each kind that the broken hub knows."""
    assert {trial.breaks[0].kind for trial in TRIALS.values() if trial.breaks} == {*ACTS, *TIMED, *WHOLE}


class Broker:
    """A broker alone, to the proxy."""

    http_port = 0

    def __init__(self, port: int) -> None:
        self.mqtt_port: int | None = port


OFTEN: Final[Mapping[str, Any]] = {"stations": {"interval": 0.2}, "browsers": {"watch": STATIONS}, "steady": 5.0}
AT_A_BROKER: Final = [
    _trial("drop-status", "status.lost", share=0.1, exact=True, **OFTEN),
    _trial("duplicate-status", "status.duplicated", share=0.1, exact=True, **OFTEN),
    _trial("reorder-status", "status.reordered", share=0.5, most=40, exact=True, **OFTEN),
    _trial("reset-station", "stations.disconnects", seconds=1.0, most=3, exact=True, **OFTEN),
    Trial("sound-observed", browsers={"watch": "all"}, stations={"interval": 0.2}, scenario={"fail_if": []}),
]


async def test_at_a_broker_alone_each_status_is_counted(tmp_path: Path) -> None:
    """By observers: exactly what was lost, came twice, or in another order, once for each of them; and nothing else."""
    nobody = Credentials(lambda *_: "", lambda *_: "")
    async with mosquitto(tmp_path) as broker, asyncio.TaskGroup() as group:
        tasks = [group.create_task(run_at(each, Broker(broker.port), nobody, observed=True)) for each in AT_A_BROKER]
        await asyncio.wait(tasks)
    for trial, task in zip(AT_A_BROKER, tasks, strict=True):
        outcome = task.result()
        assert outcome.errors == {}
        assert outcome.found.keys() == set(trial.finds), (trial.name, outcome.found)
        for each in trial.breaks:
            observers = 1 if each.kind == "reset-station" else BROWSERS
            assert outcome.facts[trial.finds[0]] == observers * outcome.done[each.kind] > 0, trial.name
            _assert_victims(outcome, each.kind, outcome.found[trial.finds[0]])
