"""The options of `hub simulate`: each error names its flag, and only what is given takes the scenario's place."""

from typing import Any

import pytest

from simulator.options import SCENARIO_FLAGS, Options
from simulator.scenario import FLAGS, SimulationError


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"mqtt": "tcp://x"}, "--mqtt: the broker's address must look like"),
        ({"broker": "http://x"}, "--broker: the broker's address must look like"),
        ({"mqtt": "mqtt://a..b"}, "--mqtt: there can be no host of that name"),
        ({"http": "http://" + "a" * 64}, "--http: there can be no host of that name"),
        ({"mqtt": "mqtt://x:99999"}, "--mqtt: Port out of range"),
        ({"broker": "mqtt://[::1"}, "--broker: Invalid IPv6 URL"),
        ({"http": "ftp://x"}, "--http: the hub's address must look like"),
        ({"http": "http://x:0"}, "--http: the hub's address must look like"),
        ({"prefix": "a/b"}, "--prefix: "),
        ({"prefix": "a" * 49}, "--prefix: "),
        ({"workers": 0}, "--workers: "),
        ({"prometheus": 70_000}, "--prometheus: "),
        ({"login": "magic"}, "--login: "),
        ({"station_token_file": "x"}, "--station-token-file: "),
    ],
)
def test_errors_name_the_flag(flags: dict[str, Any], says: str) -> None:
    with pytest.raises(SimulationError) as failed:
        Options.parse(flags)
    assert str(failed.value).startswith(says)
    assert "\n" not in str(failed.value)


def test_what_is_not_given_is_the_scenarios() -> None:
    """And every flag that overrides one is an option here."""
    assert Options.parse({"stations": None, "quiet": None}).overrides() == {}
    assert Options.parse({"stations": 3, "duration": "90s"}).overrides() == {"stations": 3, "duration": "90s"}
    assert set(SCENARIO_FLAGS) == set(FLAGS)
    assert set(SCENARIO_FLAGS) <= set(Options.model_fields)


def test_a_broker_alone_has_no_hub() -> None:
    assert Options.parse({"broker": "mqtts://b"}).target().http is None
    target = Options().target()
    assert (target.mqtt.port, target.http) == (1883, "http://127.0.0.1:3101")


def test_tokens_given_as_options() -> None:
    """Are used for all; where only one was given, the other is empty."""
    assert Options().given_tokens() is None
    given = Options.parse({"station_token": "s"}).given_tokens()
    assert given is not None
    assert (given.station("any", 1.0), given.browser("any", 1.0)) == ("s", "")
