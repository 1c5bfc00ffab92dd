"""Submission against a real HTTP server on this machine."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from kfp_server import Behaviour, serve_kfp

from admlops.errors import ConfigError, ServiceError
from admlops.kubeflow.compiled import CompiledPipeline
from admlops.kubeflow.connection import Access, connect
from admlops.kubeflow.placement import place
from admlops.kubeflow.profile import ClusterProfile
from admlops.kubeflow.submit import Submission, follow_run, parse_cron, submit_package

QUICK = Submission(poll_s=0.01)


@pytest.fixture
def package(tmp_path: Path, small_text: str) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(small_text)
    return path


@pytest.fixture(autouse=True)
def no_outer_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KF_PIPELINES_TOKEN", "KF_PIPELINES_ENDPOINT", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def server() -> Iterator[Behaviour]:
    with serve_kfp(Behaviour()) as behaviour:
        yield behaviour


def submit(package: Path, server: Behaviour, submission: Submission = QUICK) -> str:
    return submit_package(package, "small-demo", Access(host=server.address), submission)


def test_run_is_created_followed_and_linked(
    package: Path, server: Behaviour, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(package, server) == "run-1"
    (run,) = server.runs
    assert run["display_name"] == "small-demo"
    assert run["experiment_id"] == "experiment-admlops"
    assert run["pipeline_spec"]["pipelineInfo"]["name"] == "small"
    assert server.asked.count("GET /runs/run-1") == 3
    printed = capsys.readouterr()
    assert f"{server.address}/#/runs/details/run-1" in printed.err
    assert printed.out == ""


def test_profile_gives_service_account_root_and_platform(
    package: Path, server: Behaviour, gpu_profile: ClusterProfile
) -> None:
    profile = gpu_profile.replace(pipeline_root="gs://somewhere/runs")
    pipeline = place(CompiledPipeline.parse(package.read_text()), profile, "1")
    package.write_text(pipeline.render())
    submit(package, server, Submission(profile=profile, poll_s=0.01, cache=False))
    (run,) = server.runs
    assert run["service_account"] == "admlops-pipeline"
    assert run["runtime_config"]["pipeline_root"] == "gs://somewhere/runs"
    platform = run["pipeline_spec"]["platform_spec"]["platforms"]["kubernetes"]
    assert "exec-train" in platform["deploymentSpec"]["executors"]
    tasks = run["pipeline_spec"]["pipeline_spec"]["root"]["dag"]["tasks"]
    assert not any(task["cachingOptions"].get("enableCache") for task in tasks.values())


def test_no_wait_does_not_look_at_the_run(package: Path, server: Behaviour) -> None:
    assert submit(package, server, Submission(wait=False)) == "run-1"
    assert "GET /runs/run-1" not in server.asked


def test_cancelled_run_ends_the_wait(package: Path, server: Behaviour) -> None:
    server.states = ["RUNNING", "CANCELING", "CANCELED"]
    with pytest.raises(ServiceError, match="run run-1 ended CANCELED; see http"):
        submit(package, server)


def test_run_that_another_terminates_ends_the_wait(server: Behaviour) -> None:
    server.states = ["RUNNING"]
    with connect(Access(host=server.address)) as connection:
        connection.call("terminate run", lambda client: client.terminate_run("run-1"))
        assert follow_run(connection, "run-1", {"train"}, 0.01).state == "CANCELED"


def test_failed_run_names_task_and_reason(package: Path, server: Behaviour) -> None:
    server.states = ["FAILED"]
    server.tasks = [
        {"display_name": "collect", "state": "SUCCEEDED"},
        {"display_name": "train", "state": "FAILED", "error": {"code": 9, "message": "no memory"}},
    ]
    with pytest.raises(ServiceError, match="ended FAILED; task 'train' failed: no memory; see"):
        submit(package, server)
    server.tasks, server.error = [], "the workflow was deleted"
    with pytest.raises(ServiceError, match="ended FAILED; the workflow was deleted; see"):
        submit(package, server)


def test_token_comes_from_variable_or_file(
    package: Path, server: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token = "right"  # noqa: S105
    file = tmp_path / "token"
    file.write_text("right")
    access = Access(host=server.address, token_file=file)
    assert submit_package(package, "small", access, QUICK) == "run-1"
    monkeypatch.setenv("KF_PIPELINES_TOKEN", "right")
    assert submit(package, server) == "run-1"


def test_missing_or_wrong_token_is_explained_at_once(
    package: Path, server: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token = "right"  # noqa: S105
    with pytest.raises(ServiceError, match="connect: refused, 401 .*no valid token.*sign in"):
        submit(package, server)
    monkeypatch.setenv("KF_PIPELINES_TOKEN", "wrong")
    with pytest.raises(ServiceError, match="401"):
        submit(package, server)
    assert server.asked == ["GET /healthz"] * 2


@pytest.mark.parametrize(
    ("call", "status", "words", "message"),
    [
        ("GET /healthz", 403, "not in the group", "connect: refused, 403 .*not in the group.*ask"),
        ("GET /healthz", 404, "", "connect: refused, 404 Not Found; check the address"),
        ("GET /experiments", 403, "x", "look up experiment 'admlops': refused, 403"),
        ("POST /runs", 403, "pods: exceeded quota: gpu", "create run: .*exceeded quota.*larger"),
        ("POST /runs", 429, "slow down", "create run: refused, 429 .*slow down.*quota"),
        ("POST /runs", 500, "boom", r"create run: refused, 500 .*\(boom\); see the server's log"),
        ("GET /runs/run-1", 404, "no run", "get run: refused, 404"),
    ],
)
def test_refusals_name_server_call_and_remedy(
    package: Path, server: Behaviour, call: str, status: int, words: str, message: str
) -> None:
    server.failures[call] = [(status, words)]
    with pytest.raises(ServiceError, match=message) as raised:
        submit(package, server)
    assert str(raised.value).startswith(f"KFP at {server.address}: ")


def test_a_server_that_is_away_for_some_polls_does_not_end_the_wait(
    package: Path, server: Behaviour
) -> None:
    server.failures["GET /runs/run-1"] = [(503, "restarting")] * 4
    assert submit(package, server) == "run-1"
    server.failures["GET /runs/run-1"] = [(503, "restarting")] * 5
    with pytest.raises(ServiceError, match="get run: refused, 503"):
        submit(package, server)


def test_unknown_experiment_lists_the_known_and_is_made_on_request(
    package: Path, server: Behaviour
) -> None:
    server.experiments = ["first", "second"]
    with pytest.raises(
        ServiceError, match="no experiment is called 'admlops'; there are: first, s"
    ):
        submit(package, server)
    assert server.runs == []
    submit(package, server, Submission(create_experiment=True, poll_s=0.01))
    assert server.experiments[-1] == "admlops"
    assert server.runs[0]["experiment_id"] == "experiment-admlops"


def test_a_server_for_many_users_wants_a_namespace(package: Path, server: Behaviour) -> None:
    server.multi_user = True
    with pytest.raises(ConfigError, match="--namespace"):
        submit(package, server)
    access = Access(host=server.address, namespace="perception")
    assert submit_package(package, "small", access, QUICK) == "run-1"
    assert any("namespace=perception" in what for what in server.asked)


def test_a_login_page_is_no_kfp(package: Path, server: Behaviour) -> None:
    server.web_page = True
    with pytest.raises(ServiceError, match="the answer is not KFP's; a login page"):
        submit(package, server)


def test_refused_connection(package: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ServiceError, match="connect: cannot be reached .*check the address"):
        submit_package(package, "small", Access(host=f"http://127.0.0.1:{port}"), QUICK)


def test_tls_failures(package: Path, server: Behaviour, tmp_path: Path) -> None:
    plain = server.address.replace("http://", "https://")
    with pytest.raises(ServiceError, match="TLS failed"):
        submit_package(package, "small", Access(host=plain), QUICK)
    certificate = tmp_path / "certificate.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    request += ["-keyout", tmp_path / "key.pem", "-out", certificate, "-subj", "/CN=localhost"]
    request += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(request, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, tmp_path / "key.pem")
    with HTTPServer(("localhost", 0), BaseHTTPRequestHandler) as secure:
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        thread = threading.Thread(target=secure.serve_forever, daemon=True)
        thread.start()
        host = f"https://localhost:{secure.server_port}"
        with pytest.raises(ServiceError, match="TLS failed .*--ca-file"):
            submit_package(package, "small", Access(host=host), QUICK)
        with pytest.raises(ServiceError, match="501"):
            submit_package(package, "small", Access(host=host, ca_file=certificate), QUICK)
        secure.shutdown()
        thread.join()


def test_recurring_run(
    package: Path, server: Behaviour, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(package, server, Submission(cron="0 3 * * 1-5")) == "recurring-1"
    (recurring,) = server.recurring_runs
    assert recurring["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * 1-5"
    assert (recurring["max_concurrency"], recurring["no_catchup"]) == (1, True)
    assert server.runs == []
    assert "recurring-1" in capsys.readouterr().err


def test_cron_has_five_or_six_fields() -> None:
    assert parse_cron("30 0 3 * * ?") == "30 0 3 * * ?"
    for wrong in ("daily", "0 3 * *", "0 3 * * 1;rm", "1 2 3 4 5 6 7"):
        with pytest.raises(ConfigError, match="--cron"):
            parse_cron(wrong)


def test_address() -> None:
    assert Access(host="kfp.example.com/").address() == "https://kfp.example.com"
    with pytest.raises(ConfigError, match="KF_PIPELINES_ENDPOINT"):
        Access().address()


def test_inside_a_cluster_the_service_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert Access().address() == "http://ml-pipeline.kubeflow.svc.cluster.local:8888"


def test_absent_token_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing: no such file"):
        Access(host="http://x", token_file=tmp_path / "nothing").client_arguments()
