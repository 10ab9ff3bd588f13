"""The shape of the project: imports go one way, names are exported, topics are spelled once."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("devices", "hub", "bridge", "simulator")
COMPOSITION = {"hub.cli", "hub.command_line", "hub.simulate_command", "hub.serve"}
MAY_IMPORT = {
    "devices": {"devices"},
    "hub": {"devices", "hub"},
    "bridge": {"devices", "hub", "bridge"},
    "simulator": {"devices", "simulator"},
}


def modules() -> list[str]:
    found = []
    for package in PACKAGES:
        found.append(package)
        path = [str(ROOT / package)]
        found += [module.name for module in pkgutil.walk_packages(path, f"{package}.")]
    return found


def source(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source(module).read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("module", modules())
def test_imports_go_one_way(module: str) -> None:
    """devices <- hub <- bridge <- hub.cli and its commands, hub.serve; devices <- simulator <- hub.cli."""
    allowed = set(PACKAGES) if module in COMPOSITION else MAY_IMPORT[module.split(".")[0]]
    for name in imports(module):
        package = name.split(".")[0]
        if package in PACKAGES:
            assert package in allowed, f"{module} imports {name}"
            assert module in COMPOSITION or name not in COMPOSITION, f"{module} imports {name}"


IO_MODULES = {"asyncio", "socket", "time", "random", "threading", "amqtt", "gmqtt", "paho", "websockets", "uvicorn"}
PURE = (
    *("devices.topics", "devices.messages", "devices.session", "devices.models", "devices.video.picture"),
    *("hub.presence", "hub.rooms", "hub.sessions", "hub.status", "hub.commands", "hub.calls", "hub.acl"),
    *(f"devices.mqtt.{name}" for name in ("codes", "properties", "packets", "codec", "stream")),
    *(f"hub.broker.{name}" for name in ("limits", "policy", "message", "router", "retained", "session", "deadlines")),
    *(f"hub.broker.{name}" for name in ("stats", "delivery", "incoming", "handlers", "connection", "engine", "wire")),
    *(f"hub.broker.{name}" for name in ("asking", "commits", "negotiation", "outgoing", "subscriptions")),
    *("hub.credentials", "hub.limits", "hub.throttle", "hub.account_rules", "hub.keys", "hub.ice", "hub.station_list"),
    *("bridge.protocol", "bridge.batches", "bridge.states", "bridge.payloads", "bridge.proxies", "bridge.http.cors"),
    *(f"bridge.socketio.{name}" for name in ("engine_packets", "packets", "parts", "outbox")),
    *(
        f"simulator.judge.{name}"
        for name in ("presence", "statuses", "commands", "exchanges", "history", "ledger", "slowness", "answers")
    ),
    *(
        f"simulator.measuring.{name}"
        for name in ("facts", "histogram", "series", "measures", "recent", "rules", "members")
    ),
    *(f"simulator.scenario.{name}" for name in ("fields", "models", "errors", "toml_lines", "timeline")),
    *(
        f"simulator.reports.{name}"
        for name in ("sections", "endtable", "scales", "chart_parts", "charts", "html_tables", "junit")
    ),
    *("simulator.fleet.legacy", "simulator.fleet.telemetry"),
    *(f"bridge.socketio.{name}" for name in ("session", "upgrade", "namespaces", "engine")),
)


@pytest.mark.parametrize("module", PURE)
def test_machines_are_pure(module: str) -> None:
    """No clock, socket, random number or event loop inside a state machine."""
    used = {name.split(".")[0] for name in imports(module)} & IO_MODULES
    if module in ("devices.models", "simulator.scenario.timeline", "simulator.fleet.telemetry"):
        used -= {"random"}  # takes a random.Random, or makes one of a seed
    assert used == set()


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("amqtt", {"hub.embedded", "hub.broker"}),
        ("gmqtt", {"hub.remote"}),
        ("paho", {"devices.station", "devices"}),
        ("uvicorn", {"hub.serve", "bridge.http.server"}),
        ("aiortc", {"devices.video"}),
        ("av", {"devices.video"}),
        ("jwt", {"hub.auth", "hub.keys"}),
        ("sqlalchemy", {"hub.store"}),
        ("alembic", {"hub.store"}),
        ("argon2", {"hub.passwords"}),
        ("psutil", {"bridge.monitor", "simulator.tester"}),
        ("hdrh", {"simulator.measuring.histogram"}),
    ],
)
def test_a_library_has_one_home(library: str, homes: set[str]) -> None:
    """Each third-party I/O library sits behind one module or package."""
    users = {module for module in modules() if library in {name.split(".")[0] for name in imports(module)}}
    assert users
    assert all(any(user == home or user.startswith(home + ".") for home in homes) for user in users), users


@pytest.mark.parametrize("module", modules())
def test_all_is_true(module: str) -> None:
    """Every module says what it offers, and offers it; packages are typed."""
    loaded = importlib.import_module(module)
    text = source(module).read_text()
    if source(module).name == "__init__.py" and "__all__" not in text:
        assert not re.search(r"^(import|from|def|class) ", text, re.M), f"{module} offers names without __all__"
        return
    names = loaded.__all__
    assert len(set(names)) == len(names)
    for name in names:
        assert hasattr(loaded, name), f"{module}.{name}"
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").exists()


@pytest.mark.parametrize("module", [module for module in modules() if module != "devices.topics"])
def test_no_other_module_spells_a_topic(module: str) -> None:
    """Topics are spelled in devices/topics.py alone; docstrings may name them."""
    tree = ast.parse(source(module).read_text())
    docs = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            assert not re.match(r"(stations|live|peers|broadcast)/", node.value), f"{module}:{node.lineno}"


def test_every_event_stands_in_the_contracts_table() -> None:
    """The event table holds what browsers know, and the one reply that a WebSocket station needs beside it."""
    from bridge.events import EVENTS

    assert set(EVENTS) == {
        *("ping", "create-room", "check-room", "join-room", "leave-room", "offer", "answer", "ice-candidate"),
        *("station-register", "get-online-stations", "station-invite", "station-call-center"),
        *("station-cmd-request-stream", "station-cmd-stream-response", "station-request-status"),
        *("station-status-update", "station-command", "station-command-reply", "station-watch", "station-unwatch"),
    }
    for name, event in EVENTS.items():
        returned = event.handler.__annotations__["return"]
        text = returned if isinstance(returned, str) else getattr(returned, "__name__", str(returned))
        assert event.ack is None or event.ack.__name__ in str(returned) or event.ack.__name__ == text, name
