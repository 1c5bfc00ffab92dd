import json
import shutil

import jsonschema
import numpy as np
import pytest

from admlops.annotation.definition import load_definition
from admlops.errors import ConfigError, DataError, GateError
from admlops.formats.openlabel.reader import read_openlabel
from admlops.lake.predictions import write_predictions
from admlops.lake.store import Dataset
from admlops.simulation.config import LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import frame_keys, oracle_labels, simulate
from admlops.steps.annotate import AnnotateConfig, AnnotateInputs, AnnotateOutputs, annotate
from admlops.structures.label_request import LabelRequest, RequestedFrame
from admlops.structures.manifest import Manifest

WORLD = WorldConfig(
    train=SceneGroup(num_scenes=2, frames_per_scene=4),
    val=SceneGroup(num_scenes=0),
    pool=SceneGroup(num_scenes=2, frames_per_scene=6),
    keyframe_interval_s=0.5,
    images=False,
    lidar=LidarConfig(azimuth_step_deg=0.4),
)
POOL = [key for key in frame_keys(WORLD) if key.scene.startswith("pool")]
CARELESS = {"missing": 0.15, "shifted": 0.1, "swapped": 0.1, "flipped": 0.05, "seed": 3}


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vendor")
    dataset = Dataset.create(str(folder / "lake"), licences=["CC0-1.0"])
    dataset.append(simulate(WORLD))
    frames = tuple(RequestedFrame(**key._asdict()) for key in POOL)
    LabelRequest(dataset=dataset.reference, frames=frames).write(folder / "request")
    return folder


@pytest.fixture
def desk(ingested, tmp_path):
    """Return a folder with a lake, a manifest of it and a request."""
    shutil.copytree(ingested / "lake", tmp_path / "lake")
    shutil.copytree(ingested / "request", tmp_path / "request")
    (tmp_path / "guideline.html").write_text("<html>Draw tight boxes.</html>")
    Dataset.open(str(tmp_path / "lake")).manifest().write(tmp_path / "dataset.json")
    return tmp_path


def run(desk, name, work=None, inputs=None, **config):
    vendor = {"kind": "vendor", "exchange": desk / "exchange", "gold_share": 0.15}
    vendor["guideline"] = desk / "guideline.html"
    vendor["acceptance"] = {"max_pictures": 3}
    if work is not None:
        vendor["simulated"] = {"world": WORLD, "work": work}
    vendor |= config.pop("vendor", {})
    return annotate(
        AnnotateInputs(desk / "dataset.json", desk / "request", **(inputs or {})),
        AnnotateOutputs(desk / f"{name}.json", desk / name),
        AnnotateConfig.parse({"annotator": vendor, **config}),
    )


def reference(desk, name):
    return Manifest.read(desk / f"{name}.json", "dataset").reference


def package(desk):
    (folder,) = (desk / "exchange").iterdir()
    return folder


def test_rejection_changes_nothing_and_a_corrected_delivery_is_merged_once(desk):
    first = run(desk, "first", CARELESS)
    assert first["accepted"] == 0
    assert first["num_major"] > 5
    assert first["num_gold_frames"] == 3
    assert first["gold_recall"] < 0.95
    assert reference(desk, "first") == reference(desk, "dataset")
    assert (
        Dataset.open(str(desk / "lake")).versions()
        == Dataset.open(reference(desk, "dataset")).versions()
    )
    report = json.loads((desk / "first" / "acceptance.json").read_text())
    assert not report["accepted"]
    assert {"ANNO026", "ANNO027"} <= {defect["rule_id"] for defect in report["defects"]}
    assert "The delivery is rejected" in (desk / "first" / "acceptance.html").read_text()

    second = run(desk, "second", {})
    assert (second["accepted"], second["num_changed"]) == (1, len(POOL))
    assert second["gold_recall"] == second["gold_precision"] == 1
    before = Dataset.open(reference(desk, "dataset"))
    after = Dataset.open(reference(desk, "second"))
    assert sorted(before.diff(after).relabelled) == sorted(POOL)

    again = run(desk, "again", {})
    assert (again["num_changed"], reference(desk, "again")) == (0, reference(desk, "second"))
    manifest = Manifest.read(desk / "second.json", "dataset")
    assert manifest.provenance["package"] == package(desk).name
    assert manifest.provenance["parent"] == reference(desk, "dataset")


def test_accepted_labels_are_near_the_truth_and_know_their_points(desk):
    run(desk, "labelled", {})
    truth = oracle_labels(WORLD, POOL)
    for frame in Dataset.open(reference(desk, "labelled")).iterate():
        if frame.key not in truth:
            continue
        assert frame.split == "train"
        labelled = frame.boxes
        apart = np.linalg.norm(
            labelled.center_m[:, None] - truth[frame.key].center_m[None], axis=2
        ).min(axis=1)
        assert (apart < 0.2).all()
        assert (labelled.num_points > 0).mean() > 0.9
        assert np.isfinite(labelled.box2d_px).all()
        assert all(track.startswith("package-") for track in labelled.track_id)


def test_with_enforce_the_report_is_written_before_the_step_fails(desk):
    with pytest.raises(GateError, match=r"package-.*Rejected: .*severity error"):
        run(desk, "strict", CARELESS, enforce=True)
    assert not json.loads((desk / "strict" / "acceptance.json").read_text())["accepted"]
    assert not (desk / "strict.json").exists()


@pytest.mark.parametrize(
    ("work", "rule", "what"),
    [
        ({"wrong_file": True}, "ANNO022", "15 frames are not in"),
        ({"partial": 0.3, "seed": 1}, "ANNO021", "frames are missing: 0000"),
    ],
)
def test_wrong_and_partial_deliveries_are_told(desk, work, rule, what):
    assert run(desk, "told", work)["num_critical"] == 1
    defects = json.loads((desk / "told" / "acceptance.json").read_text())["defects"]
    (found,) = [item["what"] for item in defects if item["rule_id"] == rule]
    assert what in found


def test_a_vendor_delivers_later_and_by_hand(desk):
    with pytest.raises(DataError, match=r"nothing is delivered at .* yet"):
        run(desk, "early")
    folder = package(desk)
    assert "tight boxes" in (folder / "package" / "guideline.html").read_text()
    run(desk, "simulated", {})  # somebody labels the package
    delivered = folder / "delivery" / "labels.json"
    assert len(read_openlabel(delivered).frames) == len(POOL) + 3
    schema = json.loads((folder / "package" / "delivery_schema.json").read_text())
    jsonschema.validate(json.loads(delivered.read_text()), schema)
    late = run(desk, "late")
    assert late["accepted"] == 1
    assert late["num_changed"] == 0
    assert reference(desk, "late") == reference(desk, "simulated")


def test_known_labels_and_names_do_not_leave_the_house(desk):
    with pytest.raises(DataError, match="yet"):
        run(desk, "early", vendor={"cloud_format": "bin"})
    folder = package(desk)
    key = json.loads((folder / "ours" / "key.json").read_text())
    assert sum(frame["is_gold"] for frame in key["frames"]) == 3
    assert {frame["scene"][:4] for frame in key["frames"] if frame["is_gold"]} == {"trai"}
    for path in (folder / "package").rglob("*"):
        if path.suffix in (".json", ".xml"):
            content = path.read_bytes()
            assert b"train-0" not in content
            assert b"pool-0" not in content
            assert b'"cuboid": [\n' not in content


def test_predictions_are_what_a_vendor_starts_from(desk):
    truth = oracle_labels(WORLD, POOL)
    folder = desk / "predictions"
    write_predictions(folder / "predictions.parquet", truth.items())
    with pytest.raises(DataError, match="yet"):
        run(desk, "early", inputs={"predictions": folder})
    frames = read_openlabel(package(desk) / "package" / "openlabel.json").frames
    assert [len(frame.boxes) > 0 for frame in frames] == [True] * len(frames)


def test_labels_of_others_stay_and_overwriting_them_can_be_refused(desk):
    theirs = {POOL[0]: oracle_labels(WORLD, POOL[:1])[POOL[0]].select([0])}
    Dataset.open(str(desk / "lake")).relabel(theirs, split="train")
    with pytest.raises(DataError, match=r"1 of 12 requested frames have got other labels"):
        run(desk, "polite", {"seed": 5}, overwrite=False)
    scores = run(desk, "bold", {"seed": 5})
    assert (scores["num_overwritten"], scores["num_changed"]) == (1, 12)
    manifest = Manifest.read(desk / "bold.json", "dataset")
    assert manifest.provenance["parent"] == reference(desk, "dataset")
    assert manifest.provenance["base"] != manifest.provenance["parent"]


def test_the_guideline_is_made_from_the_definition_where_none_is_given(desk):
    with pytest.raises(DataError, match="yet"):
        run(desk, "early", vendor={"guideline": None, "archive": True})
    page = (package(desk) / "package" / "guideline.html").read_text()
    assert "Urban lidar" in page
    assert (package(desk) / "package.zip").is_file()
    with pytest.raises(DataError, match=r"nowhere\.html: cannot be read"):
        run(desk, "early", vendor={"guideline": desk / "nowhere.html"})


def test_gold_needs_labelled_frames(desk):
    with pytest.raises(DataError, match="0 labelled frames can be hidden"):
        run(desk, "none", {}, vendor={"gold": "split = 'test'"})


def test_a_vendor_needs_a_folder_to_deliver_into():
    with pytest.raises(ConfigError, match="exchange is required"):
        AnnotateConfig.parse({"annotator": {"kind": "vendor"}})


def test_the_oracle_is_trusted_and_says_so(desk):
    outputs = AnnotateOutputs(desk / "trusted.json", desk / "trusted")
    config = AnnotateConfig.parse({"annotator": {"kind": "oracle", "world": WORLD}})
    inputs = AnnotateInputs(desk / "dataset.json", desk / "request")
    assert annotate(inputs, outputs, config)["accepted"] == 1
    report = json.loads((desk / "trusted" / "acceptance.json").read_text())
    assert report["accepted"]
    assert "nothing was judged" in report["sentence"]


def test_boxes_in_images_are_judged_and_merged_like_those_in_space(desk, tmp_path):
    world = WORLD.replace(image_labels=True)
    dataset = Dataset.create(str(tmp_path / "seen"))
    dataset.append(simulate(world))
    dataset.manifest().write(desk / "dataset.json")
    shipped = load_definition("urban_lidar").replace(shapes=["space_box", "image_box"])
    (desk / "both.yaml").write_text(json.dumps(shipped.to_json_dict()))  # YAML holds JSON
    frames = tuple(RequestedFrame(**key._asdict()) for key in POOL)
    LabelRequest(dataset=dataset.reference, frames=frames).write(desk / "request")
    rates = dict.fromkeys(("missing", "shifted", "category", "resized", "outside"), 0.1)

    def ask(name, image):
        vendor = {"acceptance": {"definition": str(desk / "both.yaml"), "max_pictures": 4}}
        simulated = {"world": world, "work": {"image": image, "seed": 2}}
        return run(desk, name, vendor={**vendor, "simulated": simulated})

    first = ask("first", rates | {"duplicate": 0.1})
    assert first["accepted"] == 0
    assert first["gold_recall"] == 1
    assert first["gold_recall_2d"] < 0.95
    report = json.loads((desk / "first" / "acceptance.json").read_text())
    found = {item["rule_id"] for item in report["defects"] if item["shape"] == "image_box"}
    assert {"ANNO024", "ANNO042", "ANNO047", "ANNO048"} <= found
    assert reference(desk, "first") == reference(desk, "dataset")

    second = ask("second", {})
    assert (second["accepted"], second["gold_recall_2d"], second["num_changed"]) == (1, 1, 12)
    schema = json.loads((package(desk) / "package" / "delivery_schema.json").read_text())
    jsonschema.validate(json.loads((package(desk) / "delivery/labels.json").read_text()), schema)
    truth = oracle_labels(world, POOL)
    for frame in Dataset.open(reference(desk, "second")).iterate():
        if frame.key in truth:
            known = truth[frame.key]
            assert len(frame.boxes_2d) == len(known)
            assert np.allclose(frame.boxes_2d.box2d_px, known.box2d_px, atol=5)
            assert all(track.startswith("package-") for track in frame.boxes_2d.track_id)
    again = ask("again", {})
    assert (again["num_changed"], reference(desk, "again")) == (0, reference(desk, "second"))
