"""What tables of boxes have in common: columns of one row per box, and how they are picked."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Column(NamedTuple):
    """How one column is stored.

    Attributes:
        dtype: of the array.
        width: values per box; 0 is one value in a one-dimensional array.
        absent: what stands where nothing was given.
    """

    dtype: type
    width: int
    absent: Any


class BoxTable:
    """Columns of equal length, one row per box; `columns` names them in order.

    Attributes:
        category: (N,) object array of str.
        track_id: (N,) object array of str; "" where there is none.
        attributes: (N,) object array of str, a JSON object with sorted keys; "" where none.
    """

    __slots__ = ()
    category: NDArray[np.object_]
    track_id: NDArray[np.object_]
    attributes: NDArray[np.object_]
    columns: ClassVar[Mapping[str, Column]]

    @classmethod
    def from_columns(cls, count: int, given: Mapping[str, ArrayLike | None]) -> Self:
        """Return a table of `count` rows; columns that are not given are marked as absent.

        Raises:
            ValueError: there is no such column, or it does not hold one row per box.
        """
        unknown = set(given) - set(cls.columns)
        if unknown:
            raise ValueError(f"{cls.__name__} has no field {sorted(unknown)}")
        values: dict[str, NDArray[Any]] = {}
        for name, (dtype, width, absent) in cls.columns.items():
            shape = (count, width) if width else (count,)
            column = given.get(name)
            if column is None:
                values[name] = np.full(shape, absent, dtype=dtype)
            else:
                values[name] = np.asarray(column, dtype=dtype).reshape(shape)
        return cls(**values)

    @classmethod
    def empty(cls) -> Self:
        """Return no boxes."""
        return cls.from_columns(0, {})

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the boxes of all parts, in order."""
        if not parts:
            return cls.empty()
        names = list(cls.columns)
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(getattr(self, next(iter(self.columns))))

    def select(self, index: NDArray[Any] | Sequence[int] | slice) -> Self:
        """Return the boxes that a mask, an index array or a slice picks."""
        key = index if isinstance(index, slice) else np.asarray(index)
        if not isinstance(key, slice) and key.size == 0:
            key = key.astype(np.int64)
        return type(self)(**{name: getattr(self, name)[key] for name in self.columns})

    def replace(self, **changes: ArrayLike) -> Self:
        """Return a copy in which `changes` replace whole columns."""
        values = {name: getattr(self, name) for name in self.columns}
        return type(self).from_columns(len(self), values | changes)
