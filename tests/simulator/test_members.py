"""The members of families of facts are those that a run can time."""

from typing import get_args

from simulator.browsers import requests
from simulator.fleet import mqtt
from simulator.measuring.facts import FACTS
from simulator.measuring.members import MEMBERS, unknown_member
from simulator.scenario import Fault


def test_every_family_has_its_members() -> None:
    assert {fact.name for fact in FACTS if fact.name.endswith(".*")} == {f"{family}.*" for family in MEMBERS}


def test_members_are_what_is_timed() -> None:
    """A new event, cause or answer belongs into the list, or no rule on it is taken."""
    assert MEMBERS["ack"] == set(requests._SHAPES)
    assert MEMBERS["broker"] == set(get_args(mqtt.Answer))
    kinds = set(get_args(Fault.model_fields["kind"].annotation))
    assert MEMBERS["presence.offline"] - {"goodbye", "lost"} == kinds - {"slow-reader", "clock-skew"}


def test_what_is_none_is_told() -> None:
    assert unknown_member("ack.ping.p99") == unknown_member("ack.p99") == unknown_member("status.delay.p99") == ""
    assert unknown_member("broker.pubakc.p99") == "broker.* has no pubakc; did you mean puback?"
    assert unknown_member("ack.x.p99").startswith("ack.* has no x, but answer, create-room, ")
