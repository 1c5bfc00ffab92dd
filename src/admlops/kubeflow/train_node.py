"""What every process of a TrainJob runs: the step `train`, and the way back for its model."""

import json
import os
import sys
import tempfile
from pathlib import Path

from admlops.config import Config
from admlops.errors import AdmlopsError
from admlops.kubeflow.exchange import send_folder
from admlops.steps.train import TrainInputs, TrainOutputs, train
from admlops.structures.manifest import Manifest
from admlops.training.config import TrainConfig


class NodeRequest(Config):
    """What the launcher asks of the pods."""

    config: TrainConfig
    """How to train."""
    dataset: Manifest
    """The dataset version."""
    destination: str
    """Where the model goes."""


def run_node(request: NodeRequest) -> None:
    """Train as one process of many; the first sends the model.

    The processes of a pod share a work folder. Checkpoints outlive the pod only where the config's
    own work folder is on a volume.
    """
    work = request.config.work_folder or str(Path(tempfile.gettempdir()) / "admlops-train")
    with tempfile.TemporaryDirectory() as folder:
        dataset, model = Path(folder) / "dataset.json", Path(folder) / "model"
        request.dataset.write(dataset)
        config = request.config.replace(work_folder=work)
        train(TrainInputs(dataset), TrainOutputs(model), config)
        if os.environ["RANK"] == "0":
            send_folder(model, request.destination)


if __name__ == "__main__":
    try:
        run_node(NodeRequest.parse(json.loads(sys.argv[1]), where="TrainJob"))
    except AdmlopsError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
