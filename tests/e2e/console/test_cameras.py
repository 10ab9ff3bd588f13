"""Cameras on the page of a station: streams that really play, and those that do not."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from devices import Job, Station
from devices.messages import Signal
from tests.e2e.console.conftest import Console
from tests.e2e.waiting import until

pytest.importorskip("aiortc", reason="the video extra is not installed")

from devices.camera import Cameras

pytestmark = pytest.mark.asyncio(loop_scope="module")

MARKUP: Final = "<img src=x onerror=alert(1)>"
IDS: Final = ("lane", "yard", MARKUP)

LOOK: Final = """async video => {
  let frames = 0;
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`only ${frames} frames came`)), 12000);
    const next = () => ++frames === 8 ? resolve() : video.requestVideoFrameCallback(next);
    video.requestVideoFrameCallback(next);
  });
  if (!video.videoWidth) throw new Error('it has no size');
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const pen = canvas.getContext('2d');
  pen.drawImage(video, 0, 0);
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  let brightest = 0, darkest = 255;
  for (let at = 0; at < data.length; at += 4) {
    brightest = Math.max(brightest, data[at + 1]);
    darkest = Math.min(darkest, data[at + 1]);
  }
  return { width: video.videoWidth, height: video.videoHeight, brightest, darkest };
}"""
"""Waits for pictures, and tells how large and how bright the last of them is."""


class Yard:
    """A station with cameras. `answers`: by camera id, what is done instead of streaming.

    Attributes:
        asked: the cameras that somebody wanted to see.
        requester: who wanted to see the last one.
        signals: what came of browsers beside their requests.
        stopped: those that somebody did not want to see any more.
    """

    def __init__(self, console: Console) -> None:
        self.asked: list[str] = []
        self.requester = ""
        self.signals: list[Signal] = []
        self.stopped: list[Any] = []
        self.answers: dict[str, Callable[[Job], Awaitable[None]]] = {}
        self.station: Station = console.station("st-1", status=self._status, status_interval=0.5)
        self.cameras = Cameras("st-1", self.station)
        self.station.on("start-stream")(self._start)
        self.station.on("stop-stream")(self._stop)
        self.station.on_signal(self._signalled)

    def _status(self) -> list[dict[str, Any]]:
        names = {"lane": "Lane", "yard": "Yard", MARKUP: MARKUP}
        return [{"deviceId": each, "name": names[each], "type": "camera"} for each in IDS]

    def _signalled(self, signal: Signal) -> None:
        self.signals.append(signal)
        self.cameras.signalled(signal)

    async def _start(self, job: Job) -> None:
        camera_id, self.requester = job.command.camera_id or "", job.requester_id or ""
        self.asked.append(camera_id)
        await self.answers.get(camera_id, self._stream)(job)

    async def _stream(self, job: Job) -> None:
        await self.cameras.carry_out(job.command)

    async def _stop(self, job: Job) -> None:
        self.stopped.append(job.params)
        await self.cameras.carry_out(job.command)

    def says(self, status: str, **answer: Any) -> Callable[[Job], Awaitable[None]]:
        """An answer of another kind."""

        async def respond(job: Job) -> None:
            command = job.command
            assert command.requester_id is not None
            await self.station.stream_response(command.requester_id, status, camera_id=command.camera_id, **answer)

        return respond


@pytest_asyncio.fixture(loop_scope="module")
async def yard(console: Console) -> AsyncIterator[Yard]:
    made = Yard(console)
    async with made.cameras:
        await console.connect(made.station)
        yield made


def camera(page: Page, name: str) -> Locator:
    """The view of a camera."""
    return page.locator("hub-camera").filter(has=page.get_by_role("heading", name=name, exact=True))


async def view(page: Page, name: str) -> Locator:
    """Asks for a stream; gives its view."""
    await page.get_by_role("button", name=f"View: {name}", exact=True).click()
    return camera(page, name)


async def playing(page: Page, name: str) -> Locator:
    """Asks for a stream, and waits until it plays."""
    seen = await view(page, name)
    await expect(seen).to_have_attribute("data-stream", "playing")
    return seen


async def failed(view: Locator, reason: str) -> None:
    """It failed, for that reason, and may be tried again."""
    await expect(view.locator(".camera-told")).to_have_text(f"Failed: {reason}")
    await expect(view.get_by_role("button", name="Try again")).to_be_visible()
    await expect(view.locator("video")).to_have_count(0)


async def test_a_stream_plays(console: Console, yard: Yard) -> None:
    """Pictures come, with their size and rate; closing it ends the station's side."""
    page = await console.page("operator", "/station/st-1")
    seen = await playing(page, "Lane")
    picture = await seen.locator("video").evaluate(LOOK)
    assert (picture["width"], picture["height"]) == (640, 360)
    assert picture["brightest"] - picture["darkest"] > 100
    await expect(seen.locator(".camera-numbers")).to_have_text(re.compile(r"^640 × 360, [1-9]\d* frames/s$"))
    assert yard.cameras.viewers == 1
    assert {signal.event for signal in yard.signals} == {"ice-candidate"}
    assert all(signal.candidate["usernameFragment"] for signal in yard.signals)
    await console.picture(page, "station-camera")
    await seen.get_by_role("button", name="Close").click()
    await expect(seen).to_have_attribute("data-stream", "idle")
    await expect(seen.get_by_role("button", name="View")).to_be_focused()
    await until(lambda: yard.cameras.viewers == 0)
    assert yard.stopped == []  # it saw so by itself
    await expect(page.locator("hub-events .event")).to_have_text(re.compile("Stream of lane closed"))


async def test_several_at_once(console: Console, yard: Yard) -> None:
    """Two streams of one station play beside each other, and one stays when the other goes."""
    page = await console.page("operator", "/station/st-1")
    lane, yards = await view(page, "Lane"), await view(page, "Yard")
    for seen in (lane, yards):
        await expect(seen).to_have_attribute("data-stream", "playing")
        assert (await seen.locator("video").evaluate(LOOK))["brightest"] > 100
    assert yard.cameras.viewers == 2
    await yards.get_by_role("button", name="Large").click()
    await expect(yards).to_have_attribute("data-large", "")
    await console.picture(page, "station-two-cameras")
    await lane.get_by_role("button", name="Close").click()
    await until(lambda: yard.cameras.viewers == 1)
    assert (await yards.locator("video").evaluate(LOOK))["brightest"] > 100


async def test_leaving(console: Console, yard: Yard) -> None:
    """Streams end with the page of their station, with another address, and with signing out; not by another language."""
    page = await console.page("operator", "/station/st-1")
    seen = await playing(page, "Lane")
    await page.get_by_label("Language").select_option("zh")
    await expect(seen).to_have_attribute("data-stream", "playing")
    assert (await seen.locator("video").evaluate(LOOK))["brightest"] > 100
    assert yard.asked == ["lane"]
    await page.get_by_label("语言").select_option("en")
    await page.get_by_role("link", name="Back to the fleet").click()
    await until(lambda: yard.cameras.viewers == 0)
    await page.go_back()
    await playing(page, "Yard")
    await page.get_by_role("button", name="Sign out").click()
    await until(lambda: yard.cameras.viewers == 0)
    other = await console.page("operator", "/station/st-1")
    await playing(other, "Lane")
    await other.goto("about:blank")
    await until(lambda: yard.cameras.viewers == 0)


async def test_hub_away(console: Console, yard: Yard) -> None:
    """A stream goes on while the hub is away, and after it is back."""
    page = await console.page("operator", "/station/st-1")
    seen = await playing(page, "Lane")
    console.expect("ERR_CONNECTION_REFUSED|WebSocket connection|401|503")
    await console.stop()
    await expect(page.locator(".connection")).to_have_text("Connection lost")
    assert (await seen.locator("video").evaluate(LOOK))["brightest"] > 100
    await expect(page.get_by_role("button", name="View: Yard")).to_be_disabled()
    await console.start()
    await expect(page.locator(".connection")).to_have_text("Connected")
    await until(lambda: yard.station.connected)
    assert (await seen.locator("video").evaluate(LOOK))["brightest"] > 100
    await playing(page, "Yard")
    assert yard.asked == ["lane", "yard"]


async def test_the_station_ends_it(console: Console, yard: Yard) -> None:
    """A connection that the station closes is told as lost; trying again plays."""
    page = await console.page("operator", "/station/st-1")
    seen = await playing(page, "Lane")
    await yard.cameras.stop(yard.requester, "lane")
    await failed(seen, "the connection was lost.")
    await seen.get_by_role("button", name="Try again").click()
    await expect(seen).to_have_attribute("data-stream", "playing")
    assert (await seen.locator("video").evaluate(LOOK))["brightest"] > 100


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        ("error", {"error": f"{MARKUP} is dirty"}, f"the station says: {MARKUP} is dirty"),
        ("no-such-camera", {}, "the station says: no-such-camera"),
        ("ready", {"url": "rtsp://192.0.2.1/cam"}, "a browser cannot play rtsp://192.0.2.1/cam"),
        ("ready", {"url": "javascript:alert(1)"}, "a browser cannot play javascript:alert(1)"),
        ("ready", {"answer": {"type": "answer", "sdp": "v=1"}}, "the station's answer makes no sense."),
    ],
)
async def test_why_it_fails(console: Console, yard: Yard, status: str, answer: dict[str, Any], reason: str) -> None:
    """The station's own words, as text, and answers that a browser can do nothing with."""
    yard.answers["yard"] = yard.says(status, **answer)
    page = await console.page("operator", "/station/st-1")
    seen = await view(page, "Yard")
    await failed(seen, reason)
    await expect(page.locator("hub-events .event")).to_contain_text("Stream of yard failed")
    assert await page.locator("main img").count() == 0
    del yard.answers["yard"]
    await seen.get_by_role("button", name="Try again").click()
    await expect(seen).to_have_attribute("data-stream", "playing")
    await seen.get_by_role("button", name="Close").click()
    await until(lambda: yard.cameras.viewers == 0)


async def test_no_answer(console: Console, yard: Yard) -> None:
    """A station that does not answer in ten seconds is told so, and not to try any more."""

    async def silence(job: Job) -> None:
        pass

    yard.answers[MARKUP] = silence
    page = await console.page("operator", "/station/st-1")
    seen = await view(page, MARKUP)
    await expect(seen.locator(".camera-told")).to_have_text("Asking the station…")
    await failed(seen, "the station did not answer within 10 seconds.")
    await until(lambda: yard.stopped == [{"cameraId": MARKUP}])


async def test_a_stream_by_address(console: Console, yard: Yard, tmp_path: Path) -> None:
    """An address that a browser may open gets a video with controls; one that plays nothing is told."""
    clip = tmp_path / "clip.webm"
    await asyncio.to_thread(record, clip)
    address = f"{console.hub.http_url}/console/clip.webm"
    yard.answers["lane"] = yard.says("ready", url=address)
    page = await console.page("operator", "/station/st-1")
    await page.route(address, lambda route: route.fulfill(path=clip, content_type="video/webm"))
    seen = await playing(page, "Lane")
    video = seen.locator("video")
    assert await video.evaluate("video => [video.controls, video.muted, video.playsInline]") == [True] * 3
    await expect(seen.locator(".camera-numbers")).to_have_text("320 × 240")
    console.expect("404|ERR_|failed:")
    yard.answers["yard"] = yard.says("ready", url=f"{console.hub.http_url}/console/nothing.mp4")
    await failed(await view(page, "Yard"), f"{console.hub.http_url}/console/nothing.mp4 cannot be played.")


def record(path: Path) -> None:
    """A second of grey, as a file."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(10):
            frame = av.VideoFrame(320, 240, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([128]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


async def test_keyboard_and_full_screen(console: Console, yard: Yard) -> None:
    """All of it without a pointer; full screen is left again."""
    page = await console.page("operator", "/station/st-1")
    seen = camera(page, "Lane")
    await seen.get_by_role("button", name="View").press("Enter")
    await expect(seen).to_have_attribute("data-stream", "playing")
    await seen.get_by_role("button", name="Full screen").press("Enter")
    await page.wait_for_function("document.fullscreenElement?.localName === 'video'")
    await page.evaluate("document.exitFullscreen()")
    await page.wait_for_function("document.fullscreenElement === null")
    await seen.get_by_role("button", name="Close").press("Enter")
    await until(lambda: yard.cameras.viewers == 0)
