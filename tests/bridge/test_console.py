"""The console's models, tested by Node: no browser is needed for what is no page."""

import asyncio
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


async def test_models() -> None:
    """Every `tests/console/*.test.js`; what failed is shown."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed (apt install nodejs)")
    files = sorted(map(str, (ROOT / "tests" / "console").glob("*.test.js")))
    assert files
    process = await asyncio.create_subprocess_exec(
        node, "--test", "--test-reporter=spec", *files, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
