"""The report."""

from rich.console import Console

from simulator.report import figures, table
from simulator.stats import Stats

KEYS = (
    "seconds stations stationsConnected browsers browsersConnected sent sentPerSecond received receivedPerSecond"
    " batchDelayMs ackMs answerMs errors"
)


def test_the_keys_are_fixed() -> None:
    """Scripts read them: none comes or goes with what happened."""
    assert list(figures(Stats(), [], [])) == KEYS.split()


def test_who_is_not_connected_is_an_error() -> None:
    """A fleet that is not whole fails the run."""
    shown = figures(Stats(), [True, False], [True])
    assert (shown["stations"], shown["stationsConnected"]) == (2, 1)
    assert shown["errors"] == {"station: not connected": 1}


def test_the_table_shows_each_figure() -> None:
    """People see what the JSON holds, errors by kind."""
    stats = Stats()
    stats.errors["station-invite: STATION_OFFLINE"] = 3
    stats.ack.record(2.0)
    console = Console(width=100)
    with console.capture() as captured:
        console.print(table(figures(stats, [True] * 5, [])))
    text = captured.get()
    assert "5 of 5" in text
    assert "station-invite: STATION_OFFLINE" in text
    assert text.count("- / -") == 2  # batch delay and answer: nothing was timed
