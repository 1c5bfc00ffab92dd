from importlib.metadata import version

import pytest

from admlops.errors import ConfigError
from admlops.export.operator_table import TARGETS, load_table, read_table, write_table
from admlops.export.probe import probe_onnxruntime, probe_openvino


@pytest.mark.parametrize("target", TARGETS)
def test_every_entry_names_a_type_group(target):
    table = load_table(target)
    assert len(table.operators) > 150
    assert {entry.types for entry in table.operators.values()} <= set(table.type_groups)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_runs_what_detectors_are_made_of(target):
    wanted = {"Conv", "ConvTranspose", "Relu", "Concat", "ScatterND", "ScatterElements", "Gemm"}
    assert wanted <= set(load_table(target).operators)


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_tables_are_of_the_installed_versions(target):
    installed = ".".join(version(target).split(".")[:2])
    assert load_table(target).version == installed, "run: python -m admlops.export.probe"


@pytest.mark.parametrize("probe", [probe_onnxruntime, probe_openvino])
def test_tables_are_what_the_runtimes_say(probe):
    fresh = probe()
    assert fresh == load_table(fresh.target), "run: python -m admlops.export.probe"


def test_a_table_survives_writing(tmp_path):
    table = load_table("tensorrt")
    write_table(table, tmp_path / "tensorrt-10.13.yaml")
    assert read_table(tmp_path / "tensorrt-10.13.yaml") == table


def test_an_unknown_target_is_refused():
    with pytest.raises(ConfigError, match="targets are onnxruntime, openvino, tensorrt"):
        load_table("tflite")
