"""What objects look like: cars with cabins and wheels, people with legs, trucks, trees, houses."""

from collections.abc import Callable

import numpy as np

from admlops.simulation.materials import (
    CLOTHS,
    FACADES,
    FOLIAGE,
    GLASS,
    LAMP,
    METAL,
    PAINTS,
    PLASTICS,
    RUBBER,
    SKIN,
    WOOD,
)
from admlops.simulation.solids import Part, Solids, build_solids

Size = tuple[float, float, float]

SIZE_M: dict[str, tuple[Size, Size]] = {
    "car": ((4.05, 1.70, 1.52), (0.35, 0.09, 0.09)),
    "van": ((5.10, 1.92, 2.20), (0.45, 0.10, 0.20)),
    "truck": ((9.80, 2.55, 3.30), (1.80, 0.10, 0.25)),
    "pedestrian": ((0.80, 0.66, 1.74), (0.10, 0.07, 0.10)),
    "cyclist": ((1.77, 0.62, 1.74), (0.10, 0.07, 0.08)),
}
"""Mean and standard deviation of length, width and height, close to KITTI's labels."""


def draw_size_m(category: str, random: np.random.Generator) -> Size:
    """Return a random size of an object; it stays within two standard deviations."""
    mean, deviation = SIZE_M[category]
    length, width, height = mean + np.clip(random.normal(size=3), -2, 2) * deviation
    return float(length), float(width), float(height)


def build_object(category: str, size_m: Size, random: np.random.Generator) -> Solids:
    """Return the solids of a labelled object, which fill its box to the borders."""
    builders: dict[str, Callable[[Size, np.random.Generator], list[Part]]] = {
        "car": _car,
        "van": _van,
        "truck": _truck,
        "pedestrian": _pedestrian,
        "cyclist": _cyclist,
    }
    return build_solids(builders[category](size_m, random))


def _wheels(size_m: Size, radius_m: float, axles: tuple[float, ...]) -> list[Part]:
    length, width, _ = size_m
    size = (2 * radius_m, 0.22, 1.7 * radius_m)
    return [
        Part((axle * length, side * (width / 2 - 0.12), 0.0), size, RUBBER, top=(0.8, 1.0))
        for axle in axles
        for side in (1, -1)
    ]


def _lamps(size_m: Size, height_m: float) -> list[Part]:
    length, width, _ = size_m
    return [
        Part(
            (end * (length / 2 - 0.04), side * (width / 2 - 0.2), height_m), (0.1, 0.3, 0.14), LAMP
        )
        for end in (1, -1)
        for side in (1, -1)
    ]


def _car(size_m: Size, random: np.random.Generator) -> list[Part]:
    length, width, height = size_m
    paint = int(random.choice(PAINTS))
    is_estate = random.random() < 0.4
    belt = 0.58 * height
    cabin = (0.66 if is_estate else 0.58) * length
    rear = (0.15 if is_estate else 0.06) * length
    roof = 0.08
    return [
        Part((0, 0, 0.2), (length, width, belt - 0.2), paint, top=(0.96, 0.96)),
        Part(
            (-rear, 0, belt),
            (cabin, 0.94 * width, height - belt - roof),
            GLASS,
            top=(0.74, 0.84),
            shift_m=-0.04 * length,
        ),
        Part((-rear - 0.04 * length, 0, height - roof), (0.74 * cabin, 0.79 * width, roof), paint),
        *_wheels(size_m, 0.32, (0.31, -0.31)),
        *_lamps(size_m, 0.44 * height),
    ]


def _van(size_m: Size, random: np.random.Generator) -> list[Part]:
    length, width, height = size_m
    paint = int(random.choice(PAINTS))
    nose = 0.22 * length
    return [
        Part((-nose / 2, 0, 0.25), (length - nose, width, height - 0.25), paint, top=(0.98, 0.92)),
        Part(
            (length / 2 - nose / 2, 0, 0.25), (nose, width, 0.45 * height), paint, top=(0.8, 0.95)
        ),
        Part(
            (length / 2 - nose, 0, 0.25 + 0.45 * height),
            (nose, 0.95 * width, 0.3 * height),
            GLASS,
            top=(0.3, 0.92),
            shift_m=-0.3 * nose,
        ),
        *_wheels(size_m, 0.36, (0.32, -0.32)),
        *_lamps(size_m, 0.8),
    ]


def _truck(size_m: Size, random: np.random.Generator) -> list[Part]:
    length, width, height = size_m
    cab = min(2.2, 0.28 * length)
    cargo = length - cab - 0.4
    paint = int(random.choice(PAINTS))
    return [
        Part((length / 2 - cab / 2, 0, 0.5), (cab, 0.97 * width, 0.45 * height), paint),
        Part(
            (length / 2 - cab / 2 - 0.05, 0, 0.5 + 0.45 * height),
            (cab - 0.1, 0.95 * width, 0.24 * height),
            GLASS,
            top=(0.85, 0.94),
        ),
        Part((-length / 2 + cargo / 2, 0, 1.0), (cargo, width, height - 1.0), PAINTS[0]),
        Part((-0.1 * length, 0, 0.55), (0.75 * length, 0.5 * width, 0.45), METAL),
        *_wheels(size_m, 0.5, (0.36, -0.22, -0.36)),
        *_lamps(size_m, 0.9),
    ]


def _pedestrian(size_m: Size, random: np.random.Generator) -> list[Part]:
    length, width, height = size_m
    coat, trousers = (int(m) for m in random.choice(CLOTHS, size=2))
    stride = length / 2 - 0.12
    leg, torso = 0.47 * height, 0.38 * height
    arm = 0.1
    return [
        Part((stride, 0.1, 0), (0.2, 0.2, leg), trousers, shift_m=-stride, is_round=True),
        Part((-stride, -0.1, 0), (0.2, 0.2, leg), trousers, shift_m=stride, is_round=True),
        Part((0, 0, leg), (0.34, 0.34, torso), coat, top=(1.2, 1.2), is_round=True),
        Part((0, 0, leg + torso), (0.2, 0.2, height - leg - torso), SKIN, is_round=True),
        Part((0.1, width / 2 - arm / 2, 0.46 * height), (arm, arm, 0.34 * height), coat),
        Part((-0.1, arm / 2 - width / 2, 0.46 * height), (arm, arm, 0.34 * height), coat),
    ]


def _cyclist(size_m: Size, random: np.random.Generator) -> list[Part]:
    length, width, height = size_m
    coat, trousers = (int(m) for m in random.choice(CLOTHS, size=2))
    wheel = 0.66
    reach = length / 2 - wheel / 2
    return [
        Part((reach, 0, 0), (wheel, 0.06, wheel), RUBBER, top=(0.7, 1.0)),
        Part((-reach, 0, 0), (wheel, 0.06, wheel), RUBBER, top=(0.7, 1.0)),
        Part((0, 0, 0.35), (length - wheel, 0.06, 0.55), METAL, top=(0.7, 1.0)),
        Part((0.5 * reach, 0, 0.95), (0.08, width, 0.08), METAL),
        Part((0, 0, 0.35), (0.35, 0.34, 0.6), trousers, shift_m=-0.1),
        Part((-0.12, 0, 0.9), (0.34, 0.40, height - 1.14), coat, shift_m=0.14),
        Part((0.06, 0, height - 0.24), (0.2, 0.2, 0.24), SKIN, is_round=True),
    ]


def build_static(kind: str, random: np.random.Generator) -> Solids:
    """Return the solids of something that is never labelled.

    Args:
        kind: "building", "wall", "pole", "tree" or "clutter".
        random: source of sizes and materials.
    """
    builders: dict[str, Callable[[np.random.Generator], list[Part]]] = {
        "building": _building,
        "wall": _wall,
        "pole": _pole,
        "tree": _tree,
        "clutter": _clutter,
    }
    return build_solids(builders[kind](random))


def _building(random: np.random.Generator) -> list[Part]:
    length, depth = random.uniform(10, 24), random.uniform(8, 14)
    height = random.uniform(4, 14)
    facade = int(random.choice(FACADES))
    windows = [
        Part((x, side * depth / 2, storey), (1.2, 0.1, 1.4), GLASS)
        for side in (1, -1)
        for storey in np.arange(1.0, height - 1.8, 3.0)
        for x in np.arange(-length / 2 + 1.5, length / 2 - 1.0, 3.2)
    ]
    return [Part((0, 0, 0), (length, depth, height), facade), *windows]


def _wall(random: np.random.Generator) -> list[Part]:
    length, height = random.uniform(5, 18), random.uniform(0.8, 2.2)
    material = int(random.choice([*FACADES, FOLIAGE]))
    return [Part((0, 0, 0), (length, random.uniform(0.2, 0.9), height), material)]


def _pole(random: np.random.Generator) -> list[Part]:
    height = random.uniform(2.5, 7.0)
    parts = [Part((0, 0, 0), (0.14, 0.14, height), METAL, is_round=True)]
    if random.random() < 0.5:
        parts.append(Part((0.08, 0, min(height, 3.0) - 0.7), (0.06, 0.6, 0.6), LAMP))
    return parts


def _tree(random: np.random.Generator) -> list[Part]:
    trunk, crown = random.uniform(1.8, 2.6), random.uniform(2.0, 3.6)
    height = random.uniform(2.5, 4.0)
    low = Part((0, 0, trunk), (crown / 2, crown / 2, height / 2), FOLIAGE, (2.0, 2.0), 0, True)
    high = Part(
        (0, 0, trunk + height / 2), (crown, crown, height / 2), FOLIAGE, (0.3, 0.3), 0, True
    )
    return [Part((0, 0, 0), (0.35, 0.35, trunk), WOOD, is_round=True), low, high]


def _clutter(random: np.random.Generator) -> list[Part]:
    kind = random.integers(3)
    plastic = int(random.choice(PLASTICS))
    if kind == 0:
        return [Part((0, 0, 0), (0.6, 0.6, random.uniform(0.9, 1.2)), plastic, is_round=True)]
    if kind == 1:
        return [Part((0, 0, 0), (random.uniform(1.0, 2.4), 1.1, random.uniform(0.9, 1.4)), plastic)]
    width = random.uniform(0.8, 1.8)
    return [Part((0, 0, 0), (width, width, random.uniform(0.6, 1.3)), FOLIAGE, (0.7, 0.7), 0, True)]
