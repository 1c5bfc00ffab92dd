"""Networks: size, shapes, losses by hand, batches, a third party's model."""

import math
from importlib import metadata

import numpy as np
import pytest
import torch

from admlops.detection.config import NETWORK_INPUTS, CenterPointConfig, PillarDetectorConfig
from admlops.detection.decode import decode_centers
from admlops.detection.families import DetectorFamily, find_family
from admlops.detection.predictor import Predictor
from admlops.detection.presets import centerpoint_kitti, pointpillars_kitti, small_detector
from admlops.detection.targets import center_targets
from admlops.detection.voxelization import Voxelizer
from admlops.errors import ConfigError, DataError
from admlops.models.detector import Detector, PillarNetwork, build_detector
from admlops.models.heads import CenterHead
from admlops.models.losses import (
    CATEGORY_WEIGHT,
    TargetTensors,
    anchor_losses,
    center_losses,
)

SMALL = [small_detector("centerpoint"), small_detector("pointpillars")]


def _points(count=500, seed=0):
    generator = np.random.default_rng(seed)
    return generator.uniform([0, -25, -1, 0], [51, 25, 3, 1], (count, 4)).astype(np.float32)


def _tensors(config, points):
    inputs = Voxelizer(config)(points).as_inputs()
    return [torch.from_numpy(inputs[name]) for name in NETWORK_INPUTS]


def test_pointpillars_has_the_papers_size():
    assert build_detector(pointpillars_kitti()).num_parameters() == 4_834_824


def test_centerpoint_has_about_the_same():
    assert 4.8e6 < build_detector(centerpoint_kitti()).num_parameters() < 5.3e6


@pytest.mark.parametrize("config", SMALL, ids=lambda c: c.kind)
def test_outputs_have_the_shapes_that_decoding_expects(config):
    found = Predictor(config, build_detector(config).infer)(_points())
    assert len(found) <= config.decode.max_boxes


@pytest.mark.parametrize("config", SMALL, ids=lambda c: c.kind)
def test_a_batch_gives_what_its_frames_give_alone(config):
    torch.manual_seed(0)
    network = build_detector(config).eval().network
    first, second = _tensors(config, _points(300, 1)), _tensors(config, _points(400, 2))
    cells = config.grid_shape[0] * config.grid_shape[1]
    joined = (
        torch.cat([first[0], second[0]]),
        torch.cat([first[1], second[1] + len(first[2])]),
        torch.cat([first[2], second[2] + cells]),
    )
    with torch.inference_mode():
        both = network(*joined, 2)
        alone = [network(*first), network(*second)]
    for plane, one, two in zip(both, *alone, strict=True):
        torch.testing.assert_close(plane[:1], one, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(plane[1:], two, atol=1e-5, rtol=1e-4)


def test_a_pillar_holds_the_rectified_maximum_of_its_points():
    config = small_detector()
    encoder = build_detector(config).eval().network.encoder
    points, pillar = torch.randn(5, 9), torch.tensor([0, 0, 0, 1, 1])
    rows, columns = config.grid_shape
    cell = torch.tensor([7, columns + 2])
    with torch.inference_mode():
        canvas = encoder(points, pillar, cell)
        features = encoder.norm(encoder.linear(points))
    assert canvas.shape == (1, 32, rows, columns)
    torch.testing.assert_close(canvas[0, :, 0, 7], features[:3].amax(0).relu())
    torch.testing.assert_close(canvas[0, :, 1, 2], features[3:].amax(0).relu())
    assert canvas.count_nonzero() <= 2 * 32


@pytest.mark.parametrize("kind", ["centerpoint", "pointpillars"])
def test_both_memory_layouts_give_the_same(kind):
    config = small_detector(kind)
    detector = build_detector(config).eval()
    inputs = Voxelizer(config)(_points()).as_inputs()
    one = detector.infer(inputs)
    detector.set_channels_last(False)
    two = detector.infer(inputs)
    for name in config.output_names:
        np.testing.assert_allclose(one[name], two[name], atol=1e-5)


@pytest.mark.parametrize("config", SMALL, ids=lambda c: c.kind)
@pytest.mark.parametrize(
    ("points", "expected"), [(np.empty((0, 4)), 0), (np.full((10, 4), np.nan), 10)]
)
def test_clouds_without_a_usable_point_give_no_boxes(config, points, expected):
    found = Predictor(config, build_detector(config).infer).detect(points)
    assert len(found.boxes) == 0
    assert found.num_points_invalid == expected


@pytest.mark.parametrize(
    "points", [np.zeros((5, 3)), np.zeros(4), np.zeros((2, 2, 4)), np.array([["a"] * 4])]
)
def test_a_cloud_of_another_shape_or_type_is_refused(points):
    config = small_detector()
    with pytest.raises(DataError, match="a cloud"):
        Predictor(config, lambda _: {})(points)


def _targets(**changes):
    none = torch.empty(0, dtype=torch.int64)
    values = {
        "frame": none,
        "place": none,
        "category": none,
        "regression": torch.empty(0, 7),
        "direction": none,
        "ignored_frame": none,
        "ignored": none,
        "heatmap": torch.zeros(1, 0, 1, 2),
    }
    values |= changes
    return TargetTensors(**values, count=torch.tensor(float(max(len(values["place"]), 1))))


def test_the_anchor_loss_by_hand():
    """One kind of anchor, one category, two cells: one positive, one background, logits zero."""
    logits, residuals = torch.zeros(1, 1, 1, 2), torch.zeros(1, 7, 1, 2)
    directions = torch.zeros(1, 2, 1, 2)
    one = torch.tensor([1])
    residual = torch.tensor([[1.0, 0, 0, 0, 0, 0, math.pi / 2]])
    targets = _targets(
        frame=torch.tensor([0]), place=one, category=torch.tensor([0]), regression=residual,
        direction=one,
    )  # fmt: skip
    parts = anchor_losses(logits, residuals, directions, targets)
    focal = (0.25 + 0.75) * 0.5**2 * math.log(2)
    assert parts["category"].item() == pytest.approx(CATEGORY_WEIGHT * focal)
    assert parts["box"].item() == pytest.approx(2.0 * 2 * (1.0 - 0.5 / 9))
    assert parts["direction"].item() == pytest.approx(0.2 * math.log(2))


def test_ignored_anchors_do_not_count():
    logits = torch.tensor([0.0, 3.0]).view(1, 1, 1, 2).requires_grad_()
    planes = torch.zeros(1, 7, 1, 2), torch.zeros(1, 2, 1, 2)
    zero = torch.tensor([0])
    targets = _targets(ignored_frame=zero, ignored=torch.tensor([1]))
    loss = anchor_losses(logits, *planes, targets)["category"]
    assert loss.item() == pytest.approx(0.75 * 0.25 * math.log(2))
    loss.backward()
    assert logits.grad.flatten()[1] == pytest.approx(0, abs=1e-7)


def test_the_center_loss_by_hand():
    heatmap = torch.tensor([[[[1.0, 0.5]]]])
    targets = _targets(
        frame=torch.tensor([0]),
        place=torch.tensor([0]),
        category=torch.tensor([0]),
        regression=torch.tensor([[0.5, 0, 0, 0, 0, 0, 0, 1.0]]),
        heatmap=heatmap,
    )
    parts = center_losses(torch.zeros(1, 1, 1, 2), torch.zeros(1, 8, 1, 2), targets)
    assert parts["heatmap"].item() == pytest.approx((1 + 0.5**4) * 0.25 * math.log(2))
    assert parts["box"].item() == pytest.approx(2.0 * 1.5)


@pytest.mark.parametrize("config", SMALL, ids=lambda c: c.kind)
def test_losses_without_any_box_are_finite_and_have_gradients(config):
    detector = build_detector(config)
    inputs = {
        name: torch.from_numpy(array)
        for name, array in Voxelizer(config)(_points()).as_inputs().items()
    }
    width = 7 if config.kind == "pointpillars" else 8
    channels = 0 if config.kind == "pointpillars" else len(config.categories)
    heatmap = torch.zeros(1, channels, *config.output_shape)
    targets = _targets(regression=torch.empty(0, width), heatmap=heatmap)
    loss = sum(detector.losses(detector(inputs), targets).values())
    loss.backward()
    assert math.isfinite(loss.item())
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters() if p.grad is not None)


class ForeignConfig(PillarDetectorConfig):
    """A third party's detector."""

    kind: str = "foreign"

    @property
    def output_names(self):
        return ("heatmap_logits", "center_regression")


def test_a_config_that_does_not_name_its_outputs_cannot_be_made():
    class Nameless(PillarDetectorConfig):
        kind: str = "nameless"

    values = small_detector("centerpoint").model_dump(exclude={"kind", "head"})
    assert ForeignConfig(**values).output_names
    with pytest.raises(TypeError, match="output_names"):
        Nameless(**values)


def build_foreign(config):
    """Build it from our parts, with another head's width."""
    centre = CenterPointConfig.parse(config.model_dump() | {"kind": "centerpoint"})
    return Detector(config, PillarNetwork(centre, CenterHead), center_losses)


FAMILY = DetectorFamily(
    kind="foreign",
    config_type=ForeignConfig,
    decode=decode_centers,
    make_targets=center_targets,
    detector=f"{__name__}:build_foreign",
)


def test_a_third_party_adds_a_model_by_an_entry_point(tmp_path, monkeypatch):
    package = tmp_path / "foreign-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        f"[admlops.models]\nforeign = {__name__}:FAMILY\nbroken = {__name__}:math\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert find_family("foreign").kind == "foreign"
    small = small_detector().model_dump(exclude={"kind", "head"})
    detector = build_detector(ForeignConfig.parse(small))
    assert detector.num_parameters() > 0
    with pytest.raises(ConfigError, match="is no DetectorFamily"):
        find_family("broken")
    with pytest.raises(ConfigError, match="pointpillars, centerpoint, broken, foreign"):
        find_family("absent")
    assert metadata.version("foreign") == "1.0"
