"""Shards: parts of a step's work that are done at the same time, each by its own task."""

import re
from typing import Annotated, NamedTuple, Self

from pydantic import Field

from admlops.config import Config
from admlops.errors import ConfigError

_REFERENCE = re.compile(r"^([1-9][0-9]{0,5})/([1-9][0-9]{0,5})$")
SHARD = "shard"
"""Names the shard in the provenance of its result."""
WHOLE = "1/1"
"""The only shard of work that is not cut."""

ShardReference = Annotated[str, Field(pattern=_REFERENCE.pattern)]
"""A shard as text, "2/8" for the second of eight: what a loop of a pipeline iterates over."""


class ShardCounts(Config):
    """Into how many shards the work of a pipeline's steps is cut."""

    ingest: int = Field(default=1, ge=1, le=1000)
    """Tasks that read the source at the same time."""
    predict: int = Field(default=1, ge=1, le=1000)
    """Tasks that predict at the same time, each on a GPU where there are some."""


class Shard(NamedTuple):
    """One of several shards.

    Attributes:
        number: from 1.
        num_shards: how many there are.
    """

    number: int
    num_shards: int

    @classmethod
    def parse(cls, reference: str) -> Self:
        """Read a reference.

        Raises:
            ConfigError: it is none, or names a shard beyond the last.
        """
        match = _REFERENCE.match(reference)
        if match is None or int(match[1]) > int(match[2]):
            raise ConfigError(f"shard {reference!r}: expected for example '2/8', from '1/8' on")
        return cls(int(match[1]), int(match[2]))

    def cut(self, length: int) -> range:
        """Return which of `length` items are this shard's; shards differ by at most one item.

        >>> [Shard.parse(text).cut(5) for text in ("1/2", "2/2")]
        [range(0, 2), range(2, 5)]
        """
        return range(
            length * (self.number - 1) // self.num_shards, length * self.number // self.num_shards
        )


def list_shards(count: int) -> list[str]:
    """Return the references of all shards.

    >>> list_shards(2)
    ['1/2', '2/2']
    """
    return [f"{number}/{count}" for number in range(1, count + 1)]
