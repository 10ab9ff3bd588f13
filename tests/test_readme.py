"""What the READMEs say is so: the tour runs and prints what it shows, every option has its row, every link its file."""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path

import pytest

from hub.broker.limits import Limits
from hub.config import Settings
from tests.mosquitto import free_port

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-CN.md")
GUARD = 30.0
HUB_LOG = re.compile(r"\d{4}-\d\d-\d\dT\S+Z \[")


def tour(readme: str) -> list[tuple[str, list[str]]]:
    """The commands of the console blocks, each with the output shown."""
    steps: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", (ROOT / readme).read_text(), re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            else:
                steps[-1][1].append(line)
    return steps


def shape(line: str) -> str:
    """A line without what differs from run to run: ids, numbers, times, widths."""
    line = re.sub(r"[─━┄]+", "─", line)
    line = re.sub(r"\b[0-9a-f]{24}\b", "ID", line)
    line = re.sub(r"password \S+", "password X", line)
    line = re.sub(r"\d[\d,.:]*", "0", line)
    return re.sub(r"\s+", " ", line).strip()


def test_both_languages_take_the_same_tour() -> None:
    first, second = (tour(readme) for readme in READMES)
    assert first == second
    assert len(first) >= 6


class Tour:
    """One bash that keeps its background jobs, on ports of its own."""

    def __init__(self, bash: asyncio.subprocess.Process, ports: dict[str, str]) -> None:
        self.bash, self.ports = bash, ports

    async def run(self, command: str, lines: int) -> list[str]:
        """Runs a command; a background one is waited for until it printed as many lines as shown."""
        assert self.bash.stdin is not None
        assert self.bash.stdout is not None
        for old, new in self.ports.items():
            command = command.replace(old, new)
        background = command.endswith("&")
        self.bash.stdin.write(f"{command} 2>&1\n".replace("& 2>&1", "2>&1 &").encode())
        if not background:
            self.bash.stdin.write(b"echo END $?\n")
        await self.bash.stdin.drain()
        output: list[str] = []
        async with asyncio.timeout(GUARD):
            while not (background and len(output) == lines):
                line = (await self.bash.stdout.readline()).decode()
                assert line, output
                if line.startswith("END "):
                    assert line == "END 0\n", output
                    break
                if "hub serve" in command or not HUB_LOG.match(line):  # the hub in the background shares the terminal
                    output.append(line.rstrip("\n"))
        return output


@pytest.fixture
async def bash(tmp_path: Path) -> AsyncIterator[Tour]:
    ports = {name: str(free_port()) for name in ("3101", "1883", "8083")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    environment |= {"HUB_PORT": ports["3101"], "HUB_MQTT_PORT": ports["1883"], "HUB_MQTT_WS_PORT": ports["8083"]}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    shell = await asyncio.create_subprocess_exec(
        "bash",
        cwd=tmp_path,
        env=environment | {"PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    yield Tour(shell, ports)
    assert shell.stdin is not None
    shell.stdin.write(b"kill $(jobs -p); wait; exit\n")
    shell.stdin.close()
    await asyncio.wait_for(shell.wait(), GUARD)


# what the tour's commands find by default, where the hub of the test is not
DEFAULTS = {
    "hub stations": "hub stations --http http://127.0.0.1:3101",
    "hub simulate": "hub simulate --http http://127.0.0.1:3101 --mqtt mqtt://127.0.0.1:1883",
    "mosquitto_pub": "mosquitto_pub -p 1883",
}


async def test_the_tour(bash: Tour) -> None:
    """Each command of the README prints what the README shows, numbers aside."""
    if shutil.which("mosquitto_pub") is None:
        pytest.skip("mosquitto_pub is not installed (apt install mosquitto-clients)")
    for command, shown in tour("README.md"):
        runs = command
        for default, explicit in DEFAULTS.items():
            runs = re.sub(rf"^{default}", explicit, runs)
        printed = await bash.run(runs, len(shown))
        assert [shape(line) for line in printed if line.strip()] == [shape(line) for line in shown], command


@pytest.mark.parametrize("readme", READMES)
def test_every_option_has_its_row(readme: str) -> None:
    text = (ROOT / readme).read_text() + (ROOT / "docs/broker.md").read_text()
    rows = re.findall(r"^\| `--([a-z0-9-]+)` \| `(HUB_[A-Z0-9_]+)` \| `?([^|`]*)`? \|", text, re.M)
    bounds = [f"mqtt-{name}" for name in (field.name.replace("_", "-") for field in fields(Limits))]
    options = [name.replace("_", "-") for name in Settings.model_fields]
    assert [name for name, _, _ in rows] == [name for name in options if name not in bounds] + bounds
    for name, variable, default in rows:
        assert variable == f"HUB_{name.replace('-', '_').upper()}"
        value = Settings.model_fields[name.replace("-", "_")].default
        if isinstance(value, bool):
            assert default in (("on", "开") if value else ("off", "关")), name
        elif value not in (None, []):
            assert str(value).removesuffix(".0") == default, name


@pytest.mark.parametrize(
    "document",
    [
        *READMES,
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        *(f"docs/{name}.md" for name in ("design", "performance", "broker", "http")),
    ],
)
def test_links_and_paths(document: str) -> None:
    """What a document points to is there."""
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / document).parent.joinpath(target).exists(), target
    for path in re.findall(
        r"`((?:hub|bridge|devices|simulator|tests|benchmarks|scripts|examples|docs)/[\w./-]+)`", text
    ):
        assert (ROOT / path.rstrip("/")).exists(), path
