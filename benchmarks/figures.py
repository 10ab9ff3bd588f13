"""What every benchmark says beside its own figures, and how they are told."""

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["machine", "tell"]


def machine() -> dict[str, Any]:
    """On what they were measured."""
    return {"python": platform.python_version(), "cpus": os.cpu_count()}


def tell(figures: Mapping[str, Any], path: Path | None) -> None:
    """Prints them as JSON, and writes the same to a file where one is named."""
    text = json.dumps(figures, indent=2)
    print(text)
    if path is not None:
        path.write_text(text + "\n", encoding="utf-8")
