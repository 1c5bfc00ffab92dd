"""A release: an immutable folder that Triton serves, with its own source, proofs and papers.

::

    releases/<id>/
      release.json       what it is: id, digest, references, licences, figures
      files.json         SHA-256 of every other file
      serving.json       settings of the stages
      detector.json      the detector's config
      models/            the Triton model repository; each config.pbtxt was written last. A
                         network in TensorRT is an engine with its key and its ONNX file
      source/admlops/    the code that the models run: code and weights never drift apart
      golden/<name>/     a request and the response that it must get
      evaluation/        the model's scores, which the next model is compared with
"""

import importlib.util
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from admlops.config import Config
from admlops.detection.backends import ONNX_FILE, network_file
from admlops.detection.config import DETECTOR_FILE, read_detector_config
from admlops.detection.engine_file import ENGINE_SUFFIX, KEY_FILE, find_engine
from admlops.errors import DataError
from admlops.files import digest_file, digest_folder, write_atomically
from admlops.serving.engine_key import EngineKey, read_key
from admlops.serving.golden import Golden, write_golden
from admlops.serving.inventory import FILES_FILE, MODELS_FOLDER, RELEASE_FILE
from admlops.serving.repository import (
    CATEGORIES,
    MOUNTING,
    NETWORK,
    RELEASE,
    detector_models,
)
from admlops.serving.stages import SETTINGS_FILE, ServingSettings

SOURCE_FOLDER = "source"
GOLDEN_FOLDER = "golden"
EVALUATION_FOLDER = "evaluation"

SOURCE_MODULES = (
    "admlops",
    "admlops.config",
    "admlops.errors",
    "admlops.files",
    "admlops.geometry",
    "admlops.structures",
    "admlops.detection",
    "admlops.serving",
    "admlops.serving.stages",
)
"""What the stages import, and nothing else: modules, and packages with all of their modules."""
_SHELLS = ("admlops", "admlops.serving")
"""Packages of which only `__init__.py` is taken."""
_NUM_NAMED = 5


class ReleaseRecord(Config):
    """What a release is, for people and for the step that compares releases."""

    release_id: str
    """Number and beginning of the content's digest."""
    digest: str
    """SHA-256 of the content."""
    created_at: str
    """UTC time in ISO 8601."""
    categories: tuple[str, ...]
    """What the detector finds."""
    runtime: str
    """What runs the network, and in which arithmetic."""
    engine: EngineKey | None = None
    """What the network's TensorRT engine is bound to; None where it runs in another runtime."""
    licences: tuple[str, ...] = ()
    """Terms that data and model carry."""
    use: str = "research"
    """What the release was checked for: research or commercial use."""
    provenance: dict[str, str] = Field(default_factory=dict)
    """References and digests of the model and the dataset, and how they came to be."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Figures of evaluation and verification."""


@dataclass(frozen=True, slots=True)
class ReleaseContent:
    """What goes into a release.

    Attributes:
        built: the built folder.
        settings: of the stages.
        goldens: requests and responses.
    """

    built: Path
    settings: ServingSettings
    goldens: Sequence[Golden]


def write_content(folder: Path, content: ReleaseContent) -> str:
    """Write everything but the papers and the configurations; return the content's digest."""
    settings = content.settings
    write_atomically(folder / SETTINGS_FILE, _json(settings.to_json_dict()))
    shutil.copyfile(content.built / DETECTOR_FILE, folder / DETECTOR_FILE)
    copy_source(folder / SOURCE_FOLDER)
    for golden in content.goldens:
        write_golden(folder / GOLDEN_FOLDER, golden)
    _, stages = detector_models(settings.output_shapes)
    template = Path(__file__).with_name("triton_model.py")
    for stage in stages:
        version = folder / MODELS_FOLDER / stage.name / "1"
        version.mkdir(parents=True)
        if not (stage.name == NETWORK and settings.runtime == "tensorrt"):
            shutil.copyfile(template, version / "model.py")
    _copy_network(content, folder / MODELS_FOLDER / NETWORK / "1")
    return digest_folder(folder)


def _copy_network(content: ReleaseContent, version: Path) -> None:
    settings = content.settings
    if settings.runtime == "tensorrt":
        engine = find_engine(content.built)
        key = engine.with_name(KEY_FILE)
        architecture = read_key(key, str(key)).architecture
        shutil.copyfile(engine, version / f"{architecture}{ENGINE_SUFFIX}")
        shutil.copyfile(key, version / KEY_FILE)
        shutil.copyfile(content.built / ONNX_FILE, version / ONNX_FILE)
        return
    network = content.built / network_file(settings.runtime, settings.precision)
    target = version / network.relative_to(content.built)
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(network, target)
    if network.suffix == ".xml":
        shutil.copyfile(network.with_suffix(".bin"), target.with_suffix(".bin"))


def write_configurations(folder: Path, settings: ServingSettings, release_id: str) -> None:
    """Write each model's `config.pbtxt`; with them the folder becomes a model repository."""
    ensemble, stages = detector_models(settings.output_shapes)
    models = folder / MODELS_FOLDER
    for stage in stages:
        text = stage.to_text()
        if stage.name == NETWORK and settings.runtime == "tensorrt":
            engine = find_engine(models / NETWORK / "1")
            text = stage.to_engine_text(engine.stem, engine.name)
        write_atomically(models / stage.name / "config.pbtxt", text)
    note = "The ensemble has no files of its own; Triton wants the folder of a version.\n"
    write_atomically(models / ensemble.name / "1" / "README", note)
    parameters = {
        RELEASE: release_id,
        MOUNTING: json.dumps(settings.ego_from_lidar),
        CATEGORIES: json.dumps(read_detector_config(folder).categories),
    }
    text = ensemble.to_ensemble_text(stages, parameters)
    write_atomically(models / ensemble.name / "config.pbtxt", text)


def write_papers(folder: Path, record: ReleaseRecord, evaluation: Path | None = None) -> None:
    """Write `evaluation/` and `release.json`, then `files.json` over everything else."""
    if evaluation is not None:
        shutil.copytree(evaluation, folder / EVALUATION_FOLDER)
    write_atomically(folder / RELEASE_FILE, _json(record.to_json_dict()))
    write_atomically(folder / FILES_FILE, _json(_digests(folder)))


def read_record(folder: Path) -> ReleaseRecord:
    """Return what a release is.

    Raises:
        DataError: the folder is no release.
    """
    if not (folder / RELEASE_FILE).is_file():
        raise DataError(f"{folder}: is no release; it has no {RELEASE_FILE}")
    return ReleaseRecord.load(folder / RELEASE_FILE)


def require_intact(folder: Path) -> None:
    """Compare every file of a release with its digest.

    Raises:
        DataError: names files that are changed, missing or strange.
    """
    try:
        expected: dict[str, str] = json.loads((folder / FILES_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / FILES_FILE}: cannot be read: {error}") from error
    found = _digests(folder)
    shared = expected.keys() & found.keys()
    wrong = [f"{name} changed" for name in shared if expected[name] != found[name]]
    wrong += [f"{name} is missing" for name in expected.keys() - found.keys()]
    wrong += [f"{name} does not belong to it" for name in found.keys() - expected.keys()]
    if wrong:
        more = f" and {len(wrong) - _NUM_NAMED} more" if len(wrong) > _NUM_NAMED else ""
        raise DataError(
            f"{folder}: the release is damaged: {', '.join(sorted(wrong)[:_NUM_NAMED])}{more}; "
            "roll back to another, or publish again"
        )


def copy_source(folder: Path) -> None:
    """Copy the modules that the stages import, so that a release runs without admlops."""
    for name in SOURCE_MODULES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise RuntimeError(f"module {name} has no source")
        origin = Path(spec.origin)
        is_package = spec.submodule_search_locations is not None
        place = folder.joinpath(*name.split("."))
        target = place if is_package else place.parent
        target.mkdir(parents=True, exist_ok=True)
        whole = is_package and name not in _SHELLS
        for file in sorted(origin.parent.glob("*.py")) if whole else [origin]:
            shutil.copyfile(file, target / file.name)


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    kept = {name: path for name, path in names.items() if "__pycache__" not in name}  # by Triton
    return {name: digest_file(path) for name, path in kept.items() if name != FILES_FILE}


def _json(values: object) -> str:
    return json.dumps(values, indent=2, sort_keys=True) + "\n"
