"""The live counters as Prometheus metrics; read at every scrape, kept nowhere twice."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from bridge.gateway import Gateway

__all__ = ["registry"]


class _Counters(Collector):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        gateway, services = self._gateway, self._gateway.services
        board, presence = services.board.counters, services.presence
        for name, text, value in (
            ("stationhub_broker_connected", "Whether the hub reaches its broker", float(services.link.connected)),
            ("stationhub_stations_known", "Stations ever heard of since the start", len(presence)),
            ("stationhub_stations_online", "Stations online", len(presence.online_ids())),
            ("stationhub_browsers", "Browsers connected", len(gateway.browsers())),
            ("stationhub_peers", "WebSockets connected", len(gateway.peers)),
            ("stationhub_rooms", "Rooms", len(services.rooms)),
            ("stationhub_commands_open", "Commands that wait for a reply", len(services.commands)),
            ("stationhub_nodes", "Hub nodes alive", len(services.nodes.alive)),
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
            ("stationhub_wills_ignored", "Wills of sessions that were replaced", presence.ignored_wills),
            ("stationhub_replies_stray", "Replies nobody waited for", services.commands.stray_replies),
            (
                "stationhub_stream_responses_stray",
                "Stream responses nobody asked for",
                gateway.counters.stray_stream_responses,
            ),
            ("stationhub_statuses", "Status messages", board.received),
            ("stationhub_statuses_clamped", "Statuses from the future, given the hub's time", board.clamped),
            ("stationhub_events", "Events of browsers and WebSocket stations", gateway.counters.events),
            ("stationhub_logins_refused", "Tokens refused", gateway.counters.refused),
        ):
            yield CounterMetricFamily(name, text, value)
        dropped = CounterMetricFamily("stationhub_statuses_dropped", "Statuses thrown away", labels=["reason"])
        dropped.add_metric(["stale"], board.stale)
        dropped.add_metric(["invalid"], board.invalid)
        yield dropped
        errors = CounterMetricFamily("stationhub_event_errors", "Events refused", labels=["code"])
        for code, count in gateway.counters.errors.items():
            errors.add_metric([code], count)
        yield errors


def registry(gateway: Gateway) -> CollectorRegistry:
    """The metrics of one gateway and its process."""
    found = CollectorRegistry()
    found.register(_Counters(gateway))
    ProcessCollector(registry=found)
    return found
