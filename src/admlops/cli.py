"""The command line: one subcommand per step, and run, compile, submit, serve, rollback."""

import dataclasses
import inspect
import signal
import sys
import types
import typing
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml
from rich.console import Console

from admlops.cli_data import COMMANDS
from admlops.config import Config
from admlops.errors import AdmlopsError, ConfigError
from admlops.steps.step import STEPS, Step, load_step, run_step

_SCALARS = (bool, int, float, str)
_GROUPS = {"collect": "admlops.cli_collect"}
"""Steps that have subcommands beside their own options, and the module that adds them."""


def main() -> None:
    """Run the command line; errors that a user can mend are one line, without a traceback."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    app = make_app(word=next((word for word in arguments if not word.startswith("-")), ""))
    try:
        app(args=[word for word in arguments if word != "--debug"])
    except AdmlopsError as error:
        if debug:
            raise
        Console(stderr=True).print(f"[bold red]{type(error).__name__}[/]", end=" ")
        Console(stderr=True).print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(1) from error


def make_app(word: str) -> typer.Typer:
    """Return the application; only the step called `word` is imported, so that help is quick."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="MLOps for autonomous-driving perception. Add --debug for a traceback.",
    )
    for name, step in STEPS.items():
        command = _step_command(load_step(name)) if name == word else _placeholder
        if name == word and name in _GROUPS:
            app.add_typer(_group(name, command), rich_help_panel="Steps", help=step.summary)
        else:
            app.command(name, help=step.summary, rich_help_panel="Steps")(command)
    others: dict[str, Callable[..., None]] = {
        "run": run,
        "compile": compile_pipelines,
        "submit": submit,
        "serve": serve,
        "rollback": rollback,
        "docs": docs,
    }
    for name, other in others.items():
        app.command(name, rich_help_panel="Pipelines and serving")(other)
    for name, other in COMMANDS.items():
        app.command(name, rich_help_panel="Data")(other)
    return app


def _group(name: str, command: Callable[..., None]) -> typer.Typer:
    """Return a step's command together with its subcommands."""

    def callback(ctx: typer.Context, **values: Any) -> None:  # noqa: ANN401 - as the command's
        if ctx.invoked_subcommand is None:
            command(**values)

    own = inspect.Parameter(
        "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    parameters = [own, *inspect.signature(command).parameters.values()]
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    callback.__annotations__ = {item.name: item.annotation for item in parameters}
    group = typer.Typer(name=name, invoke_without_command=True)
    group.callback()(callback)
    import_module(_GROUPS[name]).add_commands(group)
    return group


def _placeholder() -> None:
    """Stand for a step that this call does not run."""


def _step_command(step: Step) -> Callable[..., None]:
    inputs = [field.name for field in dataclasses.fields(step.inputs_type)]
    outputs = [field.name for field in dataclasses.fields(step.outputs_type)]
    clash = set(inputs) & set(outputs)
    output_flags = {(f"{name}_out" if name in clash else name): name for name in outputs}
    settings = _scalar_fields(step.config_type, taken={*inputs, *output_flags, "config", "set"})

    def command(**values: Any) -> None:  # noqa: ANN401 - typer fills these from the signature
        config = _read_config(values.pop("config"), values.pop("set") or [])
        for name in settings:
            if values[name] is not None:
                config[name] = _parse_value(step.config_type, name, values[name])
        scores = run_step(
            step.word,
            {name: values[name] for name in inputs},
            {name: values[flag] for flag, name in output_flags.items()},
            config,
        )
        _print_scores(scores)

    parameters = [_path_option(name, step.inputs_type, name, "input") for name in inputs]
    parameters += [
        _path_option(flag, step.outputs_type, name, "output") for flag, name in output_flags.items()
    ]
    parameters += [_setting_option(name, step.config_type) for name in settings]
    parameters.append(_option("config", "YAML file with the step's config."))
    parameters.append(_option("set", "field.path=value, for nested fields; may be repeated.", True))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {item.name: item.annotation for item in parameters}
    return command


def _option(name: str, text: str, repeated: bool = False) -> inspect.Parameter:
    flag = "--" + name.replace("_", "-")
    option = typer.Option(flag, help=text)
    annotation = Annotated[list[str] | None, option] if repeated else Annotated[str | None, option]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _path_option(flag: str, kind: type, name: str, role: str) -> inspect.Parameter:
    field = next(field for field in dataclasses.fields(kind) if field.name == name)
    needed = "required" if field.default is dataclasses.MISSING else "optional"
    several = field.type == tuple[Path, ...]
    text = f"Path of the {role} {name!r} ({needed}{'; may be repeated' if several else ''})."
    return _option(flag, text, repeated=several)


def _setting_option(name: str, kind: type[Config]) -> inspect.Parameter:
    field = kind.model_fields[name]
    default = "required" if field.is_required() else f"default {field.default!r}"
    return _option(name, f"{field.description or ''} ({default})")


def _scalar_fields(kind: type[Config], taken: set[str]) -> list[str]:
    return [
        name
        for name, field in kind.model_fields.items()
        if name not in taken and _is_scalar(field.annotation)
    ]


def _is_scalar(annotation: Any) -> bool:  # noqa: ANN401 - any type expression
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        return all(_is_scalar(kind) for kind in kinds)
    if origin is Literal:
        return True
    if origin is tuple:
        return all(_is_scalar(kind) for kind in typing.get_args(annotation) if kind is not ...)
    return isinstance(annotation, type) and issubclass(annotation, (*_SCALARS, Path))


def _parse_value(kind: type[Config], name: str, text: str) -> Any:  # noqa: ANN401
    if kind.model_fields[name].annotation in (str, Path):
        return text
    if typing.get_origin(kind.model_fields[name].annotation) is tuple and "[" not in text:
        return [_read_yaml(part, name) for part in text.split(",")]
    return _read_yaml(text, name)


def _read_config(path: str | None, assignments: list[str]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if path:
        try:
            config = _read_yaml(Path(path).read_text(), f"--config {path}") or {}
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--config {path}: cannot be read ({error})") from error
        if not isinstance(config, dict):
            raise ConfigError(f"--config {path}: expected a mapping of field names to values")
    return assign(config, assignments)


def assign(config: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """Return `config` with ``a.b=value`` assignments applied; values are YAML.

    Raises:
        ConfigError: an assignment has no "=" or leads through a value that is no mapping.
    """
    for text in assignments:
        path, sign, value = text.partition("=")
        if not sign or not path:
            raise ConfigError(f"--set {text!r}: expected field.path=value")
        *parents, last = path.split(".")
        inner = config
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {text!r}: {parent!r} holds a value, not fields")
        inner[last] = _read_yaml(value, f"--set {text!r}")
    return config


def _read_yaml(text: str, where: str) -> Any:  # noqa: ANN401 - whatever the text holds
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML ({error})") from error


def _print_scores(scores: dict[str, float]) -> None:
    console = Console()
    for name, value in scores.items():
        console.print(f"{name}: {value:.6g}", highlight=False)


Recipe = Annotated[
    str, typer.Option(help="Named configuration; the pipeline's usual one when empty.")
]
Home = Annotated[Path, typer.Option(help="Folder for lake, releases, cache and run artifacts.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="step.field=value; may be repeated.")
]


def run(
    pipeline: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    recipe: Recipe = "",
    home: Home = Path(".admlops"),
    overrides: Overrides = None,
    source: Annotated[
        str, typer.Option(help="Folder of raw data, for recipes that need one.")
    ] = "",
    cache: Annotated[bool, typer.Option(help="Reuse outputs of unchanged steps.")] = True,
) -> None:
    """Run a pipeline on this machine with KFP's local runner."""
    from admlops.kubeflow.local import run_locally
    from admlops.recipes import load_recipe, usual_recipe

    name = recipe or usual_recipe(pipeline)
    chosen = load_recipe(name, store=str(home.resolve()), source=source)
    run_locally(pipeline, chosen.override(assign({}, overrides or [])), home.resolve(), cache=cache)


Profile = Annotated[Path | None, typer.Option(help="Cluster profile (YAML).")]
Store = Annotated[
    str, typer.Option(help="Where lake and releases live; the profile's store when empty.")
]


def compile_pipelines(  # noqa: PLR0913 - one argument per flag
    pipeline: Annotated[str, typer.Argument(help="Name of the pipeline; all when empty.")] = "",
    recipe: Recipe = "",
    store: Store = "",
    source: Annotated[str, typer.Option(help="Folder of raw data, where a recipe wants one.")] = "",
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for the YAML; pipelines/compiled, or one of the profile."),
    ] = None,
    profile: Profile = None,
    manifest: Annotated[
        bool, typer.Option(help="Write Pipeline and PipelineVersion objects for kubectl apply.")
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Compile pipelines to KFP YAML; the same input gives the same bytes."""
    from admlops.kubeflow.compile import compile_pipeline, pipeline_names
    from admlops.kubeflow.profile import ClusterProfile
    from admlops.recipes import load_recipe, usual_recipe

    cluster = ClusterProfile.load(profile) if profile else None
    where = store or (cluster.store if cluster else "/mnt/admlops")
    checked_in = not cluster and not manifest
    usual = Path("pipelines/compiled") if checked_in else Path(".admlops/compiled")
    folder = output or (usual / cluster.name if cluster else usual)
    for name in [pipeline] if pipeline else pipeline_names():
        chosen = load_recipe(recipe or usual_recipe(name), where, source)
        chosen = chosen.override(assign({}, overrides or []))
        print(compile_pipeline(name, chosen, folder, cluster, manifest))


def submit(  # noqa: PLR0913 - one argument per flag
    pipeline: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    host: Annotated[
        str, typer.Option(envvar="KF_PIPELINES_ENDPOINT", help="KFP API; in a cluster not needed.")
    ] = "",
    profile: Profile = None,
    recipe: Recipe = "",
    store: Store = "",
    source: Annotated[str, typer.Option(help="Folder of raw data, where a recipe wants one.")] = "",
    overrides: Overrides = None,
    experiment: Annotated[str, typer.Option(help="KFP experiment.")] = "admlops",
    create_experiment: Annotated[bool, typer.Option(help="Make it if absent.")] = False,
    namespace: Annotated[str, typer.Option(help="Yours; the profile's when empty.")] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="Bearer token; KF_PIPELINES_TOKEN comes first.")
    ] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Certificates to trust.")] = None,
    cron: Annotated[str, typer.Option(help="Make a recurring run, e.g. '0 3 * * 1-5'.")] = "",
    wait: Annotated[bool, typer.Option(help="Follow the run to its end.")] = True,
    cache: Annotated[bool, typer.Option(help="Reuse outputs of unchanged steps.")] = True,
) -> None:
    """Submit a pipeline to a Kubeflow Pipelines server and follow the run."""
    from admlops.kubeflow.connection import Access
    from admlops.kubeflow.profile import ClusterProfile
    from admlops.kubeflow.submit import Submission, submit_run
    from admlops.recipes import load_recipe, usual_recipe

    cluster = ClusterProfile.load(profile) if profile else None
    where = store or (cluster.store if cluster else "/mnt/admlops")
    chosen = load_recipe(recipe or usual_recipe(pipeline), store=where, source=source)
    submission = Submission(experiment, create_experiment, cluster, cron, wait, cache)
    access = Access(host, namespace or (cluster.namespace if cluster else ""), token_file, ca_file)
    submit_run(pipeline, chosen.override(assign({}, overrides or [])), access, submission)


Releases = Annotated[str, typer.Option(help="Folder of releases, or s3://bucket/folder.")]


def serve(
    releases: Releases = ".admlops/serving",
    release: Annotated[str, typer.Option(help="Release id; the current one when empty.")] = "",
    ports: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            help="HTTP, gRPC, metrics; 0 takes a free one. 8000 8001 8002, with --cloud free ones."
        ),
    ] = None,
    cloud: Annotated[
        Path | None,
        typer.Option(help="Send this cloud, print boxes from a score of 0.3, and stop."),
    ] = None,
) -> None:
    """Start the embedded Triton server on a release and serve until interrupted."""
    from admlops.serving.server import running_release, serve_release

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as by Ctrl-C, nothing is left
    if cloud is None:
        serve_release(releases, release or None, ports or (8000, 8001, 8002))
        return
    with running_release(releases, release or None, ports or (0, 0, 0)) as server:
        config = {"url": server.grpc_url, "score_threshold": 0.3}
        run_step("predict", {"cloud": str(cloud)}, {}, config)


def rollback(
    releases: Releases = ".admlops/serving",
    release: Annotated[str, typer.Option(help="Release id; the previous one when empty.")] = "",
) -> None:
    """Make an earlier release the current one again."""
    from admlops.serving.publication import rollback as roll_back

    print(f"current release: {roll_back(releases, release or None).release_id}")


def docs(
    output: Annotated[Path, typer.Option(help="Folder for the pages.")] = Path("docs/reference"),
) -> None:
    """Write the reference pages of steps and rules from the code."""
    from admlops.reference import write_reference

    for path in write_reference(output):
        print(path)
