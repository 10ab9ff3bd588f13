"""The live counters as Prometheus metrics; read at every scrape, kept nowhere twice."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from bridge.gateway import Gateway
from bridge.socketio.server import EngineServer
from hub.broker.engine import Engine
from hub.embedded import EmbeddedLink
from hub.store.database import Database

__all__ = ["registry"]


class _Counters(Collector):
    def __init__(self, gateway: Gateway, database: Database) -> None:
        self._gateway, self._database = gateway, database

    def collect(self) -> Iterator[Metric]:
        gateway, services = self._gateway, self._gateway.services
        board, presence = services.board.counters, services.presence
        for name, text, value in (
            ("stationhub_broker_connected", "Whether the hub reaches its broker", float(services.link.connected)),
            (
                "stationhub_database_reachable",
                "Whether the database did what was asked last",
                float(self._database.reachable),
            ),
            ("stationhub_stations_known", "Stations ever heard of since the start", len(presence)),
            ("stationhub_stations_online", "Stations online", len(presence.online_ids())),
            ("stationhub_browsers", "Browsers connected", len(gateway.browsers())),
            ("stationhub_peers", "WebSockets connected", len(gateway.peers)),
            ("stationhub_rooms", "Rooms", len(services.rooms)),
            ("stationhub_commands_open", "Commands that wait for a reply", len(services.commands)),
            ("stationhub_calls_open", "Calls of stations that nobody has answered yet", len(services.calls.open())),
            ("stationhub_nodes", "Hub nodes alive", len(services.nodes.alive)),
            ("stationhub_history_stations", "Stations whose numbers are kept", len(services.history or ())),
            (
                "stationhub_history_bytes",
                "Bytes that they take (--history)",
                services.history.bytes if services.history is not None else 0,
            ),
        ):
            yield GaugeMetricFamily(name, text, value)
        for name, text, value in (
            ("stationhub_mqtt_messages", "Messages from stations and other nodes", services.counters.messages),
            (
                "stationhub_mqtt_malformed",
                "Messages that were not what their topic promises",
                services.counters.malformed,
            ),
            ("stationhub_commands", "Commands sent to stations", services.counters.commands),
            (
                "stationhub_commands_unrecorded",
                "Commands of browsers that were not written down, for too many waited",
                0 if gateway.notes is None else gateway.notes.lost,
            ),
            ("stationhub_wills_ignored", "Wills of sessions that were replaced", presence.ignored_wills),
            ("stationhub_replies_stray", "Replies nobody waited for", services.commands.stray_replies),
            (
                "stationhub_stream_responses_stray",
                "Stream responses nobody asked for",
                gateway.counters.stray_stream_responses,
            ),
            ("stationhub_statuses", "Status messages", board.received),
            ("stationhub_statuses_clamped", "Statuses from the future, given the hub's time", board.clamped),
            (
                "stationhub_history_refused",
                "Reports whose numbers were not kept for want of room (--history)",
                services.history.refused if services.history is not None else 0,
            ),
            ("stationhub_events", "Events of browsers and WebSocket stations", gateway.counters.events),
            ("stationhub_logins_refused", "Tokens refused", gateway.counters.refused),
        ):
            yield CounterMetricFamily(name, text, value)
        dropped = CounterMetricFamily("stationhub_statuses_dropped", "Statuses thrown away", labels=["reason"])
        dropped.add_metric(["stale"], board.stale)
        dropped.add_metric(["invalid"], board.invalid)
        yield dropped
        yield _family("stationhub_event_errors", "Events refused", "code", gateway.counters.errors)


class _Broker(Collector):
    """The embedded broker's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        gauges, stats = self._engine.gauges(), self._engine.stats
        for name, text, value in (
            ("stationhub_mqtt_clients", "MQTT clients connected", gauges.connections),
            ("stationhub_mqtt_sessions", "MQTT sessions, connected or kept", gauges.sessions),
            ("stationhub_mqtt_subscriptions", "Subscriptions of MQTT clients", gauges.subscriptions),
            ("stationhub_mqtt_retained", "Retained messages", gauges.retained),
            ("stationhub_mqtt_queued", "Messages that wait for a session", gauges.queued),
            ("stationhub_mqtt_inflight", "Messages sent and not acknowledged", gauges.inflight),
            ("stationhub_mqtt_routes", "Topics whose route is kept ready", gauges.routes),
        ):
            yield GaugeMetricFamily(name, text, value)
        for name, text, count in (
            ("stationhub_mqtt_received", "Messages from MQTT clients", stats.messages_received),
            ("stationhub_mqtt_sent", "Messages to MQTT clients", stats.messages_sent),
            ("stationhub_mqtt_received_bytes", "Bytes from MQTT clients", stats.bytes_received),
            ("stationhub_mqtt_sent_bytes", "Bytes to MQTT clients", stats.bytes_sent),
            ("stationhub_mqtt_connects", "MQTT clients let in", stats.connects),
            ("stationhub_mqtt_refused", "MQTT clients refused", stats.refused),
            ("stationhub_mqtt_route_hits", "Messages whose route was ready", gauges.route_hits),
            ("stationhub_mqtt_route_misses", "Routes worked out anew", gauges.route_misses),
        ):
            yield CounterMetricFamily(name, text, count)
        for name, text, label, counts in (
            ("stationhub_mqtt_dropped", "Messages dropped", "reason", stats.dropped),
            ("stationhub_mqtt_disconnects", "Ends of connections", "reason", stats.disconnects),
            ("stationhub_mqtt_denied", "Packets refused for want of rights", "action", stats.denied),
        ):
            yield _family(name, text, label, counts)


class _SocketIo(Collector):
    """The Socket.IO door's."""

    def __init__(self, socketio: EngineServer) -> None:
        self._socketio = socketio

    def collect(self) -> Iterator[Metric]:
        counters = self._socketio.counters
        sessions = GaugeMetricFamily("stationhub_socketio_sessions", "Socket.IO sessions", labels=["transport"])
        for transport, count in self._socketio.sessions.items():
            sessions.add_metric([transport], count)
        yield sessions
        yield CounterMetricFamily("stationhub_socketio_upgraded", "Sessions gone on by WebSocket", counters.upgraded)
        yield CounterMetricFamily("stationhub_socketio_refused", "Sessions refused as too many", counters.refused)
        for name, text, label, counts in (
            ("stationhub_socketio_opened", "Sessions opened", "transport", counters.opened),
            ("stationhub_socketio_ended", "Sessions ended", "reason", counters.ended),
        ):
            yield _family(name, text, label, counts)


def _family(name: str, text: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, count in counts.items():
        family.add_metric([key], count)
    return family


def registry(gateway: Gateway, socketio: EngineServer, database: Database) -> CollectorRegistry:
    """The metrics of one gateway, its doors, its database, its broker if it is embedded, and its process."""
    found = CollectorRegistry()
    found.register(_Counters(gateway, database))
    found.register(_SocketIo(socketio))
    link = gateway.services.link
    if isinstance(link, EmbeddedLink):
        found.register(_Broker(link.broker.engine))
    ProcessCollector(registry=found)
    return found
