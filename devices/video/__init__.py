"""What `devices.camera` is made of: pictures, feeds that viewers share, and peer connections. Its modules need the `video` extra.

CameraError
  (a text for the viewer; never an address, nor what a library or a stranger said)
"""

from typing import Final

__all__ = ["TEST", "CameraError"]

TEST: Final = "test"
"""The source that is a moving test picture."""


class CameraError(Exception):
    """The camera cannot be shown; `str()` says why, for the viewer."""
