"""`manifests/`: every overlay builds, fits the clusters' schemas, and keeps the rules.

Needs no cluster. Builds with kubectl or kustomize; `make manifests` gets one where there is none.
"""

import copy
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from kustomize import MANIFESTS, REPOSITORY, Object, build, builders
from manifest_rules import GPU, RELEASE, RULES, Objects, of_kind, template_of, tritons

from admlops.serving.release_reference import ReleaseReference
from admlops.serving.rollout import set_release

pytestmark = pytest.mark.skipif(
    not builders(), reason="neither kubectl nor kustomize is installed; `make manifests` gets one"
)

KUBERNETES = ("1.35", "1.36", "1.37")
"""The newest minors."""
OVERLAYS = sorted(path.name for path in (MANIFESTS / "overlays").iterdir())
CANARY = "production with a canary"
STABLE = ReleaseReference("0001-0123456789ab", "0" * 64)
ON_TRIAL = ReleaseReference("0002-0123456789ab", "1" * 64)
ALLOWED = {
    ("kind", "secrets-by-name"): "Secret/admlops-s3: holds a value",
}
"""What an overlay may do against a rule: kind's MinIO is born and dies with its secret."""
SCHEMAS = yaml.safe_load((Path(__file__).parent / "crd_schemas.yaml").read_text())


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Objects]:
    @cache
    def objects(overlay: str) -> Objects:
        if overlay != CANARY:
            return build(MANIFESTS / "overlays" / overlay)
        copied = tmp_path_factory.mktemp("canary") / "manifests"
        shutil.copytree(MANIFESTS, copied)
        file = copied / "overlays" / "production" / "kustomization.yaml"
        text = file.read_text()
        line = "components:\n"
        assert line in text
        text = text.replace(line, f"{line}  - ../../components/canary\n")
        target = "{kind: Deployment, labelSelector: admlops.io/track=canary}"
        patch = f"  - path: canary-release.yaml\n    target: {target}\n"
        file.write_text(text.replace("patches:\n", f"patches:\n{patch}"))
        set_release(file.parent, STABLE)
        set_release(file.parent, ON_TRIAL, "canary")
        return build(file.parent)

    return lambda overlay: copy.deepcopy(objects(overlay))


@pytest.mark.parametrize("overlay", [*OVERLAYS, CANARY])
def test_objects_fit_the_schemas_of_the_newest_minors(built, overlay: str) -> None:
    for item in built(overlay):
        key = f"{item['apiVersion']}/{item['kind']}"
        if key in SCHEMAS:
            check_custom(item)
            continue
        for minor in KUBERNETES:
            assert kubernetes_validate.validate(item, minor, strict=True) == minor


def check_custom(item: Object) -> None:
    assert item.keys() == {"apiVersion", "kind", "metadata", "spec"}
    jsonschema.validate(item["spec"], SCHEMAS[f"{item['apiVersion']}/{item['kind']}"])


def test_the_newest_minors_are_checked() -> None:
    assert kubernetes_validate.latest_version().startswith(f"{KUBERNETES[-1]}.")


def test_a_misspelt_field_is_refused(built) -> None:
    (deployment,) = tritons(built("gpu"))
    template_of(deployment)["spec"]["tolerationz"] = []
    for minor in KUBERNETES:
        with pytest.raises(kubernetes_validate.ValidationError, match="tolerationz"):
            kubernetes_validate.validate(deployment, minor, strict=True)


@pytest.mark.parametrize("key", SCHEMAS)
def test_a_misspelt_field_of_a_custom_resource_is_refused(built, key: str) -> None:
    kind = key.rpartition("/")[2]
    item = of_kind(built("production"), kind)[0]
    check_custom(item)
    item["spec"]["spelt-wrongly"] = 1
    with pytest.raises(jsonschema.ValidationError, match="spelt-wrongly"):
        check_custom(item)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("overlay", [*OVERLAYS, CANARY])
def test_rule_holds(built, overlay: str, rule: str) -> None:
    findings = set(RULES[rule].check(built(overlay)))
    assert findings == {ALLOWED[overlay, rule]} if (overlay, rule) in ALLOWED else not findings


def triton(objects: Objects) -> Object:
    return tritons(objects)[0]


def pod(objects: Objects) -> Object:
    return template_of(triton(objects))["spec"]


def server(objects: Objects) -> Object:
    return pod(objects)["containers"][0]


def only(objects: Objects, kind: str, name: str | None = None) -> Object:
    found = of_kind(objects, kind)
    return next(item for item in found if name in (None, item["metadata"]["name"]))


def drop(objects: Objects, kind: str) -> None:
    objects[:] = [item for item in objects if item["kind"] != kind]


def without(mapping: Object, field: str) -> None:
    del mapping[field]


def set_in(mapping: Object, **values: object) -> None:
    mapping.update(values)


DAMAGES: dict[str, list[Callable[[Objects], None]]] = {
    "images-pinned": [
        lambda o: set_in(server(o), image="nvcr.io/nvidia/tritonserver:latest"),
        lambda o: set_in(server(o), image="nvcr.io/nvidia/tritonserver"),
        lambda o: set_in(pod(o)["initContainers"][0], image="host:5000/loader"),
    ],
    "pods-restricted": [
        lambda o: without(pod(o)["securityContext"], "runAsNonRoot"),
        lambda o: set_in(pod(o)["securityContext"], runAsUser=0),
        lambda o: without(pod(o)["securityContext"], "seccompProfile"),
        lambda o: set_in(pod(o), hostNetwork=True),
        lambda o: pod(o)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    ],
    "containers-restricted": [
        lambda o: set_in(server(o)["securityContext"], allowPrivilegeEscalation=True),
        lambda o: set_in(server(o)["securityContext"], readOnlyRootFilesystem=False),
        lambda o: set_in(server(o)["securityContext"], capabilities={"add": ["SYS_ADMIN"]}),
        lambda o: without(pod(o)["initContainers"][0], "securityContext"),
        lambda o: set_in(server(o)["ports"][0], hostPort=8000),
    ],
    "resources-stated": [
        lambda o: without(server(o), "resources"),
        lambda o: without(server(o)["resources"]["limits"], "memory"),
        lambda o: set_in(server(o)["resources"]["requests"], cpu="1"),
    ],
    "no-token": [
        lambda o: without(pod(o), "automountServiceAccountToken"),
        lambda o: without(pod(o), "serviceAccountName"),
        lambda o: set_in(only(o, "ServiceAccount", "triton"), automountServiceAccountToken=True),
    ],
    "probes": [
        lambda o: without(server(o), "startupProbe"),
        lambda o: without(server(o), "readinessProbe"),
        lambda o: without(server(o), "livenessProbe"),
        lambda o: set_in(server(o)["livenessProbe"]["httpGet"], path="/v2/health/ready"),
    ],
    "gentle-end": [
        lambda o: without(server(o), "lifecycle"),
        lambda o: set_in(pod(o), terminationGracePeriodSeconds=30),
    ],
    "disruption": [
        lambda o: drop(o, "PodDisruptionBudget"),
        lambda o: set_in(only(o, "PodDisruptionBudget")["spec"], maxUnavailable="50%"),
    ],
    "spread": [
        lambda o: without(pod(o), "topologySpreadConstraints"),
        lambda o: pod(o)["topologySpreadConstraints"].pop(),
        lambda o: pod(o)["topologySpreadConstraints"].append(
            pod(o)["topologySpreadConstraints"][0]
        ),
    ],
    "rollout": [
        lambda o: without(triton(o)["spec"], "strategy"),
        lambda o: set_in(triton(o)["spec"]["strategy"]["rollingUpdate"], maxUnavailable=1),
        lambda o: set_in(triton(o)["spec"], revisionHistoryLimit=0),
    ],
    "one-release": [
        lambda o: without(template_of(triton(o))["metadata"]["annotations"], RELEASE),
        lambda o: set_in(
            pod(o)["initContainers"][0], env=[{"name": "ADMLOPS_RELEASE", "value": "0001-abc"}]
        ),
    ],
    "explicit-models": [
        lambda o: server(o)["args"].remove("--model-control-mode=explicit"),
        lambda o: without(server(o)["volumeMounts"][0], "readOnly"),
        lambda o: server(o)["volumeMounts"].pop(),
    ],
    "scratch-bounded": [lambda o: set_in(pod(o)["volumes"][0], emptyDir={})],
    "gpu-pool": [
        lambda o: without(pod(o), "nodeSelector"),
        lambda o: without(pod(o), "tolerations"),
        lambda o: without(pod(o)["initContainers"][0]["resources"]["limits"], GPU),
    ],
    "network": [
        lambda o: drop(o, "NetworkPolicy"),
        lambda o: set_in(only(o, "NetworkPolicy", "default-deny")["spec"], ingress=[{}]),
        lambda o: without(
            only(o, "NetworkPolicy", "clients-send-clouds")["spec"]["ingress"][0], "from"
        ),
        lambda o: without(
            only(o, "NetworkPolicy", "loader-reads-releases")["spec"]["egress"][0]["to"][0][
                "ipBlock"
            ],
            "except",
        ),
    ],
    "rbac": [
        lambda o: set_in(only(o, "Role")["rules"][0], verbs=["*"]),
        lambda o: only(o, "Role").update(kind="ClusterRole"),
        lambda o: without(only(o, "Role")["rules"][2], "resourceNames"),
        lambda o: set_in(only(o, "Role")["rules"][2], verbs=["get", "list"]),
        lambda o: only(o, "Role")["rules"][5]["resources"].append("pods/exec"),
        lambda o: only(o, "Role")["rules"][4]["verbs"].append("delete"),
        lambda o: only(o, "Role")["rules"][0]["verbs"].append("escalate"),
    ],
    "secrets-by-name": [
        lambda o: o.append({"kind": "Secret", "metadata": {"name": "x"}, "data": {"a": "Yg=="}}),
        lambda o: server(o)["env"].append({"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}),
    ],
    "references": [
        lambda o: set_in(pod(o), serviceAccountName="absent"),
        lambda o: set_in(pod(o), priorityClassName="absent"),
        lambda o: drop(o, "ConfigMap"),
        lambda o: set_in(
            pod(o)["initContainers"][0]["env"][-1],
            valueFrom={"secretKeyRef": {"name": "absent", "key": "x"}},
        ),
    ],
    "namespaces": [
        lambda o: without(only(o, "Service")["metadata"], "namespace"),
        lambda o: without(only(o, "Namespace", "admlops-serving")["metadata"], "labels"),
        lambda o: set_in(
            only(o, "Namespace", "admlops-serving")["metadata"]["labels"],
            **{"pod-security.kubernetes.io/enforce": "baseline"},
        ),
        lambda o: drop(o, "ResourceQuota"),
    ],
    "services": [
        lambda o: set_in(only(o, "Service")["spec"]["ports"][0], targetPort="absent"),
        lambda o: set_in(only(o, "Service")["spec"], selector={"app": "absent"}),
        lambda o: without(only(o, "Service", "triton-grpc")["spec"], "clusterIP"),
    ],
    "tracks": [
        lambda o: o.append(copy.deepcopy(triton(o))),
        lambda o: set_in(template_of(triton(o))["metadata"]["labels"], **{"admlops.io/track": "x"}),
    ],
    "scaling": [
        lambda o: set_in(triton(o)["spec"], replicas=1),
        lambda o: set_in(
            only(o, "ScaledObject")["spec"]["triggers"][0]["metadata"],
            query="avg(DCGM_FI_DEV_GPU_UTIL)",
        ),
        lambda o: set_in(only(o, "ScaledObject")["spec"], minReplicaCount=0),
        lambda o: set_in(only(o, "ScaledObject")["spec"]["scaleTargetRef"], name="absent"),
    ],
}


def test_every_rule_is_seen_failing() -> None:
    assert DAMAGES.keys() == RULES.keys()


@pytest.mark.parametrize(
    ("rule", "number"),
    [(rule, n) for rule, damages in DAMAGES.items() for n in range(len(damages))],
)
def test_rule_finds_damage(built, rule: str, number: int) -> None:
    objects = built("production")
    DAMAGES[rule][number](objects)
    assert list(RULES[rule].check(objects))


def test_all_builders_agree(built) -> None:
    if len(builders()) < 2:
        pytest.skip(f"only {', '.join(builders())} is installed")
    for overlay in OVERLAYS:
        for command in list(builders().values())[1:]:
            assert build(MANIFESTS / "overlays" / overlay, command) == built(overlay)


def test_canary_has_its_own_release_and_the_overlays_patches(built) -> None:
    names = {item["metadata"]["name"]: item for item in tritons(built(CANARY))}
    assert names.keys() == {"triton", "triton-canary"}
    canary, stable = names["triton-canary"], names["triton"]
    releases = [template_of(i)["metadata"]["annotations"][RELEASE] for i in (stable, canary)]
    assert releases == [str(STABLE), str(ON_TRIAL)]
    assert canary["spec"]["replicas"] == 1
    assert "replicas" not in stable["spec"]  # the autoscaler's
    pods = [template_of(item)["spec"] for item in (stable, canary)]
    assert pods[0]["nodeSelector"] == pods[1]["nodeSelector"]
    assert pods[0]["containers"][0]["image"] == pods[1]["containers"][0]["image"]
    labels = [template_of(item)["metadata"]["labels"] for item in (stable, canary)]
    (service,) = (
        s for s in of_kind(built(CANARY), "Service") if s["metadata"]["name"] == "triton-grpc"
    )
    assert all(service["spec"]["selector"].items() <= found.items() for found in labels)


def test_versions_of_triton_and_tensorrt_are_named_in_one_place(built) -> None:
    place = MANIFESTS / "components" / "versions" / "versions.env"
    versions = dict(line.split("=") for line in place.read_text().split())
    for deployment in tritons(built("production")):
        image = template_of(deployment)["spec"]["containers"][0]["image"]
        assert image == f"nvcr.io/nvidia/tritonserver:{versions['TRITON_IMAGE_TAG']}"
    texts = [
        path
        for folder in ("src", "images", "manifests", "components", "pipelines")
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file() and path.suffix in {".py", ".yaml", ".env", ".txt", ""} and path != place
    ]
    for path in texts:
        if path.name == "tensorrt.txt":  # the image's lock; a test of the images compares it
            continue
        text = path.read_text(errors="replace")
        assert not re.search(r"tritonserver:\d", text), path
        assert versions["TENSORRT_VERSION"] not in text, path


def test_every_component_is_used() -> None:
    used = "".join(
        path.read_text()
        for path in MANIFESTS.rglob("kustomization.yaml")
        if "components" not in path.parts[-3:-1]
    )
    for component in (MANIFESTS / "components").iterdir():
        assert component.name == "canary" or f"components/{component.name}" in used, component


def test_every_component_and_overlay_is_documented() -> None:
    page = (REPOSITORY / "docs" / "serving.md").read_text()
    for folder in ("components", "overlays"):
        for path in (MANIFESTS / folder).iterdir():
            assert f"`{folder}/{path.name}`" in page, path
