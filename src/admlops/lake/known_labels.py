"""Tells frames of a source that a dataset holds with other labels."""

from typing import Self

import pyarrow as pa

from admlops.lake.encoding import label_2d_digest, label_digest
from admlops.lake.key_index import KeyIndex
from admlops.lake.opening import check_schema, open_latest
from admlops.lake.schema import KEY_COLUMNS
from admlops.lake.storage import absolute_uri, explain_errors, resolve_options
from admlops.structures.frame import Frame

_DIGESTS = ("split", "label_digest", "label_2d_digest", "sensor_digest")
_COLUMNS = (*KEY_COLUMNS, *_DIGESTS)


class KnownLabels:
    """Digests of the labels of a dataset's frames."""

    def __init__(self, table: pa.Table) -> None:
        self._rows = KeyIndex.of_table(table)
        self._table = table.select(_DIGESTS)

    @classmethod
    def open(cls, uri: str) -> Self:
        """Read the digests of the latest version; none where there is no dataset.

        Raises:
            DataError: the dataset is corrupt or of another schema version.
            ServiceError: the object store failed.
        """
        uri = absolute_uri(uri)
        dataset = open_latest(uri, resolve_options(uri, None))
        if dataset is None:
            return cls(pa.table({name: [] for name in _COLUMNS}))
        check_schema(dataset, uri)
        with explain_errors(uri, "reading digests"):
            return cls(dataset.to_table(columns=list(_COLUMNS)))

    def differ(self, frame: Frame) -> bool:
        """Return whether the dataset holds the frame with labels that are not the frame's.

        The split does not matter; labels that the frame does not have are no difference, and a
        frame with other sensor data is another frame.
        """
        row = int(self._rows.rows_of([frame.key])[0])
        if row < 0:
            return False
        split, in_space, in_images, sensors = (self._table[name][row].as_py() for name in _DIGESTS)
        boxes, boxes_2d = frame.boxes, frame.boxes_2d
        differs = boxes is not None and label_digest(boxes, split) != in_space
        differs |= boxes_2d is not None and label_2d_digest(boxes_2d) != in_images
        return differs and frame.sensor_digest() == sensors
