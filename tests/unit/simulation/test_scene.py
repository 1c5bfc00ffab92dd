import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from admlops.errors import ConfigError
from admlops.simulation.config import LidarConfig, ObjectRates, SceneGroup, WorldConfig
from admlops.simulation.lidar import Pose2, ground_materials, make_rays
from admlops.simulation.materials import ASPHALT, GRASS, MARKING, PAVEMENT
from admlops.simulation.render import encode_png
from admlops.simulation.road import Road
from admlops.simulation.scene import build_scene, scene_tags
from admlops.simulation.shapes import SIZE_M, build_object
from admlops.simulation.world import simulate

CATEGORIES = sorted(SIZE_M)
NONE = SceneGroup(num_scenes=0)


@pytest.mark.parametrize("category", CATEGORIES)
def test_an_object_fills_its_box_and_stays_in_it(category):
    size = SIZE_M[category][0]
    for seed in range(5):
        table = build_object(category, size, np.random.default_rng(seed)).table
        is_round = table[:, 10] > 0
        bottom_width = np.where(is_round, table[:, 4], table[:, 5])
        top_width = np.where(is_round, table[:, 6], table[:, 7])
        along = [np.abs(table[:, 0]) + table[:, 4]]
        along.append(np.abs(table[:, 0] + table[:, 8]) + table[:, 6])
        across = np.abs(table[:, 1]) + np.maximum(bottom_width, top_width)
        reach = np.array([np.max(along), across.max(), (table[:, 2] + table[:, 9]).max()])
        assert (reach <= np.array([size[0] / 2, size[1] / 2, size[2]]) * 1.12).all()
        assert (reach >= np.array([size[0] / 2, size[1] / 2, size[2]]) * 0.93).all()


@settings(deadline=None)  # the first call compiles
@given(
    curvature=st.floats(1 / 2000, 1 / 100),
    sign=st.sampled_from([-1, 1]),
    left=st.floats(-30, 30),
)
def test_the_ground_knows_the_offset_from_the_road(curvature, sign, left):
    road = Road(sign * curvature, 1, np.zeros((1, 4)))
    position, _ = road.place(np.array([20.0]), np.array([left]))
    (material,) = ground_materials(road, Pose2(0.0, 0.0, 0.0), position[:, 0], position[:, 1])
    offset = abs(left)
    if offset > 8.81:
        assert material == GRASS
    elif 5.81 < offset < 8.79:
        assert material == PAVEMENT
    elif 3.6 < offset < 5.79 or 0.1 < offset < 3.4:
        assert material == ASPHALT
    elif abs(offset - 3.5) < 0.08:
        assert material == MARKING


def test_objects_of_a_scene_never_touch():
    config = WorldConfig(train=SceneGroup(num_scenes=3, rates=ObjectRates(pedestrian=20, car=15)))
    for index in range(3):
        scene = build_scene(config, "train", index)
        assert len(scene.tracks) > 20
        labelled = tuple(track for track in scene.tracks if track.category)
        for time_s in scene.times_s:
            position, _ = scene.place((scene.ego, *labelled), float(time_s))
            gap = np.linalg.norm(position[:, None, :2] - position[None, :, :2], axis=-1)
            assert gap[np.triu_indices(len(gap), 1)].min() > 0.3


def test_rates_of_zero_leave_the_road_empty():
    empty = ObjectRates(car=0, parked_car=0, truck=0, pedestrian=0, cyclist=0)
    world = WorldConfig(train=SceneGroup(num_scenes=1, frames_per_scene=2, rates=empty))
    frame = next(simulate(world))
    assert len(frame.boxes) == 0


def test_rare_categories_can_be_asked_for():
    only = ObjectRates(car=0, parked_car=0, truck=0, pedestrian=0, cyclist=0, van=15)
    group = SceneGroup(num_scenes=1, frames_per_scene=4, rates=only)
    world = WorldConfig(train=group, val=NONE, pool=NONE, images=False)
    seen = {name for frame in simulate(world) for name in frame.boxes.category}
    assert seen == {"van"}


def test_a_scene_without_conditions_is_clear():
    calm = SceneGroup(num_scenes=2, rain_share=0, night_share=0)
    world = WorldConfig(train=calm)
    assert scene_tags(world, "train", 0) == ("clear",)
    storm = WorldConfig(train=calm.replace(rain_share=1.0, night_share=1.0))
    assert scene_tags(storm, "train", 1) == ("night", "rain")


def test_beams_rise_and_columns_are_even():
    rays = make_rays(LidarConfig())
    assert np.degrees(rays.elevation_rad[[0, -1]]) == pytest.approx([-22, 3])
    assert (np.diff(rays.elevation_rad) > 0).all()
    assert np.degrees(np.diff(rays.azimuth_rad)) == pytest.approx(0.2)
    even = make_rays(LidarConfig(beam_exponent=1.0))
    assert np.diff(even.elevation_rad) == pytest.approx(np.radians(25 / 31))


def test_beams_that_fall_are_refused():
    with pytest.raises(ConfigError, match="min_elevation_deg"):
        LidarConfig.parse({"min_elevation_deg": -5, "max_elevation_deg": -10})


def test_the_digest_follows_every_field():
    world = WorldConfig()
    assert world.digest == WorldConfig().digest
    assert world.digest != world.replace(seed=1).digest
    assert world.digest != world.replace(lidar=LidarConfig(dropout=0.04)).digest


def test_png_is_read_back_by_another_program():
    canvas = np.arange(12, dtype=np.uint8).reshape(3, 4)
    palette = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    image = Image.open(io.BytesIO(encode_png(canvas, palette)))
    assert np.array_equal(np.asarray(image.convert("RGB")), palette[canvas])


def test_night_images_are_dark():
    day = SceneGroup(num_scenes=1, frames_per_scene=1, rain_share=0, night_share=0)
    bright = next(simulate(WorldConfig(train=day)))
    dark = next(simulate(WorldConfig(train=day.replace(night_share=1.0))))
    levels = [
        np.asarray(Image.open(io.BytesIO(frame.camera.encoded)).convert("L")).mean()
        for frame in (bright, dark)
    ]
    assert levels[1] < 0.3 * levels[0]
    assert np.array_equal(bright.lidar.points, dark.lidar.points)


def test_labelled_objects_are_seen_in_the_image():
    world = WorldConfig(train=SceneGroup(num_scenes=2, frames_per_scene=3), val=NONE, pool=NONE)
    for frame in simulate(world):
        box2d = frame.boxes.box2d_px
        assert (box2d[:, 0] < box2d[:, 2]).all()
        assert (box2d >= 0).all()
        assert (box2d[:, [0, 2]] <= 1241).all()
        assert (box2d[:, [1, 3]] <= 374).all()
        assert ((frame.boxes.truncation >= 0) & (frame.boxes.truncation <= 0.85)).all()
        assert set(frame.boxes.occlusion) <= {0, 1, 2}
