"""A station with cameras, and Chromium's own WebRTC: what it sees, and how soon the station finds out that it left."""

import asyncio
from typing import Any, Final

import pytest
from playwright.async_api import Page

from devices.camera import Cameras
from devices.operator import Operator
from tests.e2e.console.conftest import Console
from tests.e2e.waiting import GUARD

pytestmark = pytest.mark.asyncio(loop_scope="module")

OFFER: Final = """async () => {
  const pc = (window.pc = new RTCPeerConnection());
  const candidates = [];
  const gathered = new Promise((done) => {
    pc.onicecandidate = ({ candidate }) => (candidate ? candidates.push(candidate.toJSON()) : done());
  });
  const video = (window.video = document.createElement("video"));
  video.muted = video.autoplay = true;
  document.body.append(video);
  pc.ontrack = ({ track }) => (video.srcObject = new MediaStream([track]));
  for (const kind of ["video", "audio"]) pc.addTransceiver(kind, { direction: "recvonly" });
  const { type, sdp } = await pc.createOffer();
  await pc.setLocalDescription({ type, sdp });
  await gathered;
  return { offer: { type, sdp }, candidates };
}"""
"""The offer has no candidates: they follow, each on its own."""

SEEN: Final = """async (answer) => {
  await pc.setRemoteDescription(answer);
  await new Promise((done) => video.requestVideoFrameCallback(() => video.requestVideoFrameCallback(done)));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  const bright = context.getImageData(0, 0, canvas.width, 100).data.filter((_, at) => at % 4 === 1);
  return { width: canvas.width, height: canvas.height, darkest: Math.min(...bright), brightest: Math.max(...bright) };
}"""


async def watch(page: Page, operator: Operator) -> Any:
    """The page asks for a stream, and tells what it sees."""
    made = await page.evaluate(OFFER)
    request = {"stationId": "st-1", "cameraId": "lane", "offer": made["offer"]}
    await operator.request("station-cmd-request-stream", request)
    for candidate in made["candidates"]:
        await operator.request("ice-candidate", {"to": "station:st-1", "candidate": candidate})
    async with asyncio.timeout(GUARD):
        _, ready = await operator.next_push("station-stream-ready")
        return await page.evaluate(SEEN, ready["answer"])


async def left(cameras: Cameras) -> float:
    """Seconds until the station knows that nobody watches."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(2 * GUARD):
        while cameras.viewers:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    return loop.time() - began


async def test_a_stream(console: Console) -> None:
    """Chromium shows the picture; a connection that it closes is gone at once, that of a tab that was closed soon."""
    station = console.station()
    async with Cameras.attach(station) as cameras:
        await console.connect(station)
        operator = await console.operator()
        page = await console.page(None)
        seen = await watch(page, operator)
        assert (seen["width"], seen["height"]) == (640, 360)
        assert seen["brightest"] - seen["darkest"] > 100
        await page.evaluate("pc.close()")
        assert await left(cameras) < 5.0  # one that fell silent is given up after ten
        await watch(page, operator)
        await page.close()
        assert await left(cameras) < 20.0
