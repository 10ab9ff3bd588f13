"""What can be broken: one row for each, with where it is done and by which function."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from tests.simulator import broken_browsers as browsers
from tests.simulator import broken_stations as stations
from tests.simulator.broken_links import Link, Place
from tests.simulator.broken_mqtt import MqttLink
from tests.simulator.broken_runs import Running
from tests.simulator.broken_web import WebLink
from tests.simulator.broken_wire import Event

__all__ = ["ACTS", "TIMED", "Act"]


def _refuse(run: Running, link: MqttLink | WebLink, _: Any) -> bool:
    if not run.meant(None, link.name) or not run.strikes(link.name):
        return False
    link.refuse()
    return True


# ---- now and then


def _forge_disconnected(run: Running) -> None:
    connected = [name for name, link in run.stage.stations.items() if link.ready and run.meant(None, name)]
    if connected:
        _tell_all(run, "station-disconnected", run.rng.choice(connected))


def _forge_connected(run: Running) -> None:
    """Of a station that was connected once."""
    gone = [name for name in run.stage.gone if name not in run.stage.stations and run.meant(None, name)]
    if gone:
        _tell_all(run, "station-connected", run.rng.choice(gone))


def _tell_all(run: Running, event: str, station: str) -> None:
    browsers = [link for link in run.stage.browsers if link.ready]
    if browsers and run.strikes(station):
        for link in browsers:
            link.push(event, {"stationId": station})


def _ends(who: str, end: Callable[[Link], None]) -> Callable[[Running], None]:
    def now_and_then(run: Running) -> None:
        links: Iterable[Link] = run.stage.stations.values() if who == "stations" else run.stage.browsers
        there = [link for link in links if link.ready and not link.frozen and run.meant(None, link.name)]
        if there and run.strikes((victim := run.rng.choice(there)).name):
            end(victim)

    return now_and_then


def _reset(link: Link) -> None:
    link.cut(reset=True)


def _finish(link: Link) -> None:
    link.cut(reset=False)


def _half_open(link: Link) -> None:
    link.frozen = True


Act = Callable[[Running, Any, Any], bool | Event]

ACTS: Final[dict[str, tuple[Place, Act]]] = {
    "refuse-station": ("station-login", _refuse),
    "refuse-browser": ("browser-login", _refuse),
    # stations to hub
    "drop-status": ("from-station", stations.only("status", stations.drop_up)),
    "duplicate-status": ("from-station", stations.only("status", stations.duplicate_status)),
    "delay-status": ("from-station", stations.only("status", stations.delay_status)),
    "reorder-status": ("from-station", stations.only("status", stations.reorder_status)),
    "drop-reply": ("from-station", stations.only("reply", stations.drop_up)),
    "drop-call": ("from-station", stations.only("call", stations.drop_up)),
    "drop-birth": ("from-station", stations.only("online", stations.drop_up)),
    "drop-goodbye": ("from-station", stations.only("offline", stations.drop_up)),
    "drop-from-station": ("from-station", stations.drop_up),
    # hub to stations
    "drop-command": ("to-station", stations.commands(stations.drop_down)),
    "duplicate-command": ("to-station", stations.commands(stations.duplicate_command)),
    "repeat-command": ("to-station", stations.commands(stations.repeat_command)),
    "delay-command": ("to-station", stations.commands(stations.delay_command)),
    "late-command": ("to-station", stations.commands(stations.late_command)),
    "reorder-commands": ("to-station", stations.commands(stations.reorder_commands)),
    "misroute-command": ("to-station", stations.commands(stations.misroute_command)),
    "phantom-command": ("to-station", stations.commands(stations.phantom_command)),
    "drop-to-station": ("to-station", stations.drop_down),
    # browsers to hub
    "drop-request": ("from-browser", browsers.drop_request),
    "repeat-request": ("from-browser", browsers.repeat_request),
    # hub to browsers: answers
    "drop-ack": ("to-browser", browsers.ack(browsers.drop)),
    "duplicate-ack": ("to-browser", browsers.ack(browsers.duplicate)),
    "delay-ack": ("to-browser", browsers.ack(browsers.delay)),
    "alter-ack": ("to-browser", browsers.ack(browsers.alter_ack)),
    "refuse-ack": ("to-browser", browsers.ack(browsers.refuse_ack)),
    # hub to browsers: pushes; `what` says which
    "drop-push": ("to-browser", browsers.push(browsers.drop)),
    "duplicate-push": ("to-browser", browsers.push(browsers.duplicate)),
    "delay-push": ("to-browser", browsers.push(browsers.delay)),
    "invert-presence": ("to-browser", browsers.invert_presence),
    # hub to browsers: the statuses in batches
    "drop-batched": ("to-browser", browsers.batches(browsers.drop_batched)),
    "duplicate-batched": ("to-browser", browsers.batches(browsers.duplicate_batched)),
    "reorder-batched": ("to-browser", browsers.batches(browsers.reorder_batched)),
    "freeze-batched": ("to-browser", browsers.batches(browsers.freeze_batched)),
    "replay-batched": ("to-browser", browsers.batches(browsers.replay_batched)),
    "misname-batched": ("to-browser", browsers.batches(browsers.misname_batched)),
}
"""Kinds of breaks that are done to messages, and where."""

TIMED: Final[dict[str, Callable[[Running], None]]] = {
    "forge-disconnected": _forge_disconnected,
    "forge-connected": _forge_connected,
    "reset-station": _ends("stations", _reset),
    "end-station": _ends("stations", _finish),
    "half-open-station": _ends("stations", _half_open),
    "reset-browser": _ends("browsers", _reset),
    "end-browser": _ends("browsers", _finish),
    "half-open-browser": _ends("browsers", _half_open),
}
"""Kinds of breaks that happen each `seconds`, to one station or browser."""
