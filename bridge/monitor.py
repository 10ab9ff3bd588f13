"""`monitor-update` for admins: computed once for all of them, and only while one is connected (contract.md section 3)."""

import time
from typing import Any, Final

import orjson
import psutil

from bridge.gateway import Gateway
from hub.embedded import EmbeddedLink
from hub.services import Services

__all__ = ["INTERVAL", "Monitor", "room_list"]

INTERVAL: Final = 2.0
"""Seconds between two updates."""


def room_list(services: Services, offset: int = 0, limit: int | None = None) -> list[dict[str, Any]]:
    """Rooms as admins see them, oldest first; `limit` None: all after `offset`."""
    rooms = services.rooms
    return [
        {
            "roomId": room_id,
            "users": (users := rooms.members(room_id)),
            "userCount": len(users),
            "createdAt": rooms.created_at(room_id),
        }
        for room_id in rooms.ids()[offset : None if limit is None else offset + limit]
    ]


class Monitor:
    """What admins see."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._started = time.monotonic()
        self._disk: tuple[float, Any] | None = None

    def tell(self) -> None:
        """Sends one update to all admins connected that read fast enough."""
        admins = [peer for peer in self._gateway.peers.values() if peer.admin and not peer.congested]
        if admins:
            payload = orjson.dumps(self.update())
            for peer in admins:
                peer.send_frame(peer.frame("monitor-update", payload))

    def update(self) -> dict[str, Any]:
        """The payload: rooms, this machine, and live counters."""
        services, gateway = self._gateway.services, self._gateway
        rooms = room_list(services)
        browsers = len(gateway.browsers())
        return {
            "timestamp": services.clock.wall_ms(),
            "rooms": rooms,
            "stats": self._machine(),
            "onlineUsers": browsers,
            "roomCount": len(rooms),
            "stations": {"known": len(services.presence), "online": len(services.presence.online_ids())},
            "mqtt": {
                "connected": services.link.connected,
                "messages": services.counters.messages,
                "malformed": services.counters.malformed,
                "statuses": services.board.counters.received,
            },
            "bridge": {
                "browsers": browsers,
                "peers": len(gateway.peers),
                "events": gateway.counters.events,
                "errors": sum(gateway.counters.errors.values()),
            },
            "broker": _broker(services.link) if isinstance(services.link, EmbeddedLink) else None,
        }

    def _machine(self) -> dict[str, Any]:
        memory = psutil.virtual_memory()
        return {
            "memory": {"used": memory.used, "total": memory.total, "percentage": memory.percent},
            "cpu": {"usage": psutil.cpu_percent(interval=None), "cores": psutil.cpu_count() or 1},
            "disk": self._disk_rates(),
            "uptime": round(time.monotonic() - self._started),
        }

    def _disk_rates(self) -> dict[str, float]:
        """Bytes a second since the last update; zeros for the first, and where the machine tells nothing."""
        now, counters = time.monotonic(), psutil.disk_io_counters()
        before, self._disk = self._disk, (now, counters)
        if before is None or counters is None or before[1] is None or now <= before[0]:
            return {"readPerSec": 0, "writePerSec": 0, "activePercent": 0}
        seconds, old = now - before[0], before[1]
        # busy_time is in milliseconds, and only some systems have it
        busy = getattr(counters, "busy_time", 0) - getattr(old, "busy_time", 0)
        return {
            "readPerSec": round((counters.read_bytes - old.read_bytes) / seconds),
            "writePerSec": round((counters.write_bytes - old.write_bytes) / seconds),
            "activePercent": round(min(100.0, busy / seconds / 10), 1),
        }


def _broker(link: EmbeddedLink) -> dict[str, Any] | None:
    """What there is in the broker of this process, what it has done since its start, and where it listens; None: it has ended."""
    if not link.connected:
        return None
    engine = link.broker.engine
    gauges, stats = engine.gauges(), engine.stats
    return {
        "connections": gauges.connections,
        "sessions": gauges.sessions,
        "subscriptions": gauges.subscriptions,
        "retained": gauges.retained,
        "queued": gauges.queued,
        "inflight": gauges.inflight,
        "messagesReceived": stats.messages_received,
        "messagesSent": stats.messages_sent,
        "bytesReceived": stats.bytes_received,
        "bytesSent": stats.bytes_sent,
        "dropped": sum(stats.dropped.values()),
        "denied": sum(stats.denied.values()),
        "refused": stats.refused,
        "ports": {"mqtt": link.mqtt_port, "ws": link.mqtt_ws_port, "mqtts": link.mqtts_port},
    }
