"""Labels and predictions of the same frames, chunk by chunk; here from plain folders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from admlops.errors import DataError
from admlops.evaluation.flat_boxes import FlatBoxes
from admlops.formats.kitti.labels import list_label_names, read_label_folder
from admlops.structures.frame import FrameKey


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some frames with what is known of them.

    Attributes:
        frames: (F) names of files, or keys of a dataset's frames.
        tags: (F) tags of each frame.
        labels: their labels, ignore regions among them as category "dontcare".
        predictions: their predictions.
    """

    frames: tuple[FrameKey | str, ...]
    tags: tuple[tuple[str, ...], ...]
    labels: FlatBoxes
    predictions: FlatBoxes


def result_folder(predictions: Path) -> Path:
    """Return the folder of the result files: the one given, or its ``data``, as KITTI's is."""
    inner = predictions / "data"
    return inner if inner.is_dir() and not list_label_names(predictions) else predictions


def names_to_evaluate(labels: Path, predictions: Path) -> list[str]:
    """Return the names of the result files, as the official program does.

    Raises:
        DataError: there are none, or one has no label file.
    """
    names = list_label_names(predictions)
    if not names:
        raise DataError(f"{predictions}: no .txt file; an empty file stands for an empty frame")
    absent = sorted(set(names) - set(list_label_names(labels)))
    if absent:
        raise DataError(
            f"{labels}: {len(absent)} of {len(names)} predicted frames have no label file, "
            f"first {absent[0]}.txt; add the labels or remove the predictions"
        )
    return names


def read_folder_chunks(
    labels: Path, predictions: Path, names: Sequence[str], chunk_frames: int
) -> Iterator[Chunk]:
    """Yield KITTI label and result files, `chunk_frames` frames at a time.

    Raises:
        DataError: a file is absent or wrong, or a prediction has no score.
    """
    for start in range(0, len(names), chunk_frames):
        chosen = tuple(names[start : start + chunk_frames])
        predicted = FlatBoxes.from_label_table(read_label_folder(predictions, chosen))
        unscored = predicted.first_unscored()
        if unscored is not None:
            raise DataError(
                f"{predictions / unscored}.txt: a row has no score; a result row has 16 values"
            )
        labelled = FlatBoxes.from_label_table(read_label_folder(labels, chosen))
        yield Chunk(chosen, ((),) * len(chosen), labelled, predicted)
