"""Plain folders are scored where the lake's packages are not installed."""

import subprocess
import sys


def test_importing_evaluate_needs_no_lake() -> None:
    code = (
        "import sys; import admlops.steps.evaluate; "
        "print([name for name in ('lance', 'pyarrow', 'duckdb', 'torch') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
