"""Builds the image `data` and runs a component's own command in it as a cluster would.

``make images-check`` runs this. It needs root, buildah, runc, and a base image: BASE_IMAGE, or one
made here with debootstrap. It says why it is skipped where one is missing. No registry is used.

The command is taken from compiled YAML and runs as user 65532, with no capabilities, a read-only
root file system and no network; only /tmp and the folder of outputs can be written.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
IMAGE = "localhost/admlops-data-python:check"
BASE = "localhost/admlops-base:bookworm"
USER = 65532
MAX_MIB = 1500
BUILDAH = ("buildah", "--storage-driver", "vfs")
FORBIDDEN = ("gcc", "cc", "make", "g++", "ld", "git")
WORLD = {"train": {"num_scenes": 1}, "val": {"num_scenes": 1}, "pool": {"num_scenes": 1}}


def run(*command: str) -> str:
    """Run a command and return what it prints; its errors go to the screen."""
    print("+", " ".join(command)[:200], file=sys.stderr, flush=True)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def missing() -> str:
    """Return why the check cannot run here; empty where it can."""
    if os.geteuid() != 0:
        return "it needs root"
    wanted = ["buildah", "runc"] + ([] if os.environ.get("BASE_IMAGE") else ["debootstrap"])
    absent = [name for name in wanted if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def make_base() -> str:
    """Return the base image: the one named, one that was made before, or a new one."""
    if named := os.environ.get("BASE_IMAGE"):
        return named
    if BASE in run(*BUILDAH, "images", "--format", "{{.Name}}:{{.Tag}}").split():
        return BASE
    with tempfile.TemporaryDirectory() as folder:
        root = f"{folder}/root"
        packages = "--include=python3,python3-venv,ca-certificates"
        run("debootstrap", "--variant=minbase", packages, "bookworm", root)
        container = run(*BUILDAH, "from", "scratch")
        run(*BUILDAH, "add", container, root, "/")
        run(*BUILDAH, "commit", "--rm", container, BASE)
    return BASE


def build(base: str) -> None:
    """Build the image; IMAGES_BUILD_FLAGS are passed on (a proxy's certificate, a mirror)."""
    commit = run("git", "-C", str(REPOSITORY), "rev-parse", "HEAD")
    arguments = ["--build-arg", f"BASE_IMAGE={base}", "--build-arg", f"COMMIT={commit}"]
    flags = ["--isolation", "chroot", "--network", "host", "--pull-never"]
    flags += os.environ.get("IMAGES_BUILD_FLAGS", "").split()
    file = str(REPOSITORY / "images" / "data.Dockerfile")
    run(*BUILDAH, "bud", *flags, *arguments, "-f", file, "-t", IMAGE, str(REPOSITORY))


def check_image(root: Path) -> dict[str, Any]:
    """Assert user, labels, size and the absence of build tools; return the image's config."""
    config = json.loads(run(*BUILDAH, "inspect", "--type", "image", IMAGE))["OCIv1"]["config"]
    expect(config["User"] == f"{USER}:{USER}", f"user is {config['User']}")
    labels = config["Labels"]
    for name in ("version", "revision", "licenses"):
        expect(bool(labels.get(f"org.opencontainers.image.{name}")), f"label {name} is missing")
    places = [root / place for place in ("bin", "usr/bin", "usr/local/bin", "opt/venv/bin")]
    found = [name for name in (*FORBIDDEN, "pip") for place in places if (place / name).exists()]
    expect(not found, f"build tools are present: {found}")
    size_mib = int(run("du", "-sm", str(root)).split()[0])
    expect(size_mib <= MAX_MIB, f"size is {size_mib} MiB, budget {MAX_MIB} MiB")
    print(f"image: user {USER}, labels set, no build tools, {size_mib} of {MAX_MIB} MiB")
    return dict(config)


def expect(claim: bool, otherwise: str) -> None:
    """Exit with a message where a claim does not hold."""
    if not claim:
        raise SystemExit(f"images-check failed: {otherwise}")


def component_command(package: Path) -> list[str]:
    """Return the command of `collect` in compiled YAML, with its outputs under /outputs."""
    spec = next(yaml.safe_load_all(package.read_text()))
    container = spec["deploymentSpec"]["executors"]["exec-collect"]["container"]
    origin = {"kind": "simulation", "world": WORLD, "destination": "/outputs/world"}
    given = {
        "inputs": {"parameterValues": {"config": {"origin": origin}}},
        "outputs": {
            "artifacts": {
                "source": {
                    "artifacts": [
                        {
                            "name": "source",
                            "type": {"schemaTitle": "system.Artifact"},
                            "uri": "/outputs/source",
                            "metadata": {},
                        }
                    ]
                }
            },
            "outputFile": "/outputs/executor_output.json",
        },
    }
    words = [*container["command"], *container["args"]]
    return [json.dumps(given) if word == "{{$}}" else word for word in words]


def oci_config(root: Path, command: list[str], env: list[str], outputs: Path) -> dict[str, Any]:
    """Return the runtime's configuration: no rights, no network, nothing writable but outputs."""
    no_rights: dict[str, list[str]] = {
        kind: [] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")
    }
    process = {
        "user": {"uid": USER, "gid": USER},
        "args": command,
        "env": env,
        "cwd": "/tmp",  # noqa: S108 - the container's own
        "capabilities": no_rights,
        "noNewPrivileges": True,
    }
    flags = ["nosuid", "nodev"]
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": flags},  # noqa: S108
        {"destination": "/outputs", "type": "bind", "source": str(outputs), "options": ["rbind"]},
    ]
    kinds = ("pid", "network", "ipc", "uts", "mount")
    return {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": str(root), "readonly": True},
        "hostname": "check",
        "mounts": mounts,
        "linux": {"namespaces": [{"type": kind} for kind in kinds]},
    }


def run_component(root: Path, env: list[str], package: Path) -> None:
    """Run the component's command and assert what it left; assert that the walls hold."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder, "outputs")
        outputs.mkdir()
        os.chown(outputs, USER, USER)
        walls = (
            "import os, socket; assert os.getuid() == 65532; "
            "caps = open('/proc/self/status').read(); assert 'CapEff:\\t0000000000000000' in caps; "
            "assert not os.access('/opt/venv', os.W_OK); "
            "assert socket.socket().connect_ex(('1.1.1.1', 443)) != 0"
        )
        for name, command in (
            ("walls", ["python", "-c", walls]),
            ("component", component_command(package)),
        ):
            config = oci_config(root, command, env, outputs)
            Path(folder, "config.json").write_text(json.dumps(config))
            run("runc", "run", "--bundle", folder, f"admlops-check-{name}-{os.getpid()}")
        written = json.loads((outputs / "executor_output.json").read_text())
        metadata = written["artifacts"]["source"]["artifacts"][0]["metadata"]
        expect((outputs / "source").is_file(), "the artifact `source` was not written")
        clouds = list((outputs / "world").rglob("*.bin"))
        expect(bool(clouds), "no point cloud was written")
        print(f"component: collect wrote {len(clouds)} point clouds; metadata {metadata}")


def main() -> None:
    """Run the whole check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path, help="compiled YAML that holds `collect`")
    package = parser.parse_args().package
    if reason := missing():
        print(f"images-check skipped: {reason}")
        return
    build(make_base())
    container = run(*BUILDAH, "from", "--pull-never", IMAGE)
    try:
        root = Path(run(*BUILDAH, "mount", container))
        config = check_image(root)
        run_component(root, config["Env"], package)
    finally:
        run(*BUILDAH, "rm", container)


if __name__ == "__main__":
    main()
