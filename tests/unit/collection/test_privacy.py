"""Blurring by hand, and what happens where it cannot be done: nothing is written unblurred."""

import hashlib
import io
import json

import numpy as np
import pytest
from hand_regions import HandMade, seen
from PIL import Image

from admlops.collection import privacy
from admlops.collection.fastestdet import COCO_CATEGORIES, FastestDet, decode_grid, tiles
from admlops.collection.privacy import FrameBlur, PrivacyConfig, coarsen, parts_to_blur
from admlops.collection.regions import open_detector
from admlops.errors import ConfigError, DataError
from admlops.formats.kitti.source import open_folder
from admlops.formats.source import ReadOptions
from admlops.lake.store import Dataset
from admlops.steps.ingest import IngestConfig, IngestInputs, IngestOutputs, ingest
from admlops.structures.manifest import Manifest


def encode(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind, quality=95)
    return buffer.getvalue()


def decode(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)))


NOISE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


def frame_of(*files):
    import test_screening

    frame = test_screening.make_frame(0)
    images = [privacy.CameraImage(frame.camera.sensor, encoded, 60, 40) for encoded in files]
    return privacy.dataclasses.replace(frame, camera=images[0], other_cameras=tuple(images[1:]))


def test_parts_by_hand(hand_made):
    found = seen(
        (10, 20, 30, 40, "person", 0.9),
        (10, 20, 31, 40, "car", 0.9),
        (1, 1, 9, 9, "car", 0.1),  # less than min_score
        (-9, 5.5, 3.2, 8, "person", 0.3),
        (70, 0, 90, 9, "person", 0.9),  # outside
    )
    parts = parts_to_blur(found, hand_made, (60, 40))
    assert parts.tolist() == [[10, 20, 30, 40], [0, 5, 4, 8], [10, 30, 31, 40]]
    wide = hand_made.replace(margin_share=0.5)
    assert parts_to_blur(found, wide, (60, 40))[0].tolist() == [0, 10, 40, 40]


def test_coarse_pixels_keep_means_only():
    image = np.zeros((8, 16), np.uint8)
    image[:, 8:] = 200
    image[::2, 8:] = 100
    two = coarsen(image, 2)
    assert two.shape == (8, 16)
    assert set(two[:, :4].ravel()) == {0}
    assert set(two[:, 12:].ravel()) == {150}


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_all_cameras_are_blurred_where_something_was_seen(hand_made, monkeypatch, kind):
    monkeypatch.setattr(HandMade, "answer", seen((10, 10, 30, 30, "person", 0.9)))
    frame = frame_of(encode(NOISE, kind), encode(NOISE[::-1].copy(), kind))
    blurred = FrameBlur(hand_made).apply(frame)
    for before, after in zip(frame.cameras, blurred.cameras, strict=True):
        assert Image.open(io.BytesIO(after.encoded)).format == kind
        old, new = decode(before.encoded).astype(float), decode(after.encoded).astype(float)
        # 20 x 20 pixels of noise in 6 x 6 cells of means
        assert new[11:29, 11:29].std() < 0.5 * old[11:29, 11:29].std()
        change = np.abs(new[:, 40:] - old[:, 40:]).max()
        assert change == 0 if kind == "PNG" else change < 60
    assert frame.sensor_digest() != blurred.sensor_digest()


def test_an_image_without_people_stays_as_it_was(hand_made):
    frame = frame_of(encode(NOISE))
    assert FrameBlur(hand_made).apply(frame).camera.encoded == frame.camera.encoded


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (DataError("out of memory"), "out of memory"),
        (seen((0, 0, np.nan, 9, "person", 0.9)), "not finite"),
        (seen((0, 0, 9, 9, "person", np.nan)), "not finite"),
        (seen((9, 0, 0, 9, "person", 0.9)), "ends before it begins"),
    ],
)
def test_a_frame_that_cannot_be_judged_is_refused(hand_made, monkeypatch, answer, reason):
    monkeypatch.setattr(HandMade, "answer", answer)
    found = FrameBlur(hand_made).apply(frame_of(encode(NOISE)))
    assert found.rule.rule_id == "PRIV001"
    assert reason in found.what


def test_of_sixteen_bits_the_upper_eight_are_judged(hand_made, monkeypatch):
    judged = []
    monkeypatch.setattr(HandMade, "detect", lambda _, pixels: judged.append(pixels) or seen())
    wide = NOISE[..., 0].astype(np.uint16) << 8 | 7
    FrameBlur(hand_made).blur_file(encode(wide))
    np.testing.assert_array_equal(judged[0], np.stack([NOISE[..., 0]] * 3, axis=-1))


@pytest.mark.parametrize("kind", ["PNG", "MPO"])
def test_a_file_of_several_images_is_refused(hand_made, kind):
    buffer = io.BytesIO()
    pages = [Image.fromarray(NOISE), Image.fromarray(NOISE[::-1].copy())]
    pages[0].save(buffer, kind, save_all=True, append_images=pages[1:])
    found = FrameBlur(hand_made).apply(frame_of(buffer.getvalue()))
    assert "several images" in found.what


@pytest.mark.parametrize("damage", [b"", b"GIF89a", encode(NOISE)[:900], encode(NOISE[:20])])
def test_a_frame_with_one_damaged_image_is_refused(hand_made, damage):
    found = FrameBlur(hand_made).apply(frame_of(encode(NOISE), damage))
    assert found.rule.rule_id == "PRIV001"


def test_an_image_that_cannot_be_encoded_is_refused(hand_made, monkeypatch):
    def full_disk(*_, **__):
        raise OSError("encoder error -2")

    monkeypatch.setattr(HandMade, "answer", seen((10, 10, 30, 30, "person", 0.9)))
    frame = frame_of(encode(NOISE))
    blur = FrameBlur(hand_made)
    monkeypatch.setattr(Image.Image, "save", full_disk)
    assert "cannot be encoded" in blur.apply(frame).what


def test_other_errors_of_a_detector_end_the_run(hand_made, monkeypatch):
    monkeypatch.setattr(HandMade, "answer", RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        FrameBlur(hand_made).apply(frame_of(encode(NOISE)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "other"}, "kinds are fastestdet, hand_made"),
        ({"file_digest": "0" * 64}, "has the digest"),
        ({"rules": [{"category": "face"}]}, "does not know face"),
        ({"rules": []}, "at least 1"),
        ({"rules": [{"category": "car", "top_share": 1.0}]}, "less than bottom_share"),
    ],
)
def test_a_detector_that_is_not_the_right_one_is_an_error(hand_made, changes, reason):
    with pytest.raises(ConfigError, match=reason):
        FrameBlur(hand_made.replace(**changes))


def test_the_grid_is_decoded_by_hand():
    grid = np.zeros((85, 2, 4))
    grid[0, 1, 2], grid[5 + 7, 1, 2] = 0.8, 0.5  # a truck, score 0.4
    grid[1, 1, 2] = np.arctanh(0.5)  # centre at (2.5 / 4, 1 / 2), half the image each way
    boxes, categories, scores = decode_grid(grid)
    np.testing.assert_allclose(boxes, [[0.375, 0.25, 0.875, 0.75]])
    assert [COCO_CATEGORIES[i] for i in categories] == ["truck"]
    np.testing.assert_allclose(scores, [0.4])
    assert len(decode_grid(np.zeros((85, 2, 2)))[0]) == 0


def test_tiles_cover_wide_high_and_square_images():
    assert tiles(10, 10) == [(0, 0, 10, 10)]
    assert tiles(20, 10) == [(0, 0, 20, 10), (0, 0, 10, 10), (5, 0, 15, 10), (10, 0, 20, 10)]
    assert tiles(10, 15)[1:] == [(0, 0, 10, 10), (0, 5, 10, 15)]


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_a_file_that_is_no_model_is_an_error(tmp_path, content):
    if content is not None:
        (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ConfigError, match=r"model\.onnx"):
        open_detector("fastestdet", tmp_path / "model.onnx")


def test_real_people_are_found_where_they_were_labelled(real_data):
    detector = FastestDet(real_data / "weights" / "FastestDet.onnx")
    assert len(detector.categories) == 80
    image = real_data / "kitti_object" / "training" / "image_2" / "000000.png"
    found = detector.detect(np.asarray(Image.open(image)))
    people = found.box_px[(found.category == "person") & (found.score > 0.5)]
    label = np.array([712.40, 143.00, 810.73, 307.92])
    shared = np.minimum(people[:, 2:], label[2:]) - np.maximum(people[:, :2], label[:2])
    shared = shared.clip(0).prod(axis=1)
    union = (people[:, 2:] - people[:, :2]).prod(axis=1) + (label[2:] - label[:2]).prod() - shared
    assert (shared / union).max() > 0.7


def test_ingest_writes_no_frame_unblurred(real_data, tmp_path):
    weights = real_data / "weights" / "FastestDet.onnx"
    kitti = real_data / "kitti_object"
    outputs = IngestOutputs(tmp_path / "dataset.json", tmp_path / "findings")
    config = IngestConfig(lake_uri=str(tmp_path / "lake"), privacy=PrivacyConfig(file=weights))
    ingest(IngestInputs(kitti), outputs, config)
    manifest = Manifest.read(outputs.dataset, "dataset")
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in manifest.provenance["privacy"]
    dataset = Dataset.open(str(tmp_path / "lake"))
    row = dataset.rows_where("frame_id = '000000'")[0]
    (blurred,) = dataset.take([row], camera=True)
    source = open_folder(kitti, ReadOptions())
    (frame,) = (
        frame for i in range(len(source)) if (frame := source.read(i).frame).frame_id == "000000"
    )
    pedestrian = np.s_[150:300, 720:800]
    old, new = decode(frame.camera.encoded)[pedestrian], decode(blurred.camera.encoded)[pedestrian]
    detail = [np.abs(np.diff(pixels.astype(float), axis=1)).mean() for pixels in (old, new)]
    assert detail[1] < 0.4 * detail[0]


def test_ingest_refuses_what_cannot_be_blurred(real_data, tmp_path, hand_made, monkeypatch):
    monkeypatch.setattr(HandMade, "answer", DataError("not today"))
    outputs = IngestOutputs(tmp_path / "dataset.json", tmp_path / "findings")
    config = IngestConfig(
        lake_uri=str(tmp_path / "lake"), privacy=hand_made, max_quarantine_share=1.0
    )
    scores = ingest(IngestInputs(real_data / "kitti_object"), outputs, config)
    assert (scores["num_added"], scores["quarantine_share"]) == (0, 1.0)
    assert Dataset.open(str(tmp_path / "lake")).keys() == []
    findings = json.loads((tmp_path / "findings" / "findings.json").read_text())
    assert findings["rules"]["PRIV001"] == 6
