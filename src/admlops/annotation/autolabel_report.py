"""What became of automatic labels, as a page: counts by category, and scenes from above."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from admlops.analysis.drawing import INK, MUTED, as_svg, drawing
from admlops.analysis.pages import render_page
from admlops.annotation.routing import ROUTES, RoutedFrame
from admlops.annotation.tracking import move_boxes
from admlops.geometry.boxes import corners_bev
from admlops.structures.frame import FrameKey

AUTOLABEL_PAGE = "autolabel.html"
ROUTE_COLOURS = ("#059669", "#e07b00", "#d92d20")
_WORDS = ("accepted", "to review", "asked about")
_WIDTH_IN, _MIN_HEIGHT_IN, _MAX_HEIGHT_IN = 9.0, 2.4, 8.0
_AXES_IN, _AROUND_IN = 8.3, 0.95
"""Width of the axes without labels, and height of what is above and below them."""
_MARGIN_M = 4.0


@dataclass(frozen=True, slots=True)
class ScenePicture:
    """A scene from above.

    Attributes:
        name: log and scene.
        num_frames: frames that were routed.
        image: data URI.
    """

    name: str
    num_frames: int
    image: str


@dataclass(frozen=True, slots=True)
class _SceneRows:
    """The boxes of a scene in the global frame, turned so that the drive is level."""

    box_7: NDArray[np.float64]
    route: NDArray[np.int64]
    track: NDArray[np.object_]
    is_interpolated: NDArray[np.bool_]


def render_autolabel(
    frames: Sequence[RoutedFrame], pictures: Sequence[ScenePicture], scores: Mapping[str, float]
) -> str:
    """Return the page about routed frames.

    Args:
        frames: those to label.
        pictures: of some of their scenes.
        scores: of the step.
    """
    counts = Counter(
        (str(name), int(route))
        for frame in frames
        for name, route in zip(frame.boxes.category, frame.routes, strict=True)
    )
    names = sorted({name for name, _ in counts})
    of_frames = Counter(frame.route for frame in frames)
    cards = [
        (f"frames {word}", f"{of_frames[route]:,}")
        for route, word in zip(ROUTES, _WORDS, strict=True)
    ]
    cards += [
        (name.replace("_", " "), f"{scores[name]:.1%}")
        for name in ("expected_precision", "expected_recall")
        if name in scores
    ]
    return render_page(
        "autolabel.html",
        package="admlops.annotation",
        cards=cards,
        words=_WORDS,
        rows=[(name, [counts[name, route] for route in range(len(ROUTES))]) for name in names],
        pictures=pictures,
        num_calibrated=int(scores["num_calibrated_categories"]),
        num_interpolated=int(scores["num_interpolated"]),
        num_tracks=int(scores["num_tracks"]),
    )


def draw_scenes(
    frames: Sequence[RoutedFrame], poses: Mapping[FrameKey, NDArray[np.float64]], count: int
) -> list[ScenePicture]:
    """Return pictures of the scenes with most boxes.

    Args:
        frames: in the order of their keys.
        poses: `global_from_ego` of each.
        count: how many scenes.
    """
    scenes: dict[tuple[str, str], list[RoutedFrame]] = {}
    for frame in frames:
        scenes.setdefault((frame.key.log, frame.key.scene), []).append(frame)
    sizes = {name: sum(len(frame.boxes) for frame in found) for name, found in scenes.items()}
    picked = sorted(sorted(scenes, key=lambda name: (-sizes[name], name))[:count])
    return [
        ScenePicture(
            name="/".join(name),
            num_frames=len(scenes[name]),
            image=_draw(scenes[name], np.stack([poses[frame.key] for frame in scenes[name]])),
        )
        for name in picked
    ]


def _draw(frames: Sequence[RoutedFrame], poses: NDArray[np.float64]) -> str:
    level_from_global = _level(poses)
    rows = _gather(frames, level_from_global @ poses)
    path = (level_from_global @ poses)[:, :2, 3]
    reach = np.concatenate([path, rows.box_7[:, :2]])
    low, high = reach.min(axis=0) - _MARGIN_M, reach.max(axis=0) + _MARGIN_M
    shape = (high[1] - low[1]) / (high[0] - low[0])
    height = float(np.clip(_AXES_IN * shape + _AROUND_IN, _MIN_HEIGHT_IN, _MAX_HEIGHT_IN))
    with drawing(_WIDTH_IN, height) as figure:
        axes = figure.subplots()
        axes.add_collection(LineCollection(_tracks(rows), colors="#9aa5b1", linewidths=0.8))
        for route, colour in enumerate(ROUTE_COLOURS):
            _outline(axes, rows, route, colour)
        axes.plot(path[:, 0], path[:, 1], color=INK, linewidth=2.0, marker=">", markersize=4)
        axes.set_aspect("equal")
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(low[1], high[1])
        axes.set_xlabel("along the drive, m")
        axes.set_ylabel("to the left, m")
        handles = [Line2D([], [], color=colour) for colour in ROUTE_COLOURS]
        handles += [
            Line2D([], [], color=MUTED, linestyle=":"),
            Line2D([], [], color="#9aa5b1", linewidth=0.8),
            Line2D([], [], color=INK, marker=">", markersize=4),
        ]
        names = [*_WORDS, "between detections", "track", "vehicle"]
        figure.legend(handles, names, loc="outside upper left", ncols=len(names))
        return as_svg(figure)


def _level(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (4, 4) transform that puts the first frame at the origin, looking along x."""
    inverse: NDArray[np.float64] = np.linalg.inv(poses[0])
    return inverse


def _gather(frames: Sequence[RoutedFrame], level_from_ego: NDArray[np.float64]) -> _SceneRows:
    moved = [
        move_boxes(pose, frame.boxes.as_7())
        for pose, frame in zip(level_from_ego, frames, strict=True)
    ]
    return _SceneRows(
        box_7=np.concatenate(moved),
        route=np.concatenate([frame.routes for frame in frames]),
        track=np.concatenate([frame.boxes.track_id for frame in frames]),
        is_interpolated=np.concatenate([frame.is_interpolated for frame in frames]),
    )


def _tracks(rows: _SceneRows) -> list[NDArray[np.float64]]:
    """Return the (K, 2) path of each track."""
    return [rows.box_7[rows.track == name, :2] for name in sorted(set(rows.track) - {""})]


def _outline(axes: Axes, rows: _SceneRows, route: int, colour: str) -> None:
    for between, style in ((False, "-"), (True, ":")):
        chosen = (rows.route == route) & (rows.is_interpolated == between)
        corners = corners_bev(rows.box_7[chosen])
        axes.add_collection(
            LineCollection(
                list(corners[:, [0, 1, 2, 3, 0]]), colors=colour, linestyles=style, linewidths=0.9
            )
        )
