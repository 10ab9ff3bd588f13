"""What all the simulated of one worker share: the plan, the time, who judges, and one another."""

import random
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.fleet.schedule import Schedule
from simulator.fleet.video import Studio
from simulator.judge.answers import AnswerJudge
from simulator.judge.commands import CommandJudge
from simulator.judge.exchanges import Exchanges
from simulator.judge.presence import PresenceJudge
from simulator.judge.statuses import StatusJudge
from simulator.judge.wording import Wording
from simulator.measuring.measures import Recorder
from simulator.plan import Credentials, Plan, Target
from simulator.scenario import Scenario

if TYPE_CHECKING:
    from simulator.browsers.browser import SimulatedBrowser
    from simulator.fleet.observer import Observer
    from simulator.fleet.station import SimulatedStation

__all__ = ["World"]


@dataclass(slots=True)
class World:
    """One worker's.

    Attributes:
        pace: how much faster than planned browsers act just now; a stage sets it.
        interval: seconds between two statuses just now; a stage sets it.
        restarting_until: until then a hub or a broker is being restarted on purpose: lost connections are no finding.
        numbers: of the stations of this worker.
        by_id: those numbers, by the stations' ids.
        chance: for moments that depend on others anyway, such as those of reconnections.
        context: for stations' TLS; None: without.
        studio: for the stations that really stream; None: none does.
        stations, browsers: those of this worker that were started, by number.
    """

    plan: Plan
    credentials: Credentials
    schedule: Schedule
    recorder: Recorder
    presence: PresenceJudge
    statuses: StatusJudge
    commands: CommandJudge
    exchanges: Exchanges
    answers: AnswerJudge
    interval: float
    numbers: range
    by_id: dict[str, int] = field(init=False)
    chance: random.Random = field(init=False)
    context: ssl.SSLContext | None = field(init=False)
    pace: float = 1.0
    restarting_until: float = float("-inf")
    stations: "dict[int, SimulatedStation]" = field(default_factory=dict)
    browsers: "dict[int, SimulatedBrowser | Observer]" = field(default_factory=dict)
    studio: Studio | None = None

    def __post_init__(self) -> None:
        self.chance = self.rng("world")
        self.context = ssl.create_default_context() if self.target.mqtt.tls else None
        self.by_id = {self.station_id(number): number for number in self.numbers}

    @property
    def scenario(self) -> Scenario:
        """What is to happen."""
        return self.plan.scenario

    @property
    def target(self) -> Target:
        """What is loaded."""
        return self.plan.target

    @property
    def run_id(self) -> str:
        """In every status, so that one kept from an earlier run is known for what it is."""
        return self.plan.run_id

    @property
    def rival(self) -> str:
        """What to ask when somebody else uses the names of this run."""
        return f"is another run using --prefix {self.plan.prefix}?"

    def at(self, moment: float) -> str:
        """A moment, for evidence: "12.345 s" since the run began."""
        return Wording(self.schedule.begin).at(moment)

    def rng(self, who: str) -> random.Random:
        """Chances that the seed and who asks decide alone."""
        return random.Random(f"{self.scenario.seed}/{who}")

    def station_id(self, number: int) -> str:
        """As it is on the wire."""
        return self.plan.station_id(number)

    def user_id(self, number: int) -> str:
        """Of a browser."""
        return self.plan.user_id(number)
