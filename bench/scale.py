"""A lake of a million frames and ten million boxes: nearest frames, and a summary by SQL.

The frames are synthetic rows without sensor data, written straight in the lake's layout; vectors
lie around 2000 centres, as the features of a detector do. Each figure is printed beside its limit.

Run: python -m bench.scale [--frames 1000000] [--json FILE]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa

from admlops.lake.schema import (
    BOX_TYPE,
    COLUMNS,
    EMBEDDING_PREFIX,
    LICENCES_KEY,
    SCHEMA_VERSION,
    SCHEMA_VERSION_KEY,
)
from admlops.lake.store import Dataset

BOXES_PER_FRAME = 10
WIDTH = 192
"""Values of a vector: mean and maximum of 96 channels."""
NUM_CENTRES = 2000
ROWS_PER_FILE = 50_000
CATEGORIES = np.array(["car", "pedestrian", "cyclist", "truck", "bus"], dtype=object)
NUM_QUERIES = 50
QUERY_LIMIT_MS = 50.0
SUMMARY_LIMIT_S = 1.0
SUMMARY = (
    "SELECT category, split, count(*) AS n, avg(num_points) AS points, "
    "avg(sqrt(x_m * x_m + y_m * y_m)) AS range_m FROM boxes GROUP BY 1, 2 ORDER BY 1, 2"
)


def vectors(rng: np.random.Generator, centres: np.ndarray, count: int) -> np.ndarray:
    noise = 0.5 * rng.standard_normal((count, WIDTH), np.float32)
    return centres[rng.integers(0, NUM_CENTRES, count)] + noise


def boxes_column(rng: np.random.Generator, count: int) -> pa.Array:
    total = count * BOXES_PER_FRAME
    number = {pa.float64(): lambda: rng.random(total) * 40.0, pa.int64(): lambda: np.arange(total)}
    columns = []
    for field in BOX_TYPE:
        if field.name == "category":
            columns.append(pa.array(CATEGORIES[rng.integers(0, 5, total)], pa.string()))
        elif field.type in number and "_px" not in field.name and field.name != "score":
            columns.append(pa.array(number[field.type](), field.type))
        else:
            columns.append(pa.nulls(total, field.type))
    offsets = pa.array(np.arange(count + 1) * BOXES_PER_FRAME, pa.int32())
    return pa.ListArray.from_arrays(
        offsets, pa.StructArray.from_arrays(columns, fields=list(BOX_TYPE))
    )


def poses_column(rows: np.ndarray) -> pa.Array:
    """Return poses of a vehicle that drives along x, a metre a frame."""
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, 0, 3] = rows
    return pa.FixedSizeListArray.from_arrays(pa.array(poses.ravel()), 16)


def batches(schema: pa.Schema, count: int) -> Iterator[pa.RecordBatch]:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((NUM_CENTRES, WIDTH), np.float32)
    for start in range(0, count, ROWS_PER_FILE):
        rows = np.arange(start, min(start + ROWS_PER_FILE, count))
        flat = pa.array(vectors(rng, centres, len(rows)).ravel())
        known = {
            "log": pa.array([f"log-{row // 1000}" for row in rows]),
            "scene": pa.array([f"scene-{row // 100}" for row in rows]),
            "timestamp_ns": pa.array(rows),
            "frame_id": pa.array([f"{row:07d}" for row in rows]),
            "split": pa.array(np.where(rows % 5, "train", "val")),
            "tags": pa.array([["rain"] if row % 7 == 0 else ["clear"] for row in rows]),
            "num_boxes": pa.array(np.full(len(rows), BOXES_PER_FRAME)),
            "boxes": boxes_column(rng, len(rows)),
            "global_from_ego": poses_column(rows),
            f"{EMBEDDING_PREFIX}detector": pa.FixedSizeListArray.from_arrays(flat, WIDTH),
        }
        columns = [known.get(f.name, pa.nulls(len(rows), f.type)).cast(f.type) for f in schema]
        yield pa.record_batch(columns, schema=schema)


def make_lake(folder: Path, count: int) -> Dataset:
    embedding = pa.field(f"{EMBEDDING_PREFIX}detector", pa.list_(pa.float32(), WIDTH))
    schema = pa.schema([*COLUMNS, embedding]).with_metadata(
        {SCHEMA_VERSION_KEY: str(SCHEMA_VERSION), LICENCES_KEY: "[]"}
    )
    reader = pa.RecordBatchReader.from_batches(schema, batches(schema, count))
    uri = str(folder / "lake")
    lance.write_dataset(reader, uri, data_storage_version="2.1", max_rows_per_file=ROWS_PER_FILE)
    return Dataset.open(uri)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_queries(dataset: Dataset) -> dict[str, float]:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((NUM_CENTRES, WIDTH), np.float32)
    asked = vectors(np.random.default_rng(1), centres, NUM_QUERIES)
    exact = [{key for key, _ in dataset.nearest("detector", one, 20)} for one in asked[:5]]
    figures = {"index_s": seconds(lambda: dataset.index_embedding("detector"))}
    figures["first_query_ms"] = 1e3 * seconds(lambda: dataset.nearest("detector", asked[0], 20))
    start = time.process_time()
    times = [seconds(lambda v=vector: dataset.nearest("detector", v, 20)) for vector in asked]
    cpu = 1e3 * (time.process_time() - start) / len(times)
    found = [{key for key, _ in dataset.nearest("detector", one, 20)} for one in asked[:5]]
    shared = [len(one & other) / 20 for one, other in zip(exact, found, strict=True)]
    return figures | {
        "query_median_ms": 1e3 * float(np.median(times)),
        "query_cpu_ms": cpu,
        "query_p95_ms": 1e3 * float(np.percentile(times, 95)),
        "query_recall": float(np.mean(shared)),
        "query_to_limit_ratio": 1e3 * float(np.median(times)) / QUERY_LIMIT_MS,
    }


def measure_summary(dataset: Dataset) -> dict[str, float]:
    first = seconds(lambda: dataset.query(SUMMARY))
    start = time.process_time()
    times = [seconds(lambda: dataset.query(SUMMARY)) for _ in range(5)]
    cpu = (time.process_time() - start) / len(times)
    counted = sum(dataset.query(SUMMARY)["n"].to_pylist())
    assert counted == dataset.num_frames * BOXES_PER_FRAME
    return {
        "summary_first_s": first,
        "summary_median_s": float(np.median(times)),
        "summary_best_s": min(times),
        "summary_cpu_s": cpu,
        "summary_to_limit_ratio": float(np.median(times)) / SUMMARY_LIMIT_S,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        dataset = make_lake(Path(folder), given.frames)
        print(f"{given.frames:,} frames, {given.frames * BOXES_PER_FRAME:,} boxes", flush=True)
        figures = {"write_s": time.perf_counter() - start}
        figures |= measure_summary(dataset)
        figures |= measure_queries(dataset)
    for name, value in figures.items():
        print(f"  {name:24s} {value:10.3f}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
