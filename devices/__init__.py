"""The station side: the contract (topics, messages), the station's state machine, and the Station SDK."""

from devices.client import AccessRefused
from devices.messages import Command, Device, MessageError, Signal, Status, StreamResponse, Summary
from devices.operator import Operator, OperatorError
from devices.session import NotConnected, StationError, StationSession
from devices.station import Job, Station

__all__ = [
    "AccessRefused",
    "Command",
    "Device",
    "Job",
    "MessageError",
    "NotConnected",
    "Operator",
    "OperatorError",
    "Signal",
    "Station",
    "StationError",
    "StationSession",
    "Status",
    "StreamResponse",
    "Summary",
]
