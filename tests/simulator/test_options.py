"""The options of `hub simulate`: each error names its flag, and only what is given takes the scenario's place."""

from typing import Any

import pytest

from simulator.options import SCENARIO_FLAGS, Options
from simulator.plan import Credentials, Needs, Plan
from simulator.scenario import FLAGS, SimulationError, load


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
        ({"http": "http://x:0"}, "--http: there is no port 0"),
        ({"mqtt": "mqtt://x:0"}, "--mqtt: there is no port 0"),
        ({"http": "http://x?y=1"}, "--http: nothing may follow the address"),
        ({"mqtt": "mqtt://h/foo"}, "--mqtt: only ws:// and wss:// have a path"),
        ({"broker": "mqtts://h?x"}, "--broker: only ws:// and wss:// have a path"),
        (
            {"mqtt": "mqtt://ann:secret@h"},
            "--mqtt: takes no user name or password in the address: give --station-token",
        ),
        ({"http": "http://secret@h"}, "--http: takes no user name or password in the address: give --browser-token"),
        (
            {"broker": "mqtt://h", "http": "http://h", "login": "guest"},
            "--broker: a broker is loaded alone, without a hub: leave out --http, --login",
        ),
        (
            {"broker": "mqtt://h", "mqtt": "mqtt://h"},
            "--broker: a broker is loaded alone, without a hub: leave out --mqtt",
        ),
        ({"prefix": "ä"}, "--prefix: must be 1 to 48 of A-Z a-z 0-9 . _ -, not 'ä'"),
        ({"json": ""}, "--json: must not be empty"),
        ({"browser_token": ""}, "--browser-token: must not be empty"),
        ({"workers": "1e1"}, "--workers: must be a whole number from 1 to 64, not '1e1'"),
        ({"workers": "\uff12"}, "--workers: must be a whole number from 1 to 64"),
        ({"prometheus": "9e3"}, "--prometheus: must be a whole number from 0 to 65,535, not '9e3'"),
        ({"login": "root"}, "--login: must be token, guest or account, not 'root'"),
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
    assert "secret" not in str(failed.value)


def test_numbers_are_given_as_text() -> None:
    """As they are written on a command line."""
    given = Options.parse({"workers": "2", "prometheus": "0", "stations": "3"})
    assert (given.workers, given.prometheus, given.stations) == (2, 0, "3")


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


BOTH = Needs(station=True, browser=True)


def test_given_tokens_are_used_for_all() -> None:
    """The other one is minted; who refuses them is told which were given."""
    minted = Credentials(lambda name, _: f"of {name}", lambda name, _: f"of {name}")
    one = Options.parse({"station_token": "s"})
    assert one.missing_tokens(BOTH) == ["--browser-token"]
    tokens = one.credentials(minted)
    assert (tokens.station("any", 1.0), tokens.browser("me", 1.0)) == ("s", "of me")
    assert tokens.given == {"--station-token"}
    other = Options.parse({"browser_token": "b"})
    assert other.missing_tokens(BOTH) == ["--station-token"]
    assert (other.credentials(minted).station("st", 1.0), other.credentials(minted).browser("x", 1.0)) == ("of st", "b")


def test_a_token_that_nobody_needs_is_not_missing() -> None:
    assert Options().missing_tokens(BOTH) == ["--station-token", "--browser-token"]
    assert Options().missing_tokens(Needs(station=False, browser=False)) == []
    assert Options().credentials(None).station("any", 1.0) == ""


@pytest.mark.parametrize(
    ("flags", "needs"),
    [
        ({}, BOTH),
        ({"browsers": 0}, Needs(station=True, browser=False)),
        ({"stations": 0}, Needs(station=False, browser=True)),
        ({"login": "guest"}, Needs(station=True, browser=False)),
        ({"broker": "mqtt://h"}, Needs(station=False, browser=False)),
    ],
)
def test_who_needs_a_token(flags: dict[str, Any], needs: Needs) -> None:
    options = Options.parse(flags)
    assert Needs.of(Plan(load(None, options.overrides()), options.target(), "sim", "run")) == needs
