"""Where the embedded Triton server is installed, and how its process must be set up.

The server comes from the wheel `nvidia-pytriton` in a virtual environment of its own, because the
wheel needs numpy 1. It serves the Python backend on the CPU.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from admlops.errors import ServiceError

VENV_VARIABLE = "ADMLOPS_TRITON_VENV"


@dataclass(frozen=True, slots=True)
class TritonEnvironment:
    """The files of one installation.

    Attributes:
        venv: its virtual environment.
        site_packages: where the wheels are.
        python_lib: the folder of the interpreter's shared library.
        python_version: for example "3.11".
    """

    venv: Path
    site_packages: Path
    python_lib: Path
    python_version: str

    @property
    def program(self) -> Path:
        """Return the server's binary."""
        return self.site_packages / "pytriton" / "tritonserver" / "bin" / "tritonserver"

    def write_backend_directory(self, folder: Path) -> None:
        """Fill `folder` with the Python backend and the stub of this interpreter, as links."""
        server = self.site_packages / "pytriton" / "tritonserver"
        backend = folder / "python"
        backend.mkdir(parents=True)
        for file in (server / "backends" / "python").iterdir():
            if file.is_file():
                (backend / file.name).symlink_to(file)
        stub = "triton_python_backend_stub"
        (backend / stub).symlink_to(server / "python_backend_stubs" / self.python_version / stub)

    def variables(self) -> dict[str, str]:
        """Return the process environment: nothing of the caller's but what is needed."""
        kept = {name: os.environ[name] for name in ("HOME", "TMPDIR", "LANG") if name in os.environ}
        libraries = (self.site_packages / "nvidia_pytriton.libs", self.python_lib)
        return kept | {
            "PATH": f"{self.venv / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "VIRTUAL_ENV": str(self.venv),
            "PYTHONPATH": str(self.site_packages),
            "PYTHONNOUSERSITE": "1",
            "LD_LIBRARY_PATH": ":".join(str(folder) for folder in libraries),
        }


def find_triton() -> TritonEnvironment:
    """Return the installation that `ADMLOPS_TRITON_VENV` names, else the one in `.venv-triton`.

    Raises:
        ServiceError: it is absent or incomplete; the message holds the command that makes it.
    """
    venv = _venv_folder()
    python = venv / "bin" / "python"
    found = sorted(venv.glob("lib/python3.*/site-packages/pytriton/tritonserver/bin/tritonserver"))
    if not python.exists() or not found:
        raise ServiceError(
            f"Triton: no server is installed in {venv}. Make it with `make setup`, or with\n"
            f"  python3.11 -m venv {venv} && {venv}/bin/pip install -r requirements/triton.txt\n"
            f"or name another virtual environment in {VENV_VARIABLE}"
        )
    question = "import sys, sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    answer = subprocess.run(
        [str(python), "-I", "-c", question], capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        raise ServiceError(
            f"Triton: {python} does not run ({answer.stderr.strip()[-200:]}); "
            f"remove {venv} and run `make setup`"
        )
    site_packages = found[0].parents[3]
    return TritonEnvironment(
        venv=venv,
        site_packages=site_packages,
        python_lib=Path(answer.stdout.strip()),
        python_version=site_packages.parent.name.removeprefix("python"),
    )


def _venv_folder() -> Path:
    """Return the folder from the environment variable, the source tree or the working folder."""
    named = os.environ.get(VENV_VARIABLE)
    if named:
        return Path(named).absolute()
    tree = Path(__file__).resolve().parents[3]
    root = tree if (tree / "pyproject.toml").is_file() else Path.cwd()
    return root / ".venv-triton"
