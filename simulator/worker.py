"""One worker: its share of the stations and browsers, through all stages, on one event loop; a snapshot each second."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final

from simulator.browsers.browser import SimulatedBrowser
from simulator.faults import Faults
from simulator.fleet.observer import Observer
from simulator.fleet.schedule import Schedule
from simulator.fleet.station import SimulatedStation
from simulator.fleet.video import Studio
from simulator.judge.answers import AnswerJudge
from simulator.judge.commands import CommandJudge
from simulator.judge.exchanges import Exchanges
from simulator.judge.presence import PresenceJudge
from simulator.judge.statuses import StatusJudge
from simulator.judge.wording import Wording
from simulator.measuring.measures import Recorder, Snapshot
from simulator.plan import Credentials, Plan
from simulator.scenario.models import Who
from simulator.scenario.timeline import End, Event, StageBegins, Start, Stop, Strike, Timeline, worker
from simulator.tester import Tester
from simulator.world import World

__all__ = ["Worker"]

Watcher = SimulatedBrowser | Observer

FLUSH: Final = 1.0
"""Seconds that a hub may keep a status for the next batch."""
OPEN_REQUESTS: Final = 10.0
"""Seconds that requests which are open at the end may still be answered in."""
WITNESSES: Final = 5
"""Browsers that stay to see stations leave: each is told of each station."""
LEAVING: Final = 50
"""Stations that leave at a time."""
UNANSWERED: Final = 4.0
"""Seconds after which a goodbye is answered no more: the stations that are left go without, not each as late."""
PULSE: Final = 0.02
SILENCE: Final = 15.0
ASKING: Final = 3.0
"""Seconds after which a hub that has restarted takes a station's silence for its absence, and over which it asks them all."""
TOO_LATE: Final = 0.5
"""Seconds of its own lag above which the tester is a slow reader."""
LOOK: Final = 0.1
LAST_STATUSES: Final = 2.0
"""Seconds that the last statuses, and the news that stations left, may take."""
TWO_LOOKS: Final = 2.5
"""Seconds in which judges, who are asked each second, have looked twice: what is missing at one look alone is no finding."""


class Worker:
    """One of `plan.workers`, number `number` from 0.

    Args:
        begin: monotonic seconds at which the first stage begins, now or soon.
        emit: gets each snapshot.
    """

    def __init__(
        self,
        plan: Plan,
        number: int,
        credentials: Credentials,
        begin: float,
        emit: Callable[[Snapshot], None],
    ) -> None:
        self._plan, self._number, self._emit = plan, number, emit
        self._schedule, self._recorder, self._tester = Schedule(), Recorder(), Tester()
        self._schedule.begin = begin
        self._world = self._make_world(credentials)
        self._faults = Faults(self._world, runs_commands=number == 0)
        self._stopping: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self._ending = False
        self._second, self._latest = 0, 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Runs all stages, or until `stop` is set, and then takes all down in order."""
        plan, schedule = self._plan, self._schedule
        begin = schedule.begin
        schedule.on_late = self._late
        schedule.on_error = lambda error: self._recorder.error(f"simulator: {type(error).__name__}")
        for event in worker(Timeline(plan.scenario).events(), self._number, plan.workers):
            schedule.at(begin + event.at, partial(self._happens, event))
        schedule.at(begin + 1.0, self._each_second)
        schedule.at(begin, self._pulse)
        schedule.start()
        stopped = asyncio.create_task(stop.wait(), name="stop")
        over = asyncio.create_task(self._over.wait(), name="over")
        try:
            await asyncio.wait((stopped, over), return_when=asyncio.FIRST_COMPLETED)
            self._end_load()
            await self._take_down()
        finally:
            stopped.cancel()
            over.cancel()
            await self._drop_all()
            schedule.stop()
            self._emit(self._recorder.take(self._second))

    def _make_world(self, credentials: Credentials) -> World:
        plan, recorder = self._plan, self._recorder
        scenario = plan.scenario
        count, keepalive, settle = scenario.stations.count, scenario.stations.keepalive, scenario.settle

        def detection(cause: str) -> float:
            """Seconds a hub may need to find out that a station is gone (architecture.md section 5)."""
            if cause in ("half-open", "slow-reader"):
                return 1.5 * keepalive  # [MQTT-3.1.2-24]
            if cause == "run":  # what was online before a restart is asked, and given three intervals
                return max(SILENCE, 3 * scenario.stations.interval) + ASKING
            return 0.0

        words = Wording(self._schedule.begin, plan.station_id)
        presence = PresenceJudge(recorder, count, detect=detection, settle=settle, wording=words)
        return World(
            plan=plan,
            credentials=credentials,
            schedule=self._schedule,
            recorder=recorder,
            presence=presence,
            statuses=StatusJudge(
                recorder, count, flush=FLUSH, settle=settle, exact=plan.target.http is None, wording=words
            ),
            commands=CommandJudge(recorder, wording=words),
            exchanges=Exchanges(recorder, settle, calm=presence.calm, wording=words),
            answers=AnswerJudge(recorder, scenario.late, settle, wording=words),
            interval=scenario.stations.interval,
            numbers=range(self._number, count, plan.workers),
            studio=Studio() if plan.video else None,
        )

    # ---- the stages

    def _happens(self, event: Event) -> None:
        if self._ending:
            return  # Ctrl-C came first
        match event:
            case StageBegins():
                self._begin_stage(event.index)
            case Start():
                self._start(event)
            case Stop():
                self._stop(event)
            case Strike():
                self._faults.strike(event)
            case End():
                self._end_load()
                self._over.set()

    def _end_load(self) -> None:
        """Nothing that the scenario had in mind happens any more."""
        self._ending = True
        self._faults.end()

    def _begin_stage(self, index: int) -> None:
        stage, world = self._plan.scenario.stages[index], self._world
        world.pace = stage.pace
        self.report_every(stage.interval or self._plan.scenario.stations.interval)
        self._recorder.measuring = stage.measure

    def report_every(self, seconds: float) -> None:
        """All stations report at this interval from now on."""
        self._world.interval = seconds
        for station in self._world.stations.values():
            station.report_every(seconds)

    def _start(self, event: Start) -> None:
        world, number = self._world, event.number
        if event.who == "stations":
            if number not in world.stations:  # one that comes back is the same: it counts its statuses on
                world.stations[number] = SimulatedStation(world, number)
            world.stations[number].start()
        elif world.target.http is None:
            observer = world.browsers[number] = Observer(world, number)
            observer.start()
        else:
            browser = world.browsers[number] = SimulatedBrowser(world, number)
            browser.start()

    def _stop(self, event: Stop) -> None:
        world = self._world
        if event.who == "stations":
            leaves = world.stations[event.number].stop(goodbye=world.scenario.stations.goodbye)
        else:
            leaves = world.browsers.pop(event.number).stop()
        task = asyncio.create_task(leaves, name="leaving")
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    # ---- each second

    def _pulse(self) -> None:
        """A timer that does nothing, so that the tester's lag is known even where few others run."""
        self._schedule.at(max(self._schedule.now + PULSE, self._schedule.real()), self._pulse)

    def _late(self, seconds: float) -> None:
        """A timer ran that late: so late did this worker read, too."""
        self._recorder.time("tester.lag", seconds * 1000)
        if seconds > self._latest:
            self._latest = seconds

    def _own_up(self, now: float) -> None:
        """Hubs skip and drop for who reads slowly: where this worker was late, all its browsers did."""
        if self._latest > TOO_LATE:
            self._world.presence.slow(None, now)
            self._world.statuses.slow(None, now)
            self._world.answers.slow()
        self._world.answers.check()
        self._latest = 0.0

    def _each_second(self) -> None:
        """Judges what time has decided, looks at all, and gives a snapshot."""
        world, recorder, schedule = self._world, self._recorder, self._schedule
        moment = schedule.now
        now = schedule.real()
        self._own_up(now)
        world.presence.check(now)
        world.exchanges.check(now)
        world.statuses.sample(now)
        recorder.gauge("stations.connected", _count_connected(world.stations.values()))
        recorder.gauge("browsers.connected", _count_connected(world.browsers.values()))
        recorder.gauge("stations.seen", world.presence.seen())
        for name, value in self._tester.look().items():
            recorder.gauge(name, value)
        self._emit(recorder.take(self._second))
        missed = max(0, int(now - moment) - 1)  # whole seconds: each snapshot stays the one of its own
        self._second += 1 + missed
        schedule.at(moment + 1.0 + missed, self._each_second)

    # ---- the end

    async def _take_down(self) -> None:
        """Browsers act no more, and most go; then stations leave, which the others see; then those go, too."""
        world, schedule = self._world, self._schedule
        browsers, stations = list(world.browsers.values()), list(world.stations.values())
        self._call_the_roll("stations", stations)
        self._call_the_roll("browsers", browsers)
        await _within(OPEN_REQUESTS, *(browser.rest() for browser in browsers))
        # before the stations leave: what depends on one that is gone is not judged
        patience = schedule.real() + OPEN_REQUESTS
        while world.exchanges.open and schedule.real() < patience:  # noqa: ASYNC110  # judges are pure and wake nobody
            await asyncio.sleep(LOOK)
        world.exchanges.check(schedule.real())
        await _within(OPEN_REQUESTS, *(browser.stop() for browser in browsers[WITNESSES:]))
        goodbye, ask = self._plan.scenario.stations.goodbye, True
        for first in range(0, len(stations), LEAVING):
            leaving, began = stations[first : first + LEAVING], schedule.real()
            await _within(OPEN_REQUESTS, *(station.stop(goodbye=goodbye, ask=ask) for station in leaving))
            ask = ask and schedule.real() - began < UNANSWERED
            goodbye = goodbye and ask
        await _within(OPEN_REQUESTS, *self._stopping)
        await asyncio.sleep(LAST_STATUSES)
        patience = schedule.real() + self._plan.scenario.settle + TWO_LOOKS
        while world.presence.seen() > 0 and schedule.real() < patience:  # noqa: ASYNC110  # judges are pure and wake nobody
            await asyncio.sleep(LOOK)
        now = schedule.real()
        self._own_up(now)
        world.presence.check(now)
        world.statuses.finish(now)
        world.exchanges.check(now)
        await _within(OPEN_REQUESTS, *(browser.stop() for browser in browsers[:WITNESSES]))

    def _call_the_roll(self, who: Who, each: Sequence[SimulatedStation | Watcher]) -> None:
        """Who should be there now, at the end, and is not."""
        now, fact = self._schedule.real(), f"{who}.missing"
        missing = [(one.since, said) for one in each if (said := one.missing(now)) is not None]
        if missing:
            began = min(since for since, _ in missing)
            said = f"{len(missing)} of {len(each)} {who} are gone for good, the first since {self._world.at(began)}"
            self._recorder.hint(fact, said)
        for _, said in missing:
            self._recorder.found(fact, said)

    async def _drop_all(self) -> None:
        """Nothing outlives the run, however it ends."""
        await self._faults.close()
        for browser in self._world.browsers.values():
            browser.drop()
        for station in self._world.stations.values():
            station.drop()
        for task in self._stopping:
            task.cancel()
        if self._world.studio is not None:
            await self._world.studio.close()


def _count_connected(each: Iterable[SimulatedStation | Watcher]) -> int:
    return sum(one.connected for one in each)


async def _within(seconds: float, *work: Awaitable[object]) -> None:
    """Waits for all, so many seconds at most; what is not done then is cancelled."""
    if not work:
        return
    tasks = [asyncio.ensure_future(each) for each in work]
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
