"""`hub simulate`: a fleet of stations and its operators' browsers, to load a hub and to measure it."""

from simulator.run import SimulationError, keep_running, simulate
from simulator.scenario import Credentials, Scenario, explain

__all__ = ["Credentials", "Scenario", "SimulationError", "explain", "keep_running", "simulate"]
