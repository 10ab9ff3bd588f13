"""The engine's first steps; the clauses of the standard are in test_conformance*.py."""

import pytest

from tests.hub.broker.world import World


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_goes_from_one_to_another(version: int, qos: int) -> None:
    """Published once, received once, at the QoS of both."""
    world = World()
    alice, bob = world.connect("alice", version=version), world.connect("bob", version=9 - version)
    assert alice.subscribe("a/+", qos=2) == [2]
    for number in range(3):
        bob.publish("a/b", b"%d" % number, qos)
    assert alice.messages == [("a/b", b"%d" % number, qos, False) for number in range(3)]
