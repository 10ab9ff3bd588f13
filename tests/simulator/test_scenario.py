"""The options of `hub simulate`."""

from pathlib import Path
from typing import Any

import pytest

from simulator import Scenario, explain


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"mqtt": "tcp://host"}, "--mqtt: the broker's address must look like mqtt://"),
        ({"mqtt": "mqtt://host:99999"}, "--mqtt: Port out of range"),
        ({"http": "127.0.0.1:3101"}, "--http: the hub's address must look like http://"),
        ({"http": "http://[::1"}, "--http: Invalid IPv6 URL"),
        ({"stations": -1}, "--stations: "),
        ({"stations": 20_001}, "--stations: "),
        ({"rate": 0}, "--rate: "),
        ({"duration": "soon"}, "--duration: "),
        ({"prefix": "a/b"}, "--prefix: "),
        ({"statoins": 5}, "--statoins: "),
    ],
)
def test_a_wrong_option_is_one_line_that_names_its_flag(options: dict[str, Any], flag: str) -> None:
    """Whoever mistypes reads which flag it was and what it should be."""
    with pytest.raises(ValueError, match="validation error") as caught:
        Scenario.model_validate(options)
    line = explain(caught.value)
    assert line.startswith(flag)
    assert "\n" not in line


def test_the_report_file_is_the_flag_json() -> None:
    """The flag and the field have different names; both are taken."""
    assert Scenario.model_validate({"json": "x.json"}).json_file == Path("x.json")
    assert Scenario(json_file=Path("x.json")).json_file == Path("x.json")


def test_given_tokens_are_used_by_all() -> None:
    """No token given means that they must be minted."""
    assert Scenario().given_tokens() is None
    given = Scenario(station_token="s", browser_token="b").given_tokens()
    assert given is not None
    assert (given.station("sim-00001"), given.browser("sim-op-00001")) == ("s", "b")
