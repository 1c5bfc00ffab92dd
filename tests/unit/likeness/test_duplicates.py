"""Thumbnails and near duplicates: by hand, and against a comparison of all pairs."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from admlops.errors import DataError
from admlops.geometry.pose import make_transform, rotation_about_z
from admlops.likeness.duplicates import (
    MIN_BITS,
    NO_SENSOR,
    DuplicateRule,
    Looks,
    find_duplicates,
    pack_bits,
)
from admlops.likeness.thumbnails import (
    changed_share,
    cloud_thumbnail,
    decode_colours,
    decode_gray,
    image_thumbnail,
)

EYE = np.eye(4)


def encode(pixels, format_name="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, format=format_name, **options)
    return buffer.getvalue()


def street(shift_px=0, height=128, width=272):
    """A picture of posts of many widths and brightnesses, seen after a step aside."""
    posts = np.random.default_rng(5).integers(0, 255, (8, 60))
    wide = np.repeat(np.repeat(posts, height // 8, axis=0), 8, axis=1)
    return wide[:, 40 + shift_px : 40 + shift_px + width]


def looks_of(images, clouds=None, scene=None, poses=None):
    """Looks of (256,) thumbnails or None."""
    columns = [list(images), [None] * len(images) if clouds is None else list(clouds)]
    nothing = np.zeros(256, np.bool_)
    bits = np.stack([[pack_bits(nothing if t is None else t) for t in c] for c in columns], axis=1)
    num_set = [[NO_SENSOR if t is None else int(t.sum()) for t in c] for c in columns]
    return Looks(
        bits=bits,
        num_set=np.array(num_set, np.int64).T,
        scene=np.full(len(images), -1) if scene is None else np.array(scene, np.int64),
        global_from_ego=np.tile(EYE, (len(images), 1, 1)) if poses is None else np.array(poses),
    )


def set_bits(*bits):
    thumbnail = np.zeros(256, np.bool_)
    thumbnail[list(bits)] = True
    return thumbnail


def pose_at(x_m, yaw_rad=0.0):
    return make_transform(rotation_about_z(yaw_rad), [x_m, 0.0, 0.0])


def test_thumbnails_see_what_changes():
    rising = np.tile(np.arange(0, 180, 2, dtype=np.uint8), (16, 1))
    assert image_thumbnail(rising).all()
    assert not image_thumbnail(rising[:, ::-1]).any()
    points = [[-39, -39, 1, 0], [-39, -38, 2, 0], [12, 3, 1, 0], [0, 0, 0.1, 0], [40, 0, 1, 0]]
    bits = cloud_thumbnail(np.array(points, np.float32))
    # two points share the first cell; (12, 3) is in column 10, row 8; ground and 40 m do not count
    assert np.flatnonzero(bits).tolist() == [0, 10 * 16 + 8]


def test_the_changed_share_is_of_what_is_set():
    one, other = set_bits(*range(10)), set_bits(*range(2, 12))
    assert changed_share(one, other) == 4 / 12
    assert changed_share(one, one) == changed_share(set_bits(), set_bits()) == 0.0


def test_wide_images_are_reduced_and_broken_ones_named():
    whole = encode(street())
    assert decode_gray(encode(np.zeros((40, 100))), 50).shape == (20, 50)
    assert decode_colours(encode(np.zeros((40, 100, 3))), 50).shape == (20, 50, 3)
    with pytest.raises(DataError, match="cannot be decoded"):
        decode_gray(whole[:60] + b"\0" * (len(whole) - 72) + whole[-12:], 50)


def test_another_encoding_or_size_or_light_looks_alike_and_a_step_aside_does_not():
    def thumbnail(encoded):
        return image_thumbnail(decode_gray(encoded, 640))

    first = thumbnail(encode(street()))
    half = Image.fromarray(street().astype(np.uint8)).resize((136, 64))
    others = [
        encode(street(), "JPEG", quality=60),
        encode(np.asarray(half), "JPEG", quality=90),
        encode(street() * 0.7 + 20),
    ]
    limit = DuplicateRule().max_changed_share
    assert max(changed_share(first, thumbnail(other)) for other in others) < limit
    assert changed_share(first, thumbnail(encode(street(8)))) > 2 * limit


def test_a_frame_repeats_the_likest_of_those_that_repeat_none():
    base = set_bits(*range(100))
    images = [base, set_bits(*range(4, 104)), set_bits(*range(200, 250)), set_bits(*range(1, 101))]
    # the second differs from the first in 8 of 104 bits, the fourth in 2 of 101
    first, changed = find_duplicates(looks_of(images), DuplicateRule())
    assert first.tolist() == [0, 0, 2, 0]
    assert changed.tolist() == [0.0, 8 / 104, 0.0, 2 / 101]


def test_chains_do_not_grow():
    """Each is like the one before; what is like no first one is a first one itself."""
    images = [set_bits(*range(3 * step, 3 * step + 100)) for step in range(6)]
    first, _ = find_duplicates(looks_of(images), DuplicateRule())
    assert first.tolist() == [0, 0, 2, 2, 4, 4]  # 3 of 103 aside: 6; 6 aside: 12 of 106, too many


def test_every_sensor_of_both_must_be_alike():
    image, other = set_bits(*range(60)), set_bits(*range(30, 90))
    cloud, elsewhere = set_bits(*range(20)), set_bits(*range(100, 120))
    images = [image, image, image, None, other, None]
    clouds = [cloud, elsewhere, None, cloud, cloud, None]
    first, _ = find_duplicates(looks_of(images, clouds), DuplicateRule())
    # the third has the first's image and no cloud; the fourth its cloud and no image
    assert first.tolist() == [0, 1, 0, 0, 4, 5]


@pytest.mark.parametrize(("sensor", "num_bits"), [(0, MIN_BITS[0]), (1, MIN_BITS[1])])
def test_what_shows_nothing_is_like_nothing(sensor, num_bits):
    """Dark images and empty fields are all alike, and say nothing."""

    def found(count):
        thumbnails = [[None] * 2, [None] * 2]
        thumbnails[sensor] = [set_bits(*range(count))] * 2
        return find_duplicates(looks_of(*thumbnails), DuplicateRule())[0].tolist()

    assert found(num_bits) == [0, 0]
    assert found(num_bits - 1) == [0, 1]


def test_a_drive_is_no_duplicate_and_a_parked_ego_is():
    """The same empty motorway in every frame: poses tell that the vehicle drives, then stands."""
    motorway = [set_bits(*range(0, 256, 4))] * 8
    places = [pose_at(x) for x in (0.0, 2.5, 5.0, 7.5, 10.0, 10.0, 10.1, 10.1)]
    first, _ = find_duplicates(looks_of(motorway, scene=[0] * 8, poses=places), DuplicateRule())
    assert first.tolist() == [0, 1, 2, 3, 4, 4, 4, 4]
    turning = [pose_at(0.0, 0.04 * step) for step in range(4)]
    first, _ = find_duplicates(
        looks_of(motorway[:4], scene=[0] * 4, poses=turning), DuplicateRule()
    )
    assert first.tolist() == [0, 0, 2, 2]  # 0.04 rad is near, 0.08 is not


def test_traffic_may_pass_a_parked_ego():
    """10 of 93 bits change: too many for strangers, not for a vehicle that is known to stand."""
    images = [set_bits(*range(88)), set_bits(*range(5, 93))]
    parked = looks_of(images, scene=[0, 0], poses=[pose_at(9.0), pose_at(9.2)])
    assert find_duplicates(parked, DuplicateRule())[0].tolist() == [0, 0]
    for scene in ([0, 1], [-1, -1]):
        apart = looks_of(images, scene=scene, poses=[pose_at(9.0), pose_at(9.2)])
        assert find_duplicates(apart, DuplicateRule())[0].tolist() == [0, 1]


def test_a_copy_in_another_scene_is_found_wherever_its_pose_is():
    image = set_bits(*range(50, 120))
    looks = looks_of([image, image], scene=[0, 1], poses=[pose_at(0.0), pose_at(500.0)])
    assert find_duplicates(looks, DuplicateRule())[0].tolist() == [0, 0]


def test_nothing_repeats_nothing():
    first, changed = find_duplicates(_empty(), DuplicateRule())
    assert (len(first), len(changed)) == (0, 0)


def _empty():
    return Looks(
        bits=np.empty((0, 2, 4), np.uint64),
        num_set=np.empty((0, 2), np.int64),
        scene=np.empty(0, np.int64),
        global_from_ego=np.empty((0, 4, 4)),
    )


def _compare_all(images, limit):
    """Go by the definition: the likest first one, and of equals the earliest."""
    firsts, found = [], []
    for row, image in enumerate(images):
        shares = [(changed_share(images[other], image), other) for other in firsts]
        share, other = min(shares, default=(1.0, row))
        found.append(other if share <= limit else row)
        if found[-1] == row:
            firsts.append(row)
    return found


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), num_kinds=st.integers(1, 12), noise=st.floats(0.0, 0.012))
def test_it_finds_what_a_comparison_of_all_pairs_finds(seed, num_kinds, noise):
    """Copies with a little noise of pictures whose neighbours resemble each other."""
    generator = np.random.default_rng(seed)
    kinds = generator.random((num_kinds, 256)) < 0.45
    images = kinds[generator.integers(0, num_kinds, 60)] ^ (generator.random((60, 256)) < noise)
    rule = DuplicateRule(max_changed_share=0.06)
    first, changed = find_duplicates(looks_of(list(images)), rule)
    assert first.tolist() == _compare_all(images, rule.max_changed_share)
    assert (first[first] == first).all()
    for row in range(60):
        assert changed[row] == pytest.approx(changed_share(images[row], images[first[row]]))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_doubled_dataset_doubles_and_strangers_stay_apart(seed):
    images = list(np.random.default_rng(seed).random((50, 256)) < 0.4)
    first, changed = find_duplicates(looks_of(images + images), DuplicateRule())
    assert first.tolist() == [*range(50), *range(50)]
    assert not changed.any()


def test_a_vehicle_may_stand_for_hours():
    """100,000 frames cost 100,000 comparisons, not their square."""
    image = set_bits(*range(0, 256, 3))
    num_frames = 100_000
    bits = np.zeros((num_frames, 2, 4), np.uint64)
    bits[:, 0] = pack_bits(image)
    looks = Looks(
        bits=bits,
        num_set=np.tile([int(image.sum()), NO_SENSOR], (num_frames, 1)),
        scene=np.zeros(num_frames, np.int64),
        global_from_ego=np.tile(EYE, (num_frames, 1, 1)),
    )
    first, _ = find_duplicates(looks, DuplicateRule())
    assert not first.any()
