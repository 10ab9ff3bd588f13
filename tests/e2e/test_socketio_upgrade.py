"""From polling to a WebSocket while much is going on, and where a WebSocket does not get through."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from hub.serve import Hub
from tests.e2e.conftest import settings
from tests.e2e.npm import Node
from tests.e2e.scene import MODULE_LOOP, Scene, scene, set_scene, stage  # noqa: F401  # fixtures

pytestmark = MODULE_LOOP


@contextlib.asynccontextmanager
async def proxy(port: int, gate: asyncio.Event | None) -> AsyncIterator[str]:
    """A proxy on the way to a hub: WebSockets wait at the gate; without a gate, they do not get through."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"upgrade: websocket" in head.lower():
                if gate is None:
                    writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    writer.close()
                    return
                await gate.wait()
            upstream, to_hub = await asyncio.open_connection("127.0.0.1", port)
            to_hub.write(head)
            await asyncio.gather(pipe(reader, to_hub), pipe(upstream, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_nothing_is_lost(stage: tuple[Hub, Node], tmp_path: Path) -> None:  # noqa: F811
    """Pages that change over while pushes come get each once, in order; so do those that they send meanwhile."""
    gate, done = asyncio.Event(), asyncio.Event()
    async with (
        Hub(settings(tmp_path, event_rate=0.0)) as hub,
        set_scene(hub, stage[1], "upgraded") as scene,  # noqa: F811
        proxy(hub.http_port, gate) as url,
    ):
        edge, witness = await scene.operator("admin"), await scene.operator()
        room = await witness.request("create-room")

        async def come_and_go() -> str:
            number = 0
            while not done.is_set():
                number += 1  # one socket, one station after the other
                await edge.request("station-register", {"stationId": f"st-{number}"})
            return f"st-{number}"

        options = {"transports": ["polling", "websocket"], "auth": {"token": scene.token()}}
        pages = [stage[1].connect(url, options) for _ in range(10)]
        for page in pages:
            await page.connected()
            await page.ack("join-room", room)
        flood = asyncio.create_task(come_and_go())
        sent = {page.peer_id: 0 for page in pages}

        def send() -> None:
            for page in pages:
                sent[page.peer_id] += 1
                page.emit("ice-candidate", {"to": witness.peer_id, "candidate": {"number": sent[page.peer_id]}})

        for page in pages:  # they are in the middle of it
            send()
            await page.push("station-connected")
        gate.set()
        for page in pages:
            send()
            assert await page.life() == ["websocket"]
        send()
        done.set()
        last = await flood
        for page in pages:
            heard = list[str]()
            while not heard or heard[-1] != last:
                heard.append((await page.push("station-connected"))[1]["stationId"])
            first = int(heard[0].removeprefix("st-"))
            assert heard == [f"st-{number}" for number in range(first, first + len(heard))]
            changed = page.log.index("upgrade")
            assert "station-connected" in page.log[:changed]
            assert "station-connected" in page.log[changed:]
        came: dict[str, list[int]] = {peer_id: [] for peer_id in sent}
        while sum(map(len, came.values())) < sum(sent.values()):
            _, data = await witness.next_push("ice-candidate")
            came[data["from"]].append(data["candidate"]["number"])
        assert came == {peer_id: list(range(1, number + 1)) for peer_id, number in sent.items()}
        for page in pages:
            page.close()
            await page.life("disconnect")


async def test_no_way_through(scene: Scene) -> None:  # noqa: F811
    """Behind a proxy that lets no WebSocket pass a page stays on polling, and misses nothing."""
    async with proxy(scene.hub.http_port, None) as url:
        options = {"transports": ["polling", "websocket"], "auth": {"token": scene.token()}}
        page = await scene.node.connect(url, options).connected()
        await scene.ws_station(scene.station_id)
        assert await page.push() == ("station-connected", {"stationId": scene.station_id})
        for _ in range(20):
            assert (await page.request("ping"))["pong"] is True
        assert page.log.count("upgrade") == 0
        assert (page.transport, "disconnect" in page.log) == ("polling", False)
        page.close()
        await page.life("disconnect")
