"""The rules that images/README.md states hold for every Dockerfile."""

import importlib.util
import re
from pathlib import Path

import pytest

from admlops.export.operator_table import load_table

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES = REPOSITORY / "images"
FILES = sorted(IMAGES.glob("*.Dockerfile"))
LAST_STAGE = {"FROM", "ARG", "LABEL", "COPY", "ENV", "WORKDIR", "USER", "CMD"}

spec = importlib.util.spec_from_file_location("write_locks", IMAGES / "write_locks.py")
assert spec is not None
assert spec.loader is not None
write_locks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(write_locks)


def instructions(text: str) -> list[tuple[str, str]]:
    """Return keyword and arguments of every instruction."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in whole.splitlines() if line]


def violations(text: str) -> list[str]:
    """Return every rule that a Dockerfile breaks."""
    found = []
    lines = instructions(text)
    starts = [index for index, (word, _) in enumerate(lines) if word == "FROM"]
    last = lines[starts[-1] :]
    if len(starts) < 2 or last[0][1] != "${BASE_IMAGE}":
        found.append("the last of several stages starts from BASE_IMAGE")
    found += [f"{word} in the last stage" for word, _ in last if word not in LAST_STAGE]
    found += [
        f"COPY {rest} brings more than an environment"
        for word, rest in last
        if word == "COPY" and not re.fullmatch(r"--from=build (/opt/\w+) \1", rest)
    ]
    if ("USER", "65532:65532") not in last:
        found.append("numeric user")
    labels = " ".join(rest for word, rest in last if word == "LABEL")
    found += [
        f"label {name}"
        for name in ("title", "version", "revision", "licenses")
        if f"org.opencontainers.image.{name}=" not in labels
    ]
    for word, rest in lines:
        found += line_violations(word, rest)
    return found


def line_violations(word: str, rest: str) -> list[str]:
    found = []
    if word == "ADD":
        found.append("DL3020 ADD")
    if word == "WORKDIR" and not rest.startswith("/"):
        found.append("DL3000 relative WORKDIR")
    if word == "CMD" and not rest.startswith("["):
        found.append("DL3025 shell CMD")
    if word == "RUN" and re.search(r"\b(sudo|cd)\b", rest):
        found.append("DL3003/DL3004 cd or sudo")
    default = re.fullmatch(r"\w+_IMAGE=(\S+)", rest) if word == "ARG" else None
    if default and not re.search(r":[\w.-]+$", default[1].replace(":latest", "")):
        found.append("DL3006/DL3007 untagged default image")
    if word == "FROM" and not rest.startswith("${"):
        found.append("DL3006 an image that no argument names")
    for command in rest.split("&&") if word == "RUN" else []:
        if re.search(r"\bpip .*\b(install|wheel)\b", command):
            flags = ("--no-cache-dir", "--no-deps")
            found += [f"DL3042/DL3013 pip without {flag}" for flag in flags if flag not in command]
            if not re.search(r"-r \S+\.txt|--no-index|--wheel-dir /project \.", command):
                found.append("DL3013 packages that no lock file names")
    return found


def test_there_is_one_file_per_role() -> None:
    roles = {path.name.removesuffix(".Dockerfile") for path in FILES}
    assert roles == {"data", "train", "train-mmdet3d", "export", "triton-loader"}
    readme = (IMAGES / "README.md").read_text()
    assert all(f"| `{path.name}` |" in readme for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_dockerfile_keeps_the_rules(path: Path) -> None:
    assert violations(path.read_text()) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_copied_exists(path: Path) -> None:
    for word, rest in instructions(path.read_text()):
        if word == "COPY" and not rest.startswith("--from"):
            for name in rest.split()[:-1]:
                assert (REPOSITORY / name).exists(), name


@pytest.mark.parametrize(
    ("old", "new", "broken"),
    [
        ("USER 65532:65532", "USER admlops", "numeric user"),
        ("USER 65532:65532", "USER 65532:65532\nRUN apt-get update", "RUN in the last stage"),
        ("COPY src src", "ADD src src", "DL3020 ADD"),
        ("-r images/locks/data.txt", "kfp", "DL3013 packages that no lock file names"),
        ("3.11.14-slim-bookworm", "latest", "DL3006/DL3007 untagged default image"),
        (":3.11.14-slim-bookworm", "", "DL3006/DL3007 untagged default image"),
        ("WORKDIR /build", "WORKDIR build", "DL3000 relative WORKDIR"),
        ("org.opencontainers.image.licenses", "licence", "label licenses"),
        ('CMD ["admlops", "--help"]', "CMD admlops", "DL3025 shell CMD"),
        ("install --no-cache-dir --no-deps -r", "install --no-deps -r", "--no-cache-dir"),
        ("COPY --from=build /opt/venv /opt/venv", "COPY . /src", "brings more than an"),
    ],
)
def test_a_broken_rule_is_found(old: str, new: str, broken: str) -> None:
    text = (IMAGES / "data.Dockerfile").read_text()
    assert old in text
    assert any(broken in found for found in violations(text.replace(old, new)))


@pytest.mark.parametrize("role", write_locks.EXTRAS_BY_ROLE)
def test_locks_are_current(role: str) -> None:
    text = (IMAGES / "locks" / f"{role}.txt").read_text()
    assert text == write_locks.role_lock(role), "run: make locks"


@pytest.mark.parametrize("path", sorted((IMAGES / "locks").glob("*.txt")), ids=lambda p: p.name)
def test_every_locked_line_is_pinned(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("#", "--"))]
    assert lines
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)


def test_tensorrt_is_the_serving_releases() -> None:
    text = (REPOSITORY / "manifests/components/versions/versions.env").read_text()
    versions = dict(re.findall(r"^(\w+)=(\S+)$", text, re.MULTILINE))
    lock = (IMAGES / "locks" / "tensorrt.txt").read_text()
    assert f"tensorrt-cu13-libs=={versions['TENSORRT_VERSION']}\n" in lock
    minor = ".".join(versions["TENSORRT_VERSION"].split(".")[:2])
    assert load_table("tensorrt").version == minor, "write a table for the TensorRT that serves"


def test_stages_have_the_versions_that_the_embedded_server_uses() -> None:
    pinned = set((REPOSITORY / "requirements" / "triton.txt").read_text().splitlines())
    lines = (IMAGES / "locks" / "stages.txt").read_text().splitlines()
    assert {line for line in lines if not line.startswith("#")} <= pinned


def test_the_build_context_holds_no_more_than_is_copied() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert next(line for line in lines if not line.startswith("#")) == "*"
    assert not {".git", ".venv", "tests", "docs"} & {line.removeprefix("!") for line in lines}
