"""HTTPS and wss on the one port, by the hub's own certificate."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from hub.serve import Hub
from tests.e2e.conftest import settings
from tests.e2e.waiting import GUARD
from tests.hub.broker.test_tls import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def hub(tmp_path: Path, authority: Authority) -> AsyncIterator[Hub]:
    certificate, key = authority.server()
    options: dict[str, Any] = {"https": True, "tls_certificate": certificate, "tls_key": key}
    async with Hub(settings(tmp_path, **options)) as hub:
        yield hub


async def test_https(hub: Hub, authority: Authority) -> None:
    """Every answer, errors too, tells browsers to stay with HTTPS; the certificate is the configured one."""
    assert hub.http_url == f"https://127.0.0.1:{hub.http_port}"
    assert hub.ready()["http"] == hub.http_url
    async with httpx.AsyncClient(base_url=hub.http_url, verify=authority.context(), trust_env=False) as http:
        for path, status in (
            ("/health", 200),
            ("/", 200),
            ("/docs", 200),
            ("/nowhere", 404),
            ("/stations/online", 401),
        ):
            answer = await http.get(path)
            assert answer.status_code == status
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
        moved = await http.get("/health/")
        assert moved.headers.get("location", "https://").startswith("https://")
    async with httpx.AsyncClient(base_url=hub.http_url, trust_env=False) as stranger:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await stranger.get("/health")


async def test_wss(hub: Hub, authority: Authority) -> None:
    """The native door, by TLS."""
    url = f"wss://127.0.0.1:{hub.http_port}/ws?token={hub.tokens.mint_user('u1')}"
    async with asyncio.timeout(GUARD), connect(url, ssl=authority.context(), proxy=None) as socket:
        assert '"event":"welcome"' in str(await socket.recv())
        await socket.send('{"id":1,"event":"ping"}')
        assert '"pong":true' in str(await socket.recv())


async def test_no_tls(hub: Hub, authority: Authority) -> None:
    """One who does not speak TLS, or hangs up in the middle of it, is closed and holds up nobody."""
    for opening in (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.http_port)
        writer.write(opening)
        writer.write_eof()
        try:
            async with asyncio.timeout(GUARD):
                assert b"HTTP/1.1 200" not in await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()
    async with httpx.AsyncClient(verify=authority.context(), trust_env=False) as http:
        assert (await http.get(f"{hub.http_url}/ready")).json() == {"status": "ready"}
