import numpy as np
import pytest

from admlops.simulation.materials import METAL, WOOD
from admlops.simulation.raycast import GROUND, NOTHING, Rays, cast_rays, ground_height
from admlops.simulation.solids import Part, Solids, build_solids

FLAT = np.array([[0.0, 0.0, 0.0, 0.0]])


def rays(elevation_deg, azimuth_deg=(-0.1, 0.0, 0.1), height_m=2.0, max_range_m=100.0):
    return Rays(
        np.array([0.0, 0.0, height_m]),
        np.radians(np.atleast_1d(np.asarray(elevation_deg, dtype=np.float64))),
        np.radians(np.asarray(azimuth_deg, dtype=np.float64)),
        max_range_m,
    )


def cast(solids, elevation_deg=0.0, **options):
    number = int(solids.owner.max(initial=-1)) + 1
    return cast_rays(rays(elevation_deg, **options), solids, number, FLAT)


def one(*parts, at=(0.0, 0.0, 0.0), yaw_rad=0.0):
    return build_solids(parts).placed(np.array([at]), np.array([yaw_rad]))


def test_flat_ground_is_met_at_height_over_sine():
    hits = cast(build_solids([]), elevation_deg=[-30.0, 0.0, 10.0])
    assert np.allclose(hits.range_m[0], 4.0)
    assert np.allclose(hits.cosine[0], 0.5)
    assert (hits.owner[0] == GROUND).all()
    assert (hits.owner[1:] == NOTHING).all()


def test_sloping_ground_is_met_where_it_is():
    slope = np.array([[0.0, 0.1, 0.0, 0.0]])
    hits = cast_rays(rays(-20.0), build_solids([]), 0, slope)
    distance = hits.range_m[0, 1]
    x, z = distance * np.cos(np.radians(20)), 2.0 - distance * np.sin(np.radians(20))
    assert z == pytest.approx(0.1 * x, abs=0.01)
    assert ground_height(x, 0.0, slope) == pytest.approx(0.1 * x)


def test_a_box_is_met_at_its_front():
    box = one(Part((0, 0, 0), (4.0, 2.0, 3.0), METAL), at=(10.0, 0.0, 0.0))
    hits = cast(box)
    assert hits.range_m[0, 1] == pytest.approx(8.0)
    assert hits.cosine[0, 1] == pytest.approx(1.0)
    assert hits.material[0, 1] == METAL
    assert hits.num_alone[0] == 3


def test_a_turned_box_is_met_at_its_side():
    box = one(Part((0, 0, 0), (4.0, 2.0, 3.0), METAL), at=(10.0, 0.0, 0.0), yaw_rad=np.pi / 2)
    assert cast(box).range_m[0, 1] == pytest.approx(9.0)


def test_a_slanted_front_is_met_farther_up():
    # The top is half as long: at half height the front has moved back by half a metre.
    box = one(Part((0, 0, 0), (4.0, 2.0, 4.0), METAL, top=(0.5, 1.0)), at=(10.0, 0.0, 0.0))
    hits = cast(box)
    assert hits.range_m[0, 1] == pytest.approx(8.5)
    assert hits.cosine[0, 1] == pytest.approx(4.0 / np.hypot(4.0, 1.0))


def test_a_shifted_top_leans_the_whole_box():
    box = one(Part((0, 0, 0), (4.0, 2.0, 4.0), METAL, shift_m=-1.0), at=(10.0, 0.0, 0.0))
    assert cast(box).range_m[0, 1] == pytest.approx(7.5)
    turned = one(
        Part((0, 0, 0), (4.0, 2.0, 4.0), METAL, shift_m=-1.0), at=(10.0, 0.0, 0.0), yaw_rad=np.pi
    )
    assert cast(turned).range_m[0, 1] == pytest.approx(8.5)


def test_a_cylinder_is_met_at_its_radius_and_a_cone_closer_in():
    pole = one(Part((0, 0, 0), (1.0, 1.0, 4.0), WOOD, is_round=True), at=(10.0, 0.0, 0.0))
    assert cast(pole).range_m[0, 1] == pytest.approx(9.5)
    cone = one(Part((0, 0, 0), (1.0, 1.0, 4.0), WOOD, (0.0, 0.0), 0, True), at=(10.0, 0.0, 0.0))
    assert cast(cone).range_m[0, 1] == pytest.approx(9.75)


def test_the_top_of_a_cylinder_is_met_from_above():
    drum = one(Part((0, 0, 0), (2.0, 2.0, 1.0), WOOD, is_round=True), at=(3.0, 0.0, 0.0))
    hits = cast(drum, elevation_deg=-np.degrees(np.arctan2(1.0, 3.0)))
    assert hits.range_m[0, 1] == pytest.approx(np.hypot(1.0, 3.0))


def test_the_nearer_object_hides_the_farther_but_both_are_counted():
    near = one(Part((0, 0, 0), (1.0, 1.0, 3.0), METAL), at=(5.0, 0.0, 0.0))
    far = one(Part((0, 0, 0), (1.0, 1.0, 3.0), WOOD), at=(20.0, 0.0, 0.0))
    for order in ([near, far], [far, near]):
        hits = cast(Solids.concatenate(order))
        assert hits.range_m[0, 1] == pytest.approx(4.5)
        assert list(hits.num_alone) == [3, 3]


def test_parts_of_one_object_count_once():
    twice = one(
        Part((0, 0, 0), (1.0, 1.0, 3.0), METAL),
        Part((2, 0, 0), (1.0, 1.0, 3.0), METAL),
        at=(5.0, 0.0, 0.0),
    )
    assert cast(twice).num_alone[0] == 3


def test_nothing_is_met_behind_or_beyond_the_range():
    behind = one(Part((0, 0, 0), (1.0, 1.0, 3.0), METAL), at=(-5.0, 0.0, 0.0))
    assert (cast(behind).owner == NOTHING).all()
    far = one(Part((0, 0, 0), (1.0, 1.0, 3.0), METAL), at=(50.0, 0.0, 0.0))
    assert (cast(far, max_range_m=40.0).owner == NOTHING).all()


def test_a_full_rotation_meets_what_stands_behind():
    behind = one(Part((0, 0, 0), (1.0, 1.0, 3.0), METAL), at=(-5.0, 0.0, 0.0))
    azimuth = np.arange(-180.0, 180.0, 1.0)
    hits = cast(behind, azimuth_deg=azimuth)
    met = azimuth[hits.owner[0] == 0]
    # Half a metre wide at a distance of 4.5 m: 6.3 degrees to each side of 180.
    assert sorted(np.mod(met, 360)) == list(range(174, 187))


def test_a_ray_from_inside_meets_nothing():
    around = one(Part((0, 0, 0), (10.0, 10.0, 10.0), METAL))
    assert (cast(around).owner == NOTHING).all()
