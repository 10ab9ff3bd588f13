"""What a machine must allow: said before the start, with the command that raises it."""

import math
from pathlib import Path

import pytest

from simulator import limits
from simulator.limits import check_files, check_ports
from simulator.options import MOST_WORKERS
from simulator.scenario import SimulationError


def test_open_files_are_counted_for_the_busiest_worker() -> None:
    """One for each connection, and some of its own."""
    assert check_files(10_000, 200, 1, math.inf) == 10_328
    assert check_files(10_000, 200, 4, math.inf) == 2_678
    assert check_files(10_001, 0, 2, 5_129) == 5_129


def test_too_few_open_files_name_the_command_and_the_workers_that_would_do() -> None:
    with pytest.raises(SimulationError) as failed:
        check_files(10_000, 200, 1, 4_096)
    assert "10,000 stations and 200 browsers need 10,328 open files" in str(failed.value)
    assert "4,096 are allowed" in str(failed.value)
    assert "`prlimit --pid $$ --nofile=10328:10328`" in str(failed.value)
    assert "--workers 3" in str(failed.value)
    check_files(10_000, 200, 3, 4_096)


def test_ports() -> None:
    """Each connection to one address has one; those to two addresses share."""
    check_ports(28_232, 32_768, 60_999)
    with pytest.raises(SimulationError, match=r"28,233 connections to one address .* gives 28,232: .*sysctl"):
        check_ports(28_233, 32_768, 60_999)


@pytest.mark.parametrize(("stations", "browsers"), [(10_001, 1), (10_000, 200), (7, 7), (49_999, 4_999)])
@pytest.mark.parametrize("most", [135, 1_024, 4_096, 5_129])
def test_so_many_workers_as_it_says_do(stations: int, browsers: int, most: int) -> None:
    try:
        check_files(stations, browsers, 1, most)
    except SimulationError as error:
        told, _, workers = str(error).rpartition("--workers ")
        if told:
            assert int(workers) <= MOST_WORKERS
            check_files(stations, browsers, int(workers), most)
        else:  # as many as there may be would not do either
            with pytest.raises(SimulationError):
                check_files(stations, browsers, MOST_WORKERS, most)


def test_a_broker_alone_is_one_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stations and browsers share the ports; a machine that does not say its ports is believed."""
    monkeypatch.setattr(limits, "PORT_RANGE", tmp_path / "range")
    limits.allow(6, 5, 1, one_address=True)
    (tmp_path / "range").write_text("32768\t32777\n")
    limits.allow(10, 10, 1)
    limits.allow(6, 4, 1, one_address=True)
    with pytest.raises(SimulationError, match="11 connections to one address"):
        limits.allow(6, 5, 1, one_address=True)
