"""What a machine must allow: said before the start, with the command that raises it."""

import math

import pytest

from simulator.limits import check_files, check_ports
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
    check_ports(28_232, 28_232, 32_768, 60_999)
    with pytest.raises(SimulationError, match=r"28,233 connections to one address .* gives 28,232: .*sysctl"):
        check_ports(28_233, 0, 32_768, 60_999)
