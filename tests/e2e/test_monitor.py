"""`monitor-update` tells of the hub's own broker, too (contract.md section 3 allows more keys)."""

from devices import AccessRefused, Station
from tests.e2e.conftest import World


async def test_own_broker(world: World) -> None:
    """What is in it now, what it has done, and where it listens; null where the broker is somebody else's."""
    await world.connect(world.station("st-1"))
    try:
        async with Station(world.mqtt, "st-2", token="wrong"):
            pass
    except AccessRefused:
        pass
    admin = await world.operator("admin", path="/ws/admin")
    _, update = await admin.next_push()
    if world.hub.mqtt_port is None:
        assert update["broker"] is None
        return
    broker = update["broker"]
    ports = {"mqtt": world.hub.mqtt_port, "ws": world.hub.mqtt_ws_port, "mqtts": None}
    assert (broker["connections"], broker["sessions"], broker["refused"], broker["ports"]) == (1, 1, 1, ports)
    assert broker["subscriptions"] >= 1
    assert min(broker[name] for name in ("messagesReceived", "bytesReceived", "bytesSent", "retained")) >= 1
    assert all(broker[name] >= 0 for name in ("queued", "inflight", "messagesSent", "dropped", "denied"))
