"""What the routes with pages have in common."""

from typing import Annotated, Final

from fastapi import Query

__all__ = ["PRINTABLE", "Limit", "LongLimit", "Offset"]

PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$"
"""Text without control characters: one line, and what every database takes."""

Limit = Annotated[int, Query(ge=1, le=200, description="How many, at most.")]
LongLimit = Annotated[int, Query(ge=1, le=500, description="How many, at most.")]
"""Where an item is a few hundred bytes, and pages show all there are: 10,000 are twenty requests."""
Offset = Annotated[int, Query(ge=0, le=1_000_000, description="How many to pass over.")]
