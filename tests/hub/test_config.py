"""Options: precedence, errors in one line, the secret."""

import stat
from pathlib import Path
from typing import Any

import pytest

from hub.config import ConfigError, load, read_secret, secret


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No hub.toml and no HUB_* of whoever runs the tests."""
    import os

    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith("HUB_"):
            monkeypatch.delenv(name)


def test_precedence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Flag, then environment, then file, then default."""
    assert load({}).port == 3101
    Path("hub.toml").write_text('port = 1\nmqtt-port = 2\nmqtt_ws_port = 3\norigins = ["http://a"]\n')
    assert (load({}).port, load({}).mqtt_port, load({}).mqtt_ws_port) == (1, 2, 3)
    assert load({}).origins == ["http://a"]
    monkeypatch.setenv("HUB_PORT", "4")
    monkeypatch.setenv("HUB_ORIGINS", "http://b,http://c")
    assert (load({}).port, load({}).origins) == (4, ["http://b", "http://c"])
    assert load({"port": 5}).port == 5
    assert load({"port": None}).port == 4
    origins = ["https://Pages.example:443", "http://a:80", "http://b:443"]
    assert load({"origins": origins}).origins == ["https://pages.example", "http://a", "http://b:443"]
    elsewhere = tmp_path / "other.toml"
    elsewhere.write_text("mqtt_port = 9\n")
    assert load({}, elsewhere).mqtt_port == 9


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"port": 70_000}, "--port: "),
        ({"broker": "http://x"}, "--broker: not a URL such as mqtt://host:1883"),
        ({"broker": "mqtt://host:99999"}, "--broker: "),
        ({"jwt_secret": "short"}, "--jwt-secret: "),
        ({"origins": ["pages.example"]}, "--origins: "),
        ({"trusted_proxies": ["proxy"]}, "--trusted-proxies: "),
        ({"log_level": "loud"}, "--log-level: "),
        ({"database": "no-url"}, "--database: "),
        ({"jwks_url": "http://keys.example/jwks"}, "--jwks-url: keys come from an https URL"),
        ({"jwt_public_key": Path("/nowhere.pem")}, "/nowhere.pem: there is no such file"),
        ({"https": True}, "--https needs --tls-certificate and --tls-key"),
        ({"ice_servers": ["http://a"]}, "--ice-servers: "),
        ({"ice_servers": ["turn:a"]}, "--turn-secret"),
        ({"anonymous_mqtt": True, "host": "0.0.0.0"}, "--anonymous-mqtt-anywhere"),
    ],
)
def test_bad_flags(flags: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(flags)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "short" not in str(caught.value)


def test_bad_environment_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names where the bad value stands."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml: there is no such file"):
        load({}, Path("nowhere.toml"))
    Path("hub.toml").write_text("port = [")
    with pytest.raises(ConfigError, match=r"hub\.toml: cannot be read"):
        load({})
    Path("hub.toml").write_text("no_such_option = 1")
    with pytest.raises(ConfigError, match="configuration file, no_such_option: unknown option"):
        load({})
    Path("hub.toml").write_text("")
    monkeypatch.setenv("HUB_MQTT_PORT", "many")
    with pytest.raises(ConfigError, match="environment HUB_MQTT_PORT"):
        load({})


def test_anonymous_by_name() -> None:
    assert load({"anonymous_mqtt": True, "host": "0.0.0.0", "anonymous_mqtt_anywhere": True}).anonymous_mqtt
    assert load({"anonymous_mqtt": True}).anonymous_mqtt


def test_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    settings = load({"data_dir": tmp_path / "data"})
    with pytest.raises(ConfigError, match="no secret"):
        read_secret(settings)
    made = secret(settings)
    assert len(made) >= 32
    assert secret(settings) == read_secret(settings) == made
    path = tmp_path / "data" / "jwt-secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["jwt-secret"]


def test_secret_given(tmp_path: Path) -> None:
    settings = load({"data_dir": tmp_path, "jwt_secret": "given by somebody"})
    assert secret(settings) == "given by somebody"
    assert list(tmp_path.iterdir()) == []
    assert "given by somebody" not in repr(settings)


def test_data_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be"):
        secret(load({"data_dir": tmp_path / "file"}))
