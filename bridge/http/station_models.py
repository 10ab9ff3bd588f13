"""What `/stations` takes and gives, as pydantic models."""

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from bridge.http.paging import PRINTABLE
from devices.messages import Message

__all__ = [
    "Camera",
    "CreatedStation",
    "NewStation",
    "RotatedKey",
    "SeriesItem",
    "StationChanges",
    "StationHistory",
    "StationItem",
    "StationPage",
    "StationPresence",
    "Tag",
]

NEW_ID: Final = r"^[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*$"
"""A station id (contract.md section 2) that a URL can hold: not dots alone."""
URL: Final = r"^((https?|rtsps?|rtmps?|wss?|srt)://[^\x00-\x20\x7f]+)?$"
"""No scheme that a page would run."""

Name = Annotated[str, Field(max_length=128, pattern=PRINTABLE)]
Location = Annotated[str, Field(max_length=256, pattern=PRINTABLE)]
Tag = Annotated[str, Field(min_length=1, max_length=64, pattern=PRINTABLE)]


class Camera(Message):
    """A camera of a station; `url` is shown to operators and admins only, for it may hold a password."""

    camera_id: Annotated[str, Field(min_length=1, max_length=256, pattern=PRINTABLE)]
    name: Name = ""
    url: Annotated[str, Field(max_length=2048, pattern=URL)] = ""


def _once(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


def _last(cameras: Iterable[Camera]) -> list[Camera]:
    """Of two with one id the later counts."""
    return list({camera.camera_id: camera for camera in cameras}.values())


class StationChanges(Message):
    """What may be changed of a station; what is left out stays. Lists are replaced whole."""

    name: Name = ""
    location: Location = ""
    tags: Annotated[list[Tag], Field(max_length=32), AfterValidator(_once)] = Field(default_factory=list)
    cameras: Annotated[list[Camera], Field(max_length=64), AfterValidator(_last)] = Field(default_factory=list)

    def changes(self) -> dict[str, Any]:
        """The fields that were sent, as they are stored."""
        return self.model_dump(by_alias=True, exclude_unset=True, include=set(StationChanges.model_fields)) | (
            {"cameras": [camera.model_dump(by_alias=True) for camera in self.cameras]}
            if "cameras" in self.model_fields_set
            else {}
        )


class NewStation(StationChanges):
    """A station to enter."""

    station_id: Annotated[str, Field(min_length=1, max_length=64, pattern=NEW_ID)]


class StationPresence(Message):
    """The verdict: `since` when, in milliseconds since 1970, and `via` which way the station is there."""

    state: Literal["online", "offline"]
    since: int | None
    via: Literal["mqtt", "websocket"] | None


class StationItem(Message):
    """A station. One that nobody entered (`registered` false) has no times; times are milliseconds since 1970."""

    station_id: str
    name: str
    location: str
    tags: list[str]
    cameras: list[Camera]
    registered: bool
    created_at: int | None
    updated_at: int | None
    presence: StationPresence
    status: Annotated[
        dict[str, Any] | None,
        Field(
            description="The last status; null: none yet, or in a list whose statuses are larger than 4 MB together."
        ),
    ]


class SeriesItem(Message):
    """One number of one device, a value for each time; null where that report had none."""

    device_id: str
    metric: str
    values: list[float | None]


class StationHistory(Message):
    """What a station's devices reported in the last ten minutes: of five seconds at most one report, the newest, to seven digits.

    It begins when the hub started, or came to have room for it (`--history`). Milliseconds since 1970, by the hub's clock.
    """

    station_id: str
    now: int
    times: Annotated[list[int], Field(description="When the reports came, oldest first.")]
    series: list[SeriesItem]


class RotatedKey(Message):
    """A device key."""

    station_id: str
    key: Annotated[str, Field(description="Shown this once; only a hash of it is kept.")]


class CreatedStation(StationItem, RotatedKey):
    """A station just entered, with its device key."""


class StationPage(Message):
    """Some of the stations."""

    items: list[StationItem]
    total: Annotated[int, Field(description="How many match in all.")]
    limit: int
    offset: int
