"""Presence: two sources, one verdict (architecture.md section 5)."""

import pytest

from devices.messages import Birth, Offline, SocketRecord, Verdict
from hub.presence import MIN_SILENCE, AskReport, Changed, Effect, Presence, PublishVerdict, State
from tests.fakes import FakeClock

SID = "st-1"


class Bench:
    """A presence machine with its clock, and what was told so far."""

    def __init__(self, *, nid: str = "aaaaaaaa", wills_are_final: bool = False, owns: bool = True) -> None:
        self.clock = FakeClock()
        self.owned = owns
        self.machine = Presence(
            nid, self.clock, owns=lambda _: self.owned, jitter=lambda: 0.5, wills_are_final=wills_are_final
        )
        self.told: list[bool] = []
        self.asked = 0
        self.verdicts: list[Verdict] = []

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Changed(_, online):
                    self.told.append(online)
                case AskReport():
                    self.asked += 1
                case PublishVerdict(_, verdict):
                    self.verdicts.append(verdict)

    def birth(self, session: str = "s1", interval: float | None = 5.0) -> None:
        self.take(self.machine.birth(SID, Birth(session_id=session, status_interval=interval)))

    def status(self) -> None:
        self.take(self.machine.heard(SID, status=True))

    def will(self, session: str | None = "s1") -> None:
        self.take(self.machine.offline(SID, Offline(station_id=SID, session_id=session)))

    def goodbye(self, session: str | None = "s1") -> None:
        self.take(self.machine.offline(SID, Offline(station_id=SID, session_id=session, reason="goodbye")))

    def socket(self, peer: str, *, closed: bool = False) -> None:
        if closed:
            self.take(self.machine.socket_closed(SID, peer))
        else:
            self.take(self.machine.socket_opened(SID, peer, SocketRecord(session_id="ws-" + peer, user_id="u")))

    def forward(self, seconds: float) -> None:
        """Time passes in steps, as the shell's ticks do."""
        for _ in range(round(seconds * 4)):
            self.clock.forward(0.25)
            self.take(self.machine.tick())


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_birth_makes_online(bench: Bench) -> None:
    """A birth is published and told once, with the session in the record."""
    bench.birth()
    bench.birth()
    assert bench.told == [True]
    assert [(v.state, v.session_id, v.via) for v in bench.verdicts] == [("online", "s1", "mqtt")]
    assert bench.machine.online_ids() == [SID]


def test_first_status_of_a_station_without_birth(bench: Bench) -> None:
    """Old field software never announces itself: its first status makes it online."""
    bench.status()
    bench.status()
    assert bench.told == [True]


def test_will_of_the_current_session(bench: Bench) -> None:
    """On an external broker a will makes suspect: asked at once, offline after the silence of one status interval."""
    bench.birth()
    bench.will()
    assert bench.asked == 1
    assert bench.machine.state(SID) is State.SUSPECT
    assert bench.machine.online(SID)
    bench.forward(4.5)
    assert bench.told == [True]
    bench.forward(1)
    assert bench.told == [True, False]
    assert bench.verdicts[-1].reason == "will"


def test_will_grace_is_three_seconds_at_least() -> None:
    """A station with a short status interval still has 3 s to answer."""
    bench = Bench()
    bench.birth(interval=0.5)
    bench.will()
    bench.forward(2.5)
    assert bench.told == [True]
    bench.forward(1)
    assert bench.told == [True, False]


def test_suspicion_is_cancelled_by_any_answer(bench: Bench) -> None:
    """A will that a broker published at a takeover does no harm: the live session answers."""
    bench.birth()
    bench.will()
    bench.status()
    bench.forward(5)
    assert bench.told == [True]
    assert bench.machine.state(SID) is State.ONLINE


def test_final_will() -> None:
    """On a broker that knows its connections a will is the end at once."""
    bench = Bench(wills_are_final=True)
    bench.birth()
    bench.will()
    assert bench.told == [True, False]
    assert bench.asked == 0


def test_goodbye(bench: Bench) -> None:
    """A clean leave is the end at once, on any broker."""
    bench.birth()
    bench.goodbye()
    assert bench.told == [True, False]
    assert bench.verdicts[-1].reason == "goodbye"


def test_takeover_by_a_newer_session(bench: Bench) -> None:
    """The newer birth wins without a flap; the late will of the old session is counted and ignored."""
    bench.birth("s1")
    bench.birth("s2")
    bench.will("s1")
    bench.goodbye("s1")
    bench.forward(10)
    assert bench.told == [True]
    assert bench.machine.ignored_wills == 2
    assert bench.verdicts[-1].session_id == "s2"


def test_will_without_a_known_session_counts(bench: Bench) -> None:
    """A station that never announced itself can still die by its will."""
    bench.status()
    bench.will("whatever")
    bench.forward(4)
    assert bench.told == [True, False]


def test_silence_is_three_intervals(bench: Bench) -> None:
    """Silence of three announced intervals, asked just before, makes offline; any status puts it off."""
    bench.birth(interval=10.0)
    bench.forward(20)
    bench.status()
    bench.forward(26)
    assert bench.asked == 0
    bench.forward(2)
    assert bench.asked == 1
    assert bench.told == [True]
    bench.forward(3)
    assert bench.told == [True, False]
    assert bench.verdicts[-1].reason == "silence"


def test_silence_without_an_interval(bench: Bench) -> None:
    """Without an announced interval, 15 s of silence after a status; a station that never reports is not judged."""
    bench.status()
    bench.forward(MIN_SILENCE + 0.5)
    assert bench.told == [True, False]
    bench.birth(interval=None)
    bench.forward(600)
    assert bench.told == [True, False, True]


def test_observed_interval(bench: Bench) -> None:
    """A station seen to report each minute is not offline after 15 s."""
    bench.status()
    bench.forward(14)
    bench.status()
    bench.forward(35)
    assert bench.told == [True]
    bench.forward(10)
    assert bench.told == [True, False]


def test_status_after_offline(bench: Bench) -> None:
    """A sign of life after a verdict of offline makes it online again."""
    bench.birth()
    bench.goodbye()
    bench.status()
    assert bench.told == [True, False, True]


def test_socket_and_mqtt(bench: Bench) -> None:
    """Online if either; the verdict changes with the last of both."""
    bench.birth()
    bench.socket("p1")
    bench.goodbye()
    assert bench.told == [True]
    assert bench.machine.socket(SID) == "p1"
    bench.socket("p2")
    bench.socket("p1", closed=True)
    assert bench.machine.socket(SID) == "p2"
    bench.socket("p1", closed=True)
    bench.socket("p2", closed=True)
    assert bench.told == [True, False]


def test_a_socket_is_not_judged_by_silence(bench: Bench) -> None:
    """A WebSocket has pings of its own."""
    bench.socket("p1")
    bench.forward(100)
    bench.socket("p1", closed=True)
    assert bench.told == [True, False]


def test_old_software_with_a_page_beside_it(bench: Bench) -> None:
    """A station that reports by MQTT without a birth does not flap when its page is closed; its silence alone changes nothing."""
    bench.socket("p1")
    bench.status()
    bench.socket("p1", closed=True)
    assert bench.told == [True]
    bench.socket("p2")
    bench.forward(60)
    assert bench.told == [True]
    bench.socket("p2", closed=True)
    assert bench.told == [True, False]


def test_a_will_beside_a_socket(bench: Bench) -> None:
    """With a socket open a will is no reason for suspicion; a status says that MQTT lives."""
    bench.birth()
    bench.socket("p1")
    bench.will()
    bench.status()
    bench.socket("p1", closed=True)
    assert bench.told == [True]


def test_only_a_birth_or_a_status_makes_online(bench: Bench) -> None:
    """Any other message keeps alive who is there, and brings nobody back."""
    bench.take(bench.machine.heard(SID))
    assert bench.told == []
    bench.birth()
    bench.goodbye()
    bench.take(bench.machine.heard(SID))
    assert bench.told == [True, False]
    bench.birth("s2")
    bench.will("s2")
    bench.take(bench.machine.heard(SID))
    bench.forward(6)
    assert bench.told == [True, False, True]


def test_a_long_grace_does_not_ask_all_the_time() -> None:
    """However long a station may take to answer, it is asked at most once in each half of its patience."""
    clock = FakeClock()
    machine = Presence("aaaaaaaa", clock, owns=lambda _: True, jitter=lambda: 0.5, will_grace=60.0)
    machine.birth(SID, Birth(session_id="s", status_interval=1.0))
    asked = 0
    for _ in range(56):
        clock.forward(0.25)
        asked += sum(isinstance(effect, AskReport) for effect in machine.tick())
    assert asked == 1


def test_timers_are_bounded(bench: Bench) -> None:
    """Births that move the deadline earlier each time leave no heap of dead timers behind."""
    for number in range(5_000):
        bench.birth(f"s{number}", interval=80_000.0 - number)
    assert len(bench.machine._timers) < 200


def test_a_record_written_over_by_an_older_one(bench: Bench) -> None:
    """A node that was away writes what it knew; the owner's newer verdict is written again."""
    bench.birth()
    bench.birth("s2")
    (effect,) = bench.machine.verdict(SID, Verdict(state="offline", nid="cccccccc", rev=0), retained=False)
    assert isinstance(effect, PublishVerdict)
    assert effect.verdict.session_id == "s2"


def test_restart_does_not_flap() -> None:
    """After a restart the kept verdict stands until the station was asked and had its time."""
    bench = Bench(nid="bbbbbbbb")
    kept = Verdict(state="online", session_id="s1", nid="aaaaaaaa", epoch=3, rev=7)
    bench.take(bench.machine.verdict(SID, kept, retained=True))
    assert bench.machine.online(SID)
    assert bench.told == []
    bench.forward(2)
    assert bench.asked == 1
    bench.status()
    bench.forward(10)
    assert bench.told == []
    assert bench.machine.state(SID) is State.ONLINE


def test_restart_finds_the_silent_ones() -> None:
    """A station that does not answer after a restart goes offline, with a record newer than the kept one."""
    bench = Bench(nid="bbbbbbbb")
    kept = Verdict(state="online", session_id="s1", nid="aaaaaaaa", epoch=3, rev=7)
    bench.take(bench.machine.verdict(SID, kept, retained=True))
    bench.forward(20)
    assert bench.told == [False]
    assert bench.verdicts[-1].version > kept.version


def test_a_kept_offline_does_not_hide_a_live_station() -> None:
    """A station that showed itself before the kept record was read stays online, and the record is put right."""
    bench = Bench(nid="bbbbbbbb")
    bench.birth("s2")
    kept = Verdict(state="offline", session_id="s1", nid="aaaaaaaa", epoch=3, rev=7)
    bench.take(bench.machine.verdict(SID, kept, retained=True))
    assert bench.told == [True]
    assert bench.machine.online(SID)
    assert bench.verdicts[-1].version > kept.version


def test_lost_link(bench: Bench) -> None:
    """While the link is down no deadline runs; when it is back, stations have time to show themselves."""
    bench.birth()
    bench.machine.link_down()
    bench.forward(300)
    assert bench.told == [True]
    bench.machine.resync(link_was_lost=True)
    assert bench.machine.state(SID) is State.UNKNOWN
    bench.forward(2)
    assert bench.asked == 1
    bench.status()
    bench.forward(5)
    assert bench.told == [True]
    assert len(bench.machine.republish()) == 1


def test_another_node_decides() -> None:
    """Of a station that another node owns, its verdict is followed and nothing published; each change is told once."""
    bench = Bench(owns=False)
    bench.birth()
    assert (bench.told, bench.verdicts) == ([], [])
    first = Verdict(state="online", session_id="s1", nid="cccccccc", rev=1)
    bench.take(bench.machine.verdict(SID, first, retained=False))
    bench.take(bench.machine.verdict(SID, first, retained=False))
    assert bench.told == [True]
    older = Verdict(state="offline", session_id="s1", nid="cccccccc", rev=0)
    bench.take(bench.machine.verdict(SID, older, retained=False))
    assert bench.told == [True]


def test_ownership_passes_on() -> None:
    """When the owner dies, the next one asks, and takes a higher epoch for its own verdict."""
    bench = Bench(owns=False)
    record = Verdict(state="online", session_id="s1", nid="cccccccc", epoch=1, rev=4)
    bench.take(bench.machine.verdict(SID, record, retained=False))
    bench.owned = True
    bench.machine.resync(link_was_lost=False)
    bench.forward(20)
    assert bench.told == [True, False]
    assert bench.verdicts[-1].epoch == 2


def test_sockets_of_a_dead_node(bench: Bench) -> None:
    """A node that dies takes its sockets with it."""
    bench.socket("deadbeef0001")
    bench.take(bench.machine.sockets_gone(lambda peer: peer.startswith("deadbeef")))
    assert bench.told == [True, False]


def test_nothing_is_said_of_the_unknown(bench: Bench) -> None:
    """A will or goodbye of a station never heard of changes nothing."""
    bench.will()
    bench.goodbye()
    bench.forward(10)
    assert (bench.told, bench.verdicts) == ([], [])


def test_ten_thousand_deadlines_cost_nothing_when_not_due(bench: Bench) -> None:
    """Deadlines sit in a heap: a tick before the first is due looks at one entry, not at all stations."""
    for number in range(10_000):
        bench.machine.birth(f"st-{number}", Birth(session_id="s", status_interval=5.0))
    looked = 0

    class Counting(list[tuple[float, str]]):
        def __getitem__(self, index):  # type: ignore[no-untyped-def]
            nonlocal looked
            looked += 1
            return super().__getitem__(index)

    bench.machine._timers = Counting(bench.machine._timers)
    assert bench.machine.tick() == []
    assert looked == 1
