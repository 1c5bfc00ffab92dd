"""How many of a vendor's mistakes acceptance finds, with and without known labels, and how fast.

Run: python -m bench.annotation [--scenes 8] [--rate 0.15] [--json FILE]
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from admlops.annotation.acceptance import Acceptance, judge_delivery
from admlops.annotation.acceptance_config import AcceptanceConfig
from admlops.annotation.definition import load_definition
from admlops.annotation.delivery import Delivery
from admlops.annotation.gold import PackageKey, PackedFrame, pack_frames
from admlops.simulation.config import ObjectRates, SceneGroup, WorldConfig
from admlops.simulation.vendor import BOX_DEFECTS, Mistake, VendorConfig, label_as_vendor
from admlops.simulation.world import oracle_labels, simulate
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame

DEFINITION = load_definition("urban_lidar")


def world(num_scenes: int) -> WorldConfig:
    rates = ObjectRates(cyclist=4.0)
    group = SceneGroup(num_scenes=num_scenes, rain_share=0.4, night_share=0.3, rates=rates)
    none = SceneGroup(num_scenes=0)
    return WorldConfig(train=none, val=none, pool=group, images=False)


def judge(
    frames: Sequence[Frame], packed: Sequence[PackedFrame], work: VendorConfig
) -> tuple[Acceptance, list[Mistake], float]:
    """Return the judgement of a simulated delivery, what was done wrong, and seconds per frame."""
    named = [
        replace(frame, key=item.alias_key, frame_id=item.frame_id)
        for frame, item in zip(frames, packed, strict=True)
    ]
    labelled = label_as_vendor(named, work)
    boxes = {
        frame.frame_id: frame.boxes or Boxes.empty()
        for frame in labelled.frames
        if frame.boxes is not None
    }
    delivery = Delivery("openlabel", "bench", boxes)
    key = PackageKey(
        package_id="package-bench",
        request_id="bench",
        dataset="bench",
        definition=DEFINITION.title,
        frames=tuple(packed),
    )
    started = time.perf_counter()
    pairs = zip(packed, frames, strict=True)
    acceptance = judge_delivery(pairs, delivery, key, DEFINITION, AcceptanceConfig())
    seconds = (time.perf_counter() - started) / len(frames)
    return acceptance, labelled.mistakes, seconds


def found(acceptance: Acceptance, mistakes: Sequence[Mistake]) -> Iterator[bool]:
    """Yield whether each mistake was told: a defect of its track, or of its frame without one."""
    named = {(item.frame_id, item.track_id) for item in acceptance.defects}
    frames = {item.frame_id for item in acceptance.defects if not item.track_id}
    for mistake in mistakes:
        track = mistake.track_id.rpartition("-")[2]
        if mistake.kind == "id_switch":
            yield any(item.frame_id == mistake.frame_id for item in acceptance.defects)
        elif mistake.kind in ("missing", "duplicate", "extra"):
            yield mistake.frame_id in frames
        else:
            yield (mistake.frame_id, track) in named


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.15)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    config = world(given.scenes)
    frames = list(simulate(config))
    truth = oracle_labels(config, [frame.key for frame in frames])
    by_key = {frame.key: replace(frame, boxes=truth[frame.key]) for frame in frames}
    hidden = pack_frames(list(by_key), [], "package-bench")
    known = [item.replace(is_gold=True) for item in hidden]
    ordered = [by_key[item.key] for item in hidden]
    careful, _, seconds = judge(ordered, hidden, VendorConfig())
    results = {
        "boxes": float(careful.num_boxes),
        "false_alarms": float(len(careful.defects)),
        "frames_per_second": 1.0 / seconds,
    }
    print(
        f"annotation, careful vendor: {len(careful.defects)} defects in {careful.num_boxes} boxes, "
        f"{1.0 / seconds:.0f} frames judged per second"
    )
    for kind in (*BOX_DEFECTS, "extra", "id_switch"):
        work = VendorConfig.parse({kind: given.rate if kind in BOX_DEFECTS else 0.5, "seed": 3})
        for name, packed in (("rules alone", hidden), ("with gold", known)):
            acceptance, mistakes, _ = judge(ordered, packed, work)
            hits = sum(found(acceptance, mistakes))
            results[f"{kind}, {name}"] = hits / len(mistakes)
            print(f"annotation, {kind}, {name}: {hits} of {len(mistakes)} mistakes found")
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
