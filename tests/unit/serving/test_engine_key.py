"""The key of an engine and the node that must fit it; real servers are in tests/e2e."""

import subprocess

import pytest

from admlops.errors import DataError
from admlops.serving.engine_key import (
    EngineKey,
    ServingNode,
    find_architecture,
    key_files,
    require_engine_for,
)
from admlops.serving.inventory import Inventory

ONNX = "a" * 64
INVENTORY = Inventory({"models/network/1/model.onnx": ONNX})


def key(architecture: str = "sm90", tensorrt: str = "10.1", onnx: str = ONNX) -> EngineKey:
    return EngineKey(
        onnx_sha256=onnx,
        architecture=architecture,
        tensorrt=tensorrt,
        precision="f16",
        shapes={"points": [[1, 4], [2, 4], [3, 4]]},
    )


def test_no_engine_fits_every_node():
    require_engine_for(ServingNode(), [], INVENTORY)
    assert key_files(INVENTORY) == []


def test_one_of_several_engines_must_fit():
    require_engine_for(ServingNode("sm90", "10.1"), [key("sm89"), key()], INVENTORY)


@pytest.mark.parametrize(
    "node", [ServingNode(), ServingNode("sm90"), ServingNode("sm90", "10.1.1"), ServingNode("sm9")]
)
def test_other_nodes_are_refused(node):
    with pytest.raises(DataError, match="has engines for sm90, TensorRT 10.1; this node has"):
        require_engine_for(node, [key()], INVENTORY)


def test_an_engine_from_another_onnx_file_is_refused():
    with pytest.raises(DataError, match="another ONNX file"):
        require_engine_for(ServingNode("sm90", "10.1"), [key(onnx="b" * 64)], INVENTORY)


def test_an_engine_needs_its_key_beside_it():
    engine, other = "models/network/1/x/model.plan", "models/network/1/key.json"
    with pytest.raises(DataError, match=f"{engine}: an engine without key.json"):
        key_files(Inventory({engine: ONNX, other: ONNX}))


def test_this_machines_gpu_is_found_or_there_is_none():
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        assert find_architecture() == ""
    else:
        first = asked.stdout.split()[0]
        assert find_architecture() == f"sm{first.replace('.', '')}"
