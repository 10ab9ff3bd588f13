"""The tests' own Mosquitto: it is never taken for another that runs beside it."""

from pathlib import Path

import pytest

from tests.mosquitto import Mosquitto, mosquitto


@pytest.mark.parametrize("name", ["port", "ws_port"])
async def test_a_port_that_another_has(tmp_path: Path, name: str) -> None:
    """Though somebody accepts there, this one did not start."""
    for each in ("one", "other"):
        (tmp_path / each).mkdir()
    async with mosquitto(tmp_path / "one") as broker:
        other = Mosquitto(tmp_path / "other")
        setattr(other, name, getattr(broker, name))
        with pytest.raises(RuntimeError, match=r"in use|Unable to create"):
            await other.start()
        await broker.restart()
