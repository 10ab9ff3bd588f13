"""One station and one browser log in before a run starts, so that what cannot work is said in one line."""

from typing import Final

from devices.client import AccessRefused, MqttClient
from devices.messages import Offline, encode
from devices.operator import Operator, OperatorError
from devices.session import Publish
from devices.topics import STATION_OFFLINE
from simulator.browsers.sign_in import SignInRefused, sign_in
from simulator.plan import Credentials, Plan
from simulator.scenario import SimulationError
from simulator.texts import plain

__all__ = ["preflight"]

WITHIN: Final = 5.0
LIFE: Final = 60.0


async def preflight(plan: Plan, credentials: Credentials) -> None:
    """Tries what the scenario needs. Raises SimulationError that says what does not work, and where."""
    if plan.scenario.stations.count or plan.target.http is None:
        await _station(plan, credentials)
    if plan.scenario.browsers.count and plan.target.http is not None:
        await _browser(plan, credentials, plan.target.http)


async def _station(plan: Plan, credentials: Credentials) -> None:
    station_id, address = plan.station_id(0), plan.target.mqtt
    where = f"{address.host}:{address.port}"
    client = MqttClient(
        address,
        station_id,
        on_message=lambda _topic, _payload, _retained: None,
        keepalive=30,
        connect_timeout=WITHIN,
        max_inflight=1,
        max_queued=1,
    )
    will = Publish(STATION_OFFLINE(station_id), encode(Offline(station_id=station_id)))
    try:
        await client.connect(station_id, credentials.station(station_id, LIFE), will)
    except AccessRefused as error:
        raise SimulationError(
            f"station {station_id}: {error}: does this hub use another --data-dir or --jwt-secret?"
        ) from None
    except OSError as error:
        raise SimulationError(f"no MQTT broker answers at {where} ({_why(error)}): is the hub running?") from None
    client.disconnect()


async def _browser(plan: Plan, credentials: Credentials, http: str) -> None:
    user_id, how = plan.user_id(0), plan.scenario.browsers.login
    try:
        if how == "token":
            token = credentials.browser(user_id, LIFE)
        else:
            token = await sign_in(http, user_id, how, plan.scenario.seed)
        async with Operator(http, token=token, timeout=WITHIN):
            pass
    except (OperatorError, SignInRefused) as error:
        raise SimulationError(f"{http}: browser {user_id}: {plain(str(error))}") from None
    except OSError as error:
        raise SimulationError(f"{http}: no hub answers there ({_why(error)}): is it running?") from None


def _why(error: OSError) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else plain(error.strerror or str(error))
