"""Waiting threads sleep, and an environment that says otherwise wins."""

import os
import subprocess
import sys

from admlops.training.threads import WAIT_POLICY, sleep_while_waiting


def test_the_environment_wins(monkeypatch):
    monkeypatch.setenv(WAIT_POLICY, "ACTIVE")
    sleep_while_waiting()
    assert os.environ[WAIT_POLICY] == "ACTIVE"


def test_the_steps_are_imported_without_torch():
    """The policy only works if it is set before torch is imported; and recipes name all steps."""
    code = (
        "import sys; from admlops.steps.step import STEPS, load_step; "
        "[load_step(word) for word in STEPS]; print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert result.stdout.strip() == b"False"
