"""Feeds: the frames of one camera for all its viewers, made once. A feed runs while somebody watches.

`PictureFeed` draws the test picture on the event loop; `SourceFeed` reads a file or a network camera in a thread of its own. Not
aiortc's MediaPlayer: that opens on the event loop, joins its thread there, and keeps the sound of the source in memory for ever.
"""

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from fractions import Fraction
from typing import Any, Final

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from devices.video import CameraError
from devices.video.picture import Drawing, Picture

__all__ = ["Feed", "PictureFeed", "SourceFeed", "View"]

FPS: Final = 15
LARGEST: Final = (640, 360)
"""Points: pictures of a source are made smaller to fit."""
CLOCK_RATE: Final = 90_000
OPENS_WITHIN: Final = 5.0
"""Seconds for a source to open, and for each read."""
ENDS_WITHIN: Final = 2 * OPENS_WITHIN
PROBE_MICROSECONDS: Final = 1_000_000
"""How long a source is looked at before it is shown; FFmpeg's own 5 s are long for who waits for a picture."""
JUMP_SECONDS: Final = 5.0
"""A file's time that is so far off was not meant: it goes on from there."""


class View(MediaStreamTrack):
    """One viewer's track of a feed: always the newest picture; what came while it was busy is left out."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._picture: Picture | None = None
        self._changed = asyncio.Event()
        self._began = time.monotonic()

    def show(self, picture: Picture | None) -> None:
        """The next picture; None: there are no more."""
        self._picture = picture
        if picture is None:
            self.stop()
        self._changed.set()

    async def recv(self) -> VideoFrame:
        """The next frame, one of its own: an encoder writes into it. Raises MediaStreamError at the end."""
        await self._changed.wait()
        self._changed.clear()
        picture = self._picture
        if picture is None or self.readyState != "live":
            self._changed.set()
            raise MediaStreamError
        frame = VideoFrame(picture.width, picture.height, "yuv420p")
        for plane, points in zip(frame.planes, picture.planes, strict=True):
            plane.update(points)
        frame.pts = int((time.monotonic() - self._began) * CLOCK_RATE)
        frame.time_base = Fraction(1, CLOCK_RATE)
        return frame


class Feed(ABC):
    """See the module.

    Attributes:
        ended: there are no more pictures.
    """

    def __init__(self) -> None:
        self._views: set[View] = set()
        self.ended = asyncio.Event()

    @property
    def watched(self) -> bool:
        """Whether somebody does."""
        return bool(self._views)

    def view(self) -> View:
        """A track for one more viewer."""
        view = View()
        self._views.add(view)
        return view

    def leave(self, view: View) -> None:
        """That viewer is gone."""
        self._views.discard(view)
        view.show(None)

    def _show(self, picture: Picture | None) -> None:
        if picture is None:
            self.ended.set()
        for view in self._views:
            view.show(picture)

    @abstractmethod
    async def open(self) -> None:
        """Returns once there are pictures to come. Raises CameraError."""

    @abstractmethod
    async def close(self) -> None:
        """Ends it. The second time it does nothing."""


class PictureFeed(Feed):
    """The test picture with two lines of text, see `Drawing`."""

    def __init__(self, title: str, subtitle: str) -> None:
        super().__init__()
        self._drawing = Drawing(title, subtitle)
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._draw(), name="test picture")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._show(None)

    async def _draw(self) -> None:
        due = time.monotonic()
        while True:
            wall = time.time()
            clock = f"{time.strftime('%H:%M:%S', time.localtime(wall))}.{int(wall % 1 * 10)}"
            self._show(self._drawing.picture(wall, clock))
            due = max(due + 1 / FPS, time.monotonic())
            await asyncio.sleep(due - time.monotonic())


class SourceFeed(Feed):
    """A file, which plays again and again, or a network camera (`rtsp://`, over TCP): whatever FFmpeg opens.

    Args:
        source: the path or address; never told to anybody.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._over = asyncio.Event()
        self._quit = threading.Event()
        self._thread: threading.Thread | None = None

    async def open(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="camera source", daemon=True)
            self._thread.start()
        await asyncio.shield(self._opened)

    async def close(self) -> None:
        self._quit.set()
        self._show(None)
        if self._thread is None:
            return
        try:
            async with asyncio.timeout(ENDS_WITHIN):
                await self._over.wait()
        except TimeoutError:
            pass  # it hangs in a library: as a daemon it keeps nobody from leaving
        if self._opened.done() and not self._opened.cancelled():
            self._opened.exception()  # nobody may have waited for it

    # ---- in the thread

    def _tell(self, call: Any, *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            self._quit.set()  # the loop is closed

    def _run(self) -> None:
        try:
            with _open(self._source) as container:
                self._play(container)
        except CameraError as error:
            self._tell(self._failed, error)
        except Exception:
            self._tell(self._failed, CameraError("the camera's source cannot be played"))
        finally:
            self._tell(self._show, None)
            self._tell(self._over.set)

    def _failed(self, error: CameraError) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)

    def _ready(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    def _play(self, container: "av.container.InputContainer") -> None:
        """Shows it at its own pace, in a loop if it can be wound back."""
        pace, first = _Pace(self._quit), True
        while not self._quit.is_set():
            frames = 0
            for frame in container.decode(video=0):
                if first:
                    self._tell(self._ready)
                    first = False
                frames += 1
                wanted = pace.wanted(frame, live=container.duration is None)
                if self._quit.is_set():
                    return
                if wanted:
                    self._tell(self._show, _picture(frame))
            if container.duration is None or not frames:
                return
            container.seek(0)
            pace.again()


class _Pace:
    """Which frames are shown, and when."""

    def __init__(self, quit_: threading.Event) -> None:
        self._quit = quit_
        self._start: float | None = None
        self._shown = 0.0

    def again(self) -> None:
        """It starts from the beginning; a still picture is no reason to hurry."""
        self._start = None
        self._quit.wait(1 / FPS)

    def wanted(self, frame: VideoFrame, *, live: bool) -> bool:
        """Whether to show this frame; waits until its time, if it is not `live`."""
        now = time.monotonic()
        if not live and frame.pts is not None:
            if self._start is None or abs(self._start + frame.time - now) > JUMP_SECONDS:
                self._start = now - frame.time
            due = self._start + frame.time
            if due - self._shown < 0.9 / FPS:
                return False
            self._quit.wait(max(0.0, due - now))
        elif now - self._shown < 0.9 / FPS:
            return False
        self._shown = time.monotonic()
        return True


def _open(source: str) -> "av.container.InputContainer":
    """Raises CameraError, in words of our own: a library's would repeat the address, and its password."""
    options = {"analyzeduration": str(PROBE_MICROSECONDS)}
    if source.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
    try:
        container = av.open(source, timeout=OPENS_WITHIN, options=options)
    except FileNotFoundError:
        raise CameraError("the camera's source was not found") from None
    except PermissionError:
        raise CameraError("the camera's source refuses access") from None
    except ConnectionError:
        raise CameraError("the camera's source cannot be reached") from None
    except (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError):
        raise CameraError("the camera's source refuses access") from None
    except (TimeoutError, av.error.ExitError):
        raise CameraError("the camera's source did not answer in time") from None
    except (OSError, ValueError, av.error.FFmpegError):
        raise CameraError("the camera's source does not open") from None
    if not container.streams.video:
        container.close()
        raise CameraError("the camera's source has no video")
    return container


def _picture(frame: VideoFrame) -> Picture:
    """A decoded frame, made as small as `LARGEST`; the width is a multiple of 16, so that rows have no padding."""
    scale = min(1.0, LARGEST[0] / frame.width, LARGEST[1] / frame.height)
    width = max(16, int(frame.width * scale) // 16 * 16)
    height = max(16, int(frame.height * scale) // 2 * 2)
    small = frame.reformat(width, height, "yuv420p")
    sizes = ((width, height), (width // 2, height // 2), (width // 2, height // 2))
    y, u, v = (_tight(plane, *size) for plane, size in zip(small.planes, sizes, strict=True))
    return Picture(width, height, (y, u, v))


def _tight(plane: Any, width: int, height: int) -> bytes:
    points, step = bytes(plane), plane.line_size
    if step == width:
        return points[: width * height]
    return b"".join(points[row * step : row * step + width] for row in range(height))
