"""SECURITY.md says what the code does not do; this looks for it in every file that ships."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "SECURITY.md").read_text()
FOLDERS = ("src", "components", "pipelines", "images", "bench", "examples")

EXCEPTIONS = {
    ("src/admlops/training/model_folder.py", "import pickle"): (
        "catches the error that torch.load raises with weights_only; nothing is unpickled"
    ),
    ("src/admlops/export/operator_table.py", "yaml.load"): (
        "CSafeLoader or SafeLoader, on our own files; yaml.safe_load never takes the fast one"
    ),
}


def keyword(call: ast.Call, name: str) -> object:
    """Return the constant given for an argument; a string that says so where it is none."""
    for item in call.keywords:
        if item.arg == name:
            return item.value.value if isinstance(item.value, ast.Constant) else "not constant"
    return "absent"


def ends(call: ast.Call, *names: str) -> bool:
    """Return whether a call is of one of these names, whatever its module is called here."""
    full = ast.unparse(call.func)
    return any(full == name or full.endswith(f".{name}") for name in names)


FORBIDDEN_CALLS: dict[str, Callable[[ast.Call], bool]] = {
    "eval or exec": lambda call: ast.unparse(call.func) in ("eval", "exec", "builtins.exec"),
    "unpickling": lambda call: ends(call, "read_pickle", "Unpickler", "joblib.load"),
    "torch.load": lambda call: (
        ends(call, "torch.load") and keyword(call, "weights_only") is not True
    ),
    "checkpoint": lambda call: (
        keyword(call, "ckpt_path") != "absent" and keyword(call, "weights_only") is not True
    ),
    "load_from_checkpoint": lambda call: (
        ends(call, "load_from_checkpoint") and keyword(call, "weights_only") is not True
    ),
    "numpy with pickle": lambda call: (
        ends(call, "np.load", "numpy.load", "read_array")
        and keyword(call, "allow_pickle") not in (False, "absent")
    ),
    "yaml.load": lambda call: ends(
        call, "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load"
    ),
    "unpacking": lambda call: (
        ends(call, "extractall", "extract", "unpack_archive") and keyword(call, "filter") != "data"
    ),
    "shell": lambda call: (
        keyword(call, "shell") not in (False, "absent")
        or ends(call, "os.system", "os.popen", "getoutput", "getstatusoutput")
    ),
    "mktemp": lambda call: ends(call, "mktemp"),
    "TLS": lambda call: (
        keyword(call, "verify") is False
        or keyword(call, "verify_ssl") is False
        or keyword(call, "cert_check") is False
        or ends(call, "_create_unverified_context")
    ),
    "XML": lambda call: ends(
        call, "ElementTree.parse", "ET.parse", "fromstring", "minidom.parse", "minidom.parseString"
    ),
    "foreign code": lambda call: (
        keyword(call, "trust_remote_code") is True or ends(call, "hub.load")
    ),
}
FORBIDDEN_MODULES = ("pickle", "cPickle", "dill", "marshal", "shelve", "cloudpickle", "joblib")


def findings(source: str) -> Iterator[str]:
    """Yield the name of every forbidden thing in a Python source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield from (name for name, is_bad in FORBIDDEN_CALLS.items() if is_bad(node))
        elif isinstance(node, ast.Import):
            yield from (
                f"import {alias.name}"
                for alias in node.names
                if alias.name.partition(".")[0] in FORBIDDEN_MODULES
            )
        elif isinstance(node, ast.ImportFrom) and node.module in FORBIDDEN_MODULES:
            yield f"import {node.module}"
        elif isinstance(node, ast.Assign) and "MAX_IMAGE_PIXELS" in ast.unparse(node.targets[0]):
            yield "image bombs"


def shipped() -> Iterator[tuple[str, str]]:
    for folder in FOLDERS:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            yield path.relative_to(REPOSITORY).as_posix(), path.read_text()


def test_nothing_forbidden_but_the_stated_exceptions() -> None:
    found = {(name, what) for name, source in shipped() for what in findings(source)}
    assert found == set(EXCEPTIONS)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("eval(text)", "eval or exec"),
        ("exec(text)", "eval or exec"),
        ("import pickle", "import pickle"),
        ("from marshal import loads", "import marshal"),
        ("pandas.read_pickle(p)", "unpickling"),
        ("torch.load(f)", "torch.load"),
        ("torch.load(f, weights_only=False)", "torch.load"),
        ("trainer.fit(m, ckpt_path=p)", "checkpoint"),
        ("Module.load_from_checkpoint(p)", "load_from_checkpoint"),
        ("np.load(f, allow_pickle=True)", "numpy with pickle"),
        ("np.load(f, allow_pickle=flag)", "numpy with pickle"),
        ("yaml.load(t, Loader=L)", "yaml.load"),
        ("archive.extractall(folder)", "unpacking"),
        ("archive.extractall(folder, filter='tar')", "unpacking"),
        ("shutil.unpack_archive(p, folder)", "unpacking"),
        ("subprocess.run(text, shell=True)", "shell"),
        ("os.system(text)", "shell"),
        ("tempfile.mktemp()", "mktemp"),
        ("requests.get(u, verify=False)", "TLS"),
        ("ElementTree.parse(p)", "XML"),
        ("AutoModel.from_pretrained(n, trust_remote_code=True)", "foreign code"),
        ("Image.MAX_IMAGE_PIXELS = None", "image bombs"),
    ],
)
def test_each_forbidden_thing_is_found(source: str, what: str) -> None:
    assert what in list(findings(source))


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(f, weights_only=True)",
        "model.eval()",
        "np.load(f)",
        "np.load(f, allow_pickle=False)",
        "yaml.safe_load(t)",
        "archive.extractall(folder, filter='data')",
        "subprocess.run([program], shell=False)",
        "re.compile(text)",
    ],
)
def test_what_is_safe_is_not_found(source: str) -> None:
    assert list(findings(source)) == []


def test_every_file_and_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`((?:src|tests|images|manifests|docs|components)/[\w./-]+)`", PAGE)
    named += [
        f"src/admlops/{path}" for path in re.findall(r"`((?!tests|src)[a-z_]+/[\w./]+\.py)`", PAGE)
    ]
    assert len(named) > 20
    assert [name for name in named if not (REPOSITORY / name).exists()] == []


def test_every_exception_is_on_the_page() -> None:
    for name, _ in EXCEPTIONS:
        assert name.removeprefix("src/admlops/") in PAGE, name
