"""The step `evaluate`, on plain folders and on the lake."""

import json
from pathlib import Path

import numpy as np
import pytest

from admlops.errors import DataError
from admlops.evaluation.result import BootstrapConfig, Evaluation, Replicates
from admlops.evaluation.slices import SliceConfig
from admlops.geometry.camera import project_boxes
from admlops.lake.predictions import write_predictions
from admlops.lake.store import Dataset
from admlops.steps.evaluate import EvaluateConfig, EvaluateInputs, EvaluateOutputs, evaluate
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey

ROW = "Car 0 0 0 100 100 200 150 1.5 2.0 4.0 0.0 1.65 20.0 0"
CARS = EvaluateConfig(categories=("car",))
EGO_FROM_CAMERA = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.65], [0, 0, 0, 1]], float)
CAMERA_MATRIX = np.array([[700.0, 0, 600], [0, 700.0, 180], [0, 0, 1]])


def write_folder(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


class TestFolders:
    def test_the_whole_evaluation(self, tmp_path: Path) -> None:
        labels = write_folder(tmp_path / "labels", {f"{i:06d}": ROW for i in range(60)})
        predictions = write_folder(
            tmp_path / "predictions", {f"{i:06d}": f"{ROW} {0.3 + i / 100}" for i in range(50)}
        )
        outputs = EvaluateOutputs(evaluation=tmp_path / "evaluation", json=tmp_path / "ap.json")
        scores = evaluate(EvaluateInputs(labels, predictions), outputs, CARS)

        assert scores["num_frames"] == 50
        assert scores["car_bev_ap50"] == scores["car_3d_ap70"] == 1.0
        assert scores["mean_bev_ap"] == 1.0
        assert scores["car_bev_moderate_r40_percent"] == pytest.approx(100.0)
        assert scores["car_distance_ap"] == pytest.approx(1.0)
        table = json.loads((tmp_path / "ap.json").read_text())
        assert table["car"]["3d"]["R40"] == [100.0, 100.0, 100.0]
        assert json.loads((tmp_path / "evaluation/ap.json").read_text()) == table
        evaluation = Evaluation.read(tmp_path / "evaluation")
        assert evaluation.scores == scores
        assert evaluation.num_missed == evaluation.num_false_positives == 0
        assert Replicates.read(tmp_path / "evaluation").seed == 0

    def test_without_a_folder_only_the_table_is_made(self, tmp_path: Path) -> None:
        labels = write_folder(tmp_path / "labels", {"000000": ROW})
        predictions = write_folder(tmp_path / "predictions/data", {"000000": f"{ROW} 0.5"}).parent
        scores = evaluate(EvaluateInputs(labels, predictions), EvaluateOutputs(), CARS)
        assert "car_bev_ap50" not in scores

    def test_centre_distance(self, tmp_path: Path) -> None:
        labels = write_folder(tmp_path / "labels", {"000000": ROW})
        predictions = write_folder(tmp_path / "predictions", {"000000": f"{ROW} 0.5"})
        config = EvaluateConfig(categories=("car",), protocol="centre_distance")
        outputs = EvaluateOutputs(evaluation=tmp_path / "evaluation")
        scores = evaluate(EvaluateInputs(labels, predictions), outputs, config)
        assert scores["car_distance_ap_2m"] == 1.0
        table = json.loads((tmp_path / "evaluation/ap.json").read_text())
        assert table["car"]["distances_m"] == [0.5, 1.0, 2.0, 4.0]

    def test_failures_are_counted_and_the_list_is_limited(self, tmp_path: Path) -> None:
        labels = write_folder(tmp_path / "labels", {f"{i:06d}": ROW for i in range(30)})
        elsewhere = ROW.replace(" 0.0 1.65 20.0", " 9.0 1.65 40.0")
        predictions = write_folder(
            tmp_path / "predictions", {f"{i:06d}": f"{elsewhere} 0.9" for i in range(30)}
        )
        config = CARS.replace(max_failures=20)
        outputs = EvaluateOutputs(evaluation=tmp_path / "evaluation")
        evaluate(EvaluateInputs(labels, predictions), outputs, config)
        evaluation = Evaluation.read(tmp_path / "evaluation")
        assert (evaluation.num_missed, evaluation.num_false_positives) == (30, 30)
        kinds = [failure.kind for failure in evaluation.failures]
        assert kinds == ["missed"] * 10 + ["false_positive"] * 10
        assert evaluation.failures[0].range_m == 20.0
        assert evaluation.failures[-1].range_m == 41.0

    @pytest.mark.parametrize(
        ("labels", "predictions", "message"),
        [
            ({"000000": ROW}, {}, "no .txt file"),
            ({"000000": ROW}, {"000001": ""}, "no label file, first 000001.txt"),
            ({"000000": ROW}, {"000000": ROW}, "has no score"),
            ({"000000": "Car 1"}, {"000000": f"{ROW} 1"}, "line 1"),
        ],
    )
    def test_what_is_wrong_is_said(
        self, tmp_path: Path, labels: dict[str, str], predictions: dict[str, str], message: str
    ) -> None:
        inputs = EvaluateInputs(
            write_folder(tmp_path / "labels", labels),
            write_folder(tmp_path / "predictions", predictions),
        )
        with pytest.raises(DataError, match=message):
            evaluate(inputs, EvaluateOutputs(), CARS)


def test_absent_labels_are_named(tmp_path: Path) -> None:
    inputs = EvaluateInputs(tmp_path / "absent", tmp_path)
    with pytest.raises(DataError, match="absent; give a folder of KITTI label files"):
        evaluate(inputs, EvaluateOutputs(), CARS)


def make_frame(index: int, boxes: Boxes | None, tags: tuple[str, ...] = ()) -> Frame:
    sensor = CalibratedSensor(
        "camera_front",
        "camera",
        EGO_FROM_CAMERA,
        CAMERA_MATRIX,
    )
    regions = np.array([[1000.0, 100.0, 1100.0, 200.0]])
    return Frame(
        key=FrameKey("log", "scene", index),
        frame_id=f"{index:06d}",
        global_from_ego=np.eye(4),
        camera=CameraImage(sensor, b"", 1242, 375, regions),
        boxes=boxes,
        tags=tags,
    )


def in_image(boxes: Boxes) -> Boxes:
    return boxes.replace(
        box2d_px=project_boxes(boxes.as_7(), EGO_FROM_CAMERA, CAMERA_MATRIX, (1242, 375))
    )


def car(x_m: float, y_m: float, **columns: object) -> Boxes:
    known = {"box2d_px": [[500, 150, 700, 250]], "num_points": [50], "occlusion": [0]} | columns
    return Boxes.make([[x_m, y_m, 0.75]], [[4, 2, 1.5]], [0.1], ["car"], **known)  # type: ignore[arg-type]


def make_lake(folder: Path, frames: list[Frame], predictions: list[Boxes]) -> EvaluateInputs:
    dataset = Dataset.create(str(folder / "lake"))
    dataset.append(frames)
    dataset.manifest({}, {}).write(folder / "dataset.json")
    keys = [frame.key for frame in frames]
    write_predictions(
        folder / "predictions/predictions.parquet", zip(keys, predictions, strict=False)
    )
    return EvaluateInputs(folder / "dataset.json", folder / "predictions")


class TestLake:
    def test_slices_tags_and_failures_with_keys(self, tmp_path: Path) -> None:
        frames = [make_frame(i, in_image(car(10.0 + i, 0)), ("rain",) * (i % 2)) for i in range(40)]
        found = [
            car(10.0 + i, 0, score=[0.9], box2d_px=None) if i < 30 else Boxes.empty()
            for i in range(40)
        ]
        outputs = EvaluateOutputs(evaluation=tmp_path / "evaluation")
        inputs = make_lake(tmp_path, frames, found)
        config = CARS.replace(chunk_frames=7)
        scores = evaluate(inputs, outputs, config)
        assert scores["car_bev_ap50"] == pytest.approx(0.75)
        evaluation = Evaluation.read(tmp_path / "evaluation")
        by_slice = {
            item.slice: item.value for item in evaluation.measures if item.name == "car_bev_ap50"
        }
        assert by_slice["range_0_20m"] == 1.0
        assert by_slice["range_40_70m"] == 0.0
        assert by_slice["tag_rain"] == pytest.approx(0.75)
        assert by_slice["points_50_200"] == pytest.approx(0.75)
        assert {failure.timestamp_ns for failure in evaluation.failures} == set(range(30, 40))
        assert evaluation.failures[0].log == "log"
        # 30 labels found, so 30 of the 41 recalls are sampled.
        assert scores["car_2d_moderate_r40_percent"] == pytest.approx(100 * 29 / 40)

    def test_predictions_that_the_camera_does_not_see_are_left_out(self, tmp_path: Path) -> None:
        behind = Boxes.concatenate([car(-20, 0, score=[0.9]), car(20, 0, score=[0.5])])
        inputs = make_lake(tmp_path, [make_frame(0, car(20, 0))], [behind])
        outputs = EvaluateOutputs(evaluation=tmp_path / "evaluation")
        assert evaluate(inputs, outputs, CARS)["car_bev_ap50"] == 1.0

    def test_they_count_where_labels_are_all_around(self, tmp_path: Path) -> None:
        behind = Boxes.concatenate([car(-20, 0, score=[0.9]), car(20, 0, score=[0.5])])
        frame = make_frame(0, car(20, 0, box2d_px=None))
        outputs = EvaluateOutputs(evaluation=tmp_path / "evaluation")
        scores = evaluate(make_lake(tmp_path, [frame], [behind]), outputs, CARS)
        assert scores["car_bev_ap50"] == 0.5
        assert "car_2d_moderate_r40_percent" not in scores

    def test_ignore_regions_of_the_image_forgive(self, tmp_path: Path) -> None:
        """700 px (1050 - 600) / 20 m to the right of the axis is 12.9 m."""
        wrong = car(20, -12.9, score=[0.9])
        both = Boxes.concatenate(
            [wrong.replace(box2d_px=[[1010, 120, 1090, 180]]), car(20, 0, score=[0.5])]
        )
        inputs = make_lake(tmp_path, [make_frame(0, car(20, 0))], [both])
        outputs = EvaluateOutputs(evaluation=tmp_path / "evaluation")
        assert evaluate(inputs, outputs, CARS)["car_bev_ap50"] == 1.0

    def test_frames_without_labels_are_left_out(self, tmp_path: Path) -> None:
        frames = [make_frame(0, car(20, 0)), make_frame(1, None)]
        found = [car(20, 0, score=[0.5]), car(20, 0, score=[0.9])]
        outputs = EvaluateOutputs(evaluation=tmp_path / "evaluation")
        scores = evaluate(make_lake(tmp_path, frames, found), outputs, CARS)
        assert (scores["num_frames"], scores["car_bev_ap50"]) == (1.0, 1.0)

    def test_no_labelled_frame_is_an_error(self, tmp_path: Path) -> None:
        inputs = make_lake(tmp_path, [make_frame(1, None)], [car(20, 0, score=[0.9])])
        with pytest.raises(DataError, match="no predicted frame has labels"):
            evaluate(inputs, EvaluateOutputs(), CARS)

    def test_a_foreign_frame_is_an_error(self, tmp_path: Path) -> None:
        inputs = make_lake(tmp_path, [make_frame(0, car(20, 0))], [])
        write_predictions(
            tmp_path / "predictions/predictions.parquet",
            [(FrameKey("log", "scene", 99), Boxes.empty())],
        )
        with pytest.raises(DataError, match="log/scene/99 is not in"):
            evaluate(inputs, EvaluateOutputs(), CARS)

    def test_the_order_of_the_predictions_changes_nothing(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        frames = [make_frame(i, car(10.0 + i, 0)) for i in range(30)]
        found = [car(10.0 + i + rng.normal(), 0, score=[rng.random()]) for i in range(30)]
        inputs = make_lake(tmp_path, frames, found)
        config = CARS.replace(bootstrap=BootstrapConfig(num_draws=20).model_dump())
        written = []
        for order in (np.arange(30), rng.permutation(30)):
            write_predictions(
                inputs.predictions / "predictions.parquet",
                [(frames[i].key, found[i]) for i in order],
            )
            evaluate(inputs, EvaluateOutputs(evaluation=tmp_path / "evaluation"), config)
            written.append(Replicates.read(tmp_path / "evaluation"))
        assert written[0] == written[1]


def test_slices_can_be_turned_off(tmp_path: Path) -> None:
    labels = write_folder(tmp_path / "labels", {"000000": ROW})
    predictions = write_folder(tmp_path / "predictions", {"000000": f"{ROW} 0.5"})
    none = SliceConfig(range_edges_m=(), point_edges=(), occlusions=(), tags=False)
    config = CARS.replace(slices=none.model_dump(), bootstrap={"num_draws": 0})
    outputs = EvaluateOutputs(evaluation=tmp_path / "evaluation")
    evaluate(EvaluateInputs(labels, predictions), outputs, config)
    evaluation = Evaluation.read(tmp_path / "evaluation")
    assert {item.slice for item in evaluation.measures} == {"all"}
    assert {item.low for item in evaluation.measures} == {None}
