"""The embedded server with a model of three lines: start, errors, no orphans."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton_grpc

from admlops.errors import ServiceError
from admlops.serving.embedded import EmbeddedTriton

pytestmark = pytest.mark.e2e

MODEL = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        tensors = [pb_utils.get_input_tensor_by_name(request, "x") for request in requests]
        doubled = [pb_utils.Tensor("y", 2 * tensor.as_numpy()) for tensor in tensors]
        return [pb_utils.InferenceResponse([tensor]) for tensor in doubled]
"""
CONFIG = """
name: "double"
backend: "python"
max_batch_size: 0
input [ { name: "x" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository" / "double"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(MODEL)
    (folder / "config.pbtxt").write_text(CONFIG)
    return folder.parent


def infer(server, values):
    x = np.asarray(values, dtype=np.float32)
    tensor = triton_grpc.InferInput("x", x.shape, "FP32")
    tensor.set_data_from_numpy(x)
    with triton_grpc.InferenceServerClient(server.grpc_url) as client:
        return client.infer("double", [tensor]).as_numpy("y")


def test_serves_and_stops(repository):
    with EmbeddedTriton(repository, ("double",)) as server:
        np.testing.assert_array_equal(infer(server, [1.5, -2.0]), [3.0, -4.0])
        process = server._process
    assert process.returncode == 0
    assert not server.is_running()


def test_a_broken_model_ends_the_start_with_the_log(repository):
    (repository / "double" / "1" / "model.py").write_text("raise RuntimeError('broken on purpose')")
    server = EmbeddedTriton(repository, ("double",))
    with pytest.raises(ServiceError, match="broken on purpose"):
        server.start()


def test_the_server_does_not_outlive_a_killed_owner(repository):
    script = (
        "import sys, time; from pathlib import Path\n"
        "from admlops.serving.embedded import EmbeddedTriton\n"
        f"server = EmbeddedTriton(Path({str(repository)!r}), ('double',))\n"
        "server.start(); print(server._process.pid, server._folder.name, flush=True)\n"
        "time.sleep(600)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pid, folder = owner.stdout.readline().split()
    family = [psutil.Process(int(pid))]
    family += family[0].children(recursive=True)
    assert len(family) >= 3, "supervisor, server and model"
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    deadline = time.monotonic() + 30
    while any(process.is_running() for process in family) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [process for process in family if process.is_running()]
    assert not Path(folder).exists(), "temporary files go with the server"
