"""The step `export`: write a trained detector as ONNX and audit its operators."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from admlops.config import Config
from admlops.detection.backends import ONNX_FILE
from admlops.detection.config import (
    DETECTOR_FILE,
    WEIGHTS_FILE,
    detector_config_json,
    read_detector_config,
)
from admlops.errors import DataError
from admlops.export.audit import Audit, audit_model, require_supported
from admlops.export.onnx_file import OPSET, export_onnx
from admlops.export.operator_table import TARGETS, Target
from admlops.files import digest_folder, write_atomically, write_folder_atomically
from admlops.steps.step import Scores
from admlops.structures.manifest import Manifest

AUDIT_FILE = "audit.json"
MANIFEST_FILE = "manifest.json"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExportInputs:
    """What is read.

    Attributes:
        model: folder of `detector.json` and `weights.pt`; the first is enough for an audit before
            training, with `random_weights`.
    """

    model: Path


@dataclass(frozen=True, slots=True)
class ExportOutputs:
    """What is written.

    Attributes:
        exported: folder of `model.onnx`, `detector.json`, `audit.json` and `manifest.json`.
    """

    exported: Path


class ExportConfig(Config):
    """How the network is written, and what it must run on."""

    opset: int = Field(default=OPSET, ge=18, le=24)
    """ONNX opset; the encoder's maximum over points needs 18."""
    audit_targets: tuple[Target, ...] = TARGETS
    """Runtimes whose operator tables the network is compared with."""
    required_targets: tuple[Target, ...] = ("onnxruntime", "openvino")
    """Runtimes that must be able to run it."""
    random_weights: bool = False
    """Take new weights where the model has none: audits a design before it is trained."""


def export(inputs: ExportInputs, outputs: ExportOutputs, config: ExportConfig) -> Scores:
    """Write the network as ONNX with its operator audit.

    Raises:
        ConfigError: a required target cannot run a node; the message names its module and what
            to do. The audit is written before.
        DataError: the model cannot be read.
    """
    from admlops.models.detector import build_detector
    from admlops.training.model_folder import read_model

    if config.random_weights and not (inputs.model / WEIGHTS_FILE).is_file():
        detector = build_detector(read_detector_config(inputs.model))
    else:
        detector = read_model(inputs.model)
    with write_folder_atomically(outputs.exported) as draft:
        model = export_onnx(detector, draft / ONNX_FILE, config.opset)
        write_atomically(draft / DETECTOR_FILE, detector_config_json(detector.config))
        targets = tuple(dict.fromkeys((*config.audit_targets, *config.required_targets)))
        audit = audit_model(model, targets)
        write_atomically(draft / AUDIT_FILE, json.dumps(audit.to_json_dict(), indent=2) + "\n")
        _manifest(inputs, outputs, config, draft).write(draft / MANIFEST_FILE)
    for finding in audit.findings:
        _logger.warning("%s", finding)
    for target in config.required_targets:
        require_supported(audit, target)
    return _scores(audit, detector.num_parameters(), outputs.exported / ONNX_FILE)


def _scores(audit: Audit, num_parameters: int, file: Path) -> Scores:
    scores = {
        "opset": float(audit.opset),
        "num_parameters": float(num_parameters),
        "num_nodes": float(sum(audit.operators.values())),
        "onnx_bytes": float(file.stat().st_size),
    }
    for table in audit.tables:
        target = table.rpartition("-")[0]
        count = sum(finding.target == table for finding in audit.findings)
        scores[f"num_unsupported_{target}"] = float(count)
    return scores


def _manifest(
    inputs: ExportInputs, outputs: ExportOutputs, config: ExportConfig, draft: Path
) -> Manifest:
    provenance = {"step": "export", "opset": str(config.opset)}
    licences: tuple[str, ...] = ()
    try:
        parent = Manifest.read(inputs.model / MANIFEST_FILE, "model")
    except DataError:
        if not config.random_weights:
            raise
        provenance["weights"] = "random"
    else:
        licences = parent.licences
        provenance = parent.provenance | provenance | {"model_digest": parent.digest}
    return Manifest(
        kind="exported",
        uri=str(outputs.exported),
        digest=digest_folder(draft),
        licences=licences,
        provenance=provenance,
    )
