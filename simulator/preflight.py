"""One station and one browser log in before a run starts, so that what cannot work is said in one line."""

from typing import Any, Final

from devices.client import AccessRefused, MqttClient
from devices.messages import Offline, encode
from devices.operator import Operator, OperatorError, Refused
from devices.session import Publish
from devices.topics import STATION_OFFLINE
from simulator.browsers.sign_in import SignInRefused, sign_in
from simulator.plan import Credentials, Plan
from simulator.scenario import SimulationError
from simulator.texts import plain

__all__ = ["preflight"]

WITHIN: Final = 5.0
LIFE: Final = 60.0
NOBODY: Final = -1
"""The number of a user that no run has: one's own login would end the session of another run's browser."""


async def preflight(plan: Plan, credentials: Credentials) -> None:
    """Tries what the scenario needs. Raises SimulationError that says what does not work, and where."""
    http = plan.target.http
    if http is not None and plan.scenario.browsers.count:
        await _browser(plan, credentials, http)
    elif http is not None:
        await _look(plan, credentials, http)
    if plan.scenario.stations.count or http is None:
        await _station(plan, credentials)


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
        hint = "does this hub use another --data-dir or --jwt-secret?"
        if "--station-token" in credentials.given:
            hint = "is --station-token a token of this hub, good for all its stations, and not expired?"
        raise SimulationError(f"station {station_id}: {error}: {hint}") from None
    except OSError as error:
        raise SimulationError(f"no MQTT broker answers at {where} ({_why(error)}): is the hub running?") from None
    client.disconnect()


async def _browser(plan: Plan, credentials: Credentials, http: str) -> None:
    user_id, how = plan.user_id(NOBODY), plan.scenario.browsers.login
    try:
        if how == "token":
            token = credentials.browser(user_id, LIFE)
        else:
            token = await sign_in(http, user_id, how, plan.scenario.seed)
        async with Operator(http, token=token, timeout=WITHIN) as operator:
            online = await operator.request("get-online-stations")
    except (OperatorError, SignInRefused) as error:
        hint = ""
        if isinstance(error, Refused) and "UNAUTHORIZED" in str(error) and how == "token":
            hint = ": does this hub use another --data-dir or --jwt-secret?"
            if "--browser-token" in credentials.given:
                hint = ": is --browser-token a user's access token of this hub, and not expired?"
        raise SimulationError(f"{http}: browser {user_id}: {plain(str(error))}{hint}") from None
    except OSError as error:
        raise SimulationError(f"{http}: no hub answers there ({_why(error)}): is it running?") from None
    _refuse_twins(plan, online)


async def _look(plan: Plan, credentials: Credentials, http: str) -> None:
    """Without browsers there is no need of the hub's HTTP address: whoever is online is asked where it answers."""
    if token := credentials.browser(plan.user_id(NOBODY), LIFE):
        try:
            async with Operator(http, token=token, timeout=WITHIN) as operator:
                online = await operator.request("get-online-stations")
        except (OperatorError, OSError):
            return
        _refuse_twins(plan, online)


def _refuse_twins(plan: Plan, answer: Any) -> None:
    """Stations of the same ids that are online already are another run's: both would throw out each other's for good."""
    stations = answer.get("stations") if isinstance(answer, dict) else None
    online = {each for each in stations if isinstance(each, str)} if isinstance(stations, list) else set()
    twins = [own for number in range(plan.scenario.stations.count) if (own := plan.station_id(number)) in online]
    if twins:
        named = f"station {twins[0]} is" if len(twins) == 1 else f"station {twins[0]} and {len(twins) - 1:,} more are"
        raise SimulationError(f"{named} online already: does another run go on? Give this one another --prefix")


def _why(error: OSError) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else plain(error.strerror or str(error))
