"""What to simulate: files, what they may say, and what happens when."""

from simulator.scenario.loading import FLAGS, SHIPPED, SimulationError, load, override, plain, read, shipped
from simulator.scenario.models import Browsers, DeviceMix, Fault, Mix, Scenario, Shape, Stage, Stations, Who

__all__ = [
    "FLAGS",
    "SHIPPED",
    "Browsers",
    "DeviceMix",
    "Fault",
    "Mix",
    "Scenario",
    "Shape",
    "SimulationError",
    "Stage",
    "Stations",
    "Who",
    "load",
    "override",
    "plain",
    "read",
    "shipped",
]
