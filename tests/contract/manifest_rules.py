"""One table of rules that the built manifests must satisfy; each finding names its object."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
Objects = list[Object]

WORKLOADS = {"Deployment", "Job", "StatefulSet", "DaemonSet"}
LONG_RUNNING = WORKLOADS - {"Job"}
CLUSTER_WIDE = {"Namespace", "PriorityClass"}
VOLUMES = {"emptyDir", "configMap", "secret", "persistentVolumeClaim", "projected", "downwardAPI"}
GPU = "nvidia.com/gpu"
RELEASE = "admlops.io/release"
TOKEN_OWNERS = {"admlops-pipeline"}
"""Service accounts that talk to the API server."""
GIVEN_SECRETS = {"admlops-s3"}
"""Secrets that the cluster's owner makes; manifests know their names only."""
READ_VERBS = {"get", "list", "watch"}


@dataclass(frozen=True, slots=True)
class ManifestRule:
    """What must hold, and the function that yields a line for each object where it does not."""

    statement: str
    check: Callable[[Objects], Iterator[str]]


def name_of(item: Object) -> str:
    return f"{item['kind']}/{item['metadata']['name']}"


def of_kind(objects: Objects, *kinds: str) -> Objects:
    return [item for item in objects if item["kind"] in kinds]


def template_of(item: Object) -> Object:
    return item["spec"]["template"]


def pods(objects: Objects) -> Iterator[tuple[str, Object]]:
    for item in of_kind(objects, *WORKLOADS):
        yield name_of(item), template_of(item)["spec"]


def containers(objects: Objects) -> Iterator[tuple[str, Object]]:
    for name, pod in pods(objects):
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield f"{name}:{container['name']}", container


def tritons(objects: Objects) -> Objects:
    return [
        item
        for item in of_kind(objects, "Deployment")
        if template_of(item)["metadata"]["labels"].get("app.kubernetes.io/name") == "triton"
    ]


def triton_containers(objects: Objects) -> Iterator[tuple[str, Object]]:
    for item in tritons(objects):
        for container in template_of(item)["spec"]["containers"]:
            if container["name"] == "triton":
                yield name_of(item), container


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def images_are_pinned(objects: Objects) -> Iterator[str]:
    for name, container in containers(objects):
        image = container["image"]
        tag = image.rsplit("/", 1)[-1].partition(":")[2]
        if "@sha256:" not in image and (not re.search(r"\d", tag) or tag == "latest"):
            yield f"{name}: image {image}"
        if container.get("imagePullPolicy") != "IfNotPresent":
            yield f"{name}: imagePullPolicy"


def pods_are_restricted(objects: Objects) -> Iterator[str]:
    for name, pod in pods(objects):
        context = pod.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{name}: runs as root, or as nobody in particular"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name}: seccompProfile"
        for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
            if pod.get(field):
                yield f"{name}: {field}"
        for volume in pod.get("volumes", []):
            if not (volume.keys() - {"name"}) <= VOLUMES:
                yield f"{name}: volume {volume['name']}"


def containers_are_restricted(objects: Objects) -> Iterator[str]:
    for name, container in containers(objects):
        context = container.get("securityContext", {})
        wanted = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        for field, value in wanted.items():
            if context.get(field) != value:
                yield f"{name}: {field}"
        if context.get("privileged") or context.get("runAsUser") == 0:
            yield f"{name}: privileged"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{name}: hostPort"


def resources_are_stated(objects: Objects) -> Iterator[str]:
    for name, container in containers(objects):
        resources = container.get("resources", {})
        limits, requests = resources.get("limits", {}), resources.get("requests", {})
        missing = {"cpu", "memory", "ephemeral-storage"} - limits.keys()
        if missing:
            yield f"{name}: no limit of {', '.join(sorted(missing))}"
        if limits != requests:
            yield f"{name}: requests differ from limits"


def tokens_are_not_mounted(objects: Objects) -> Iterator[str]:
    for name, pod in pods(objects):
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{name}: mounts a token"
        if not pod.get("serviceAccountName"):
            yield f"{name}: has no service account of its own"
    for item in of_kind(objects, "ServiceAccount"):
        wanted = item["metadata"]["name"] in TOKEN_OWNERS
        if item.get("automountServiceAccountToken") is not wanted:
            yield f"{name_of(item)}: automountServiceAccountToken is not {wanted}"


def probes_are_stated(objects: Objects) -> Iterator[str]:
    for item in of_kind(objects, *LONG_RUNNING):
        for container in template_of(item)["spec"]["containers"]:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if probe not in container:
                    yield f"{name_of(item)}:{container['name']}: no {probe}"
    for name, container in triton_containers(objects):
        ready = container.get("readinessProbe", {}).get("httpGet", {}).get("path")
        live = container.get("livenessProbe", {}).get("httpGet", {}).get("path")
        if (ready, live) != ("/v2/health/ready", "/v2/health/live"):
            yield f"{name}: probes ask {ready} and {live}"


def pods_end_gently(objects: Objects) -> Iterator[str]:
    for item in tritons(objects):
        pod = template_of(item)["spec"]
        for container in pod["containers"]:
            hook = container.get("lifecycle", {}).get("preStop", {})
            sleep_s = hook.get("sleep", {}).get("seconds", 0)
            drain = [a for a in container.get("args", []) if a.startswith("--exit-timeout-secs=")]
            drain_s = int(drain[0].partition("=")[2]) if drain else 0
            if sleep_s < 10 or drain_s < 10:
                yield f"{name_of(item)}: preStop sleeps {sleep_s} s, Triton drains {drain_s} s"
            if pod.get("terminationGracePeriodSeconds", 30) <= sleep_s + drain_s:
                yield f"{name_of(item)}: is killed before it has drained"


def disruption_is_limited(objects: Objects) -> Iterator[str]:
    budgets = of_kind(objects, "PodDisruptionBudget")
    for item in tritons(objects):
        labels = template_of(item)["metadata"]["labels"]
        fitting = [b for b in budgets if selects(b["spec"]["selector"]["matchLabels"], labels)]
        if len(fitting) != 1 or fitting[0]["spec"].get("maxUnavailable") != 1:
            yield f"{name_of(item)}: not exactly one budget of one pod"


def pods_are_spread(objects: Objects) -> Iterator[str]:
    for item in tritons(objects):
        labels = template_of(item)["metadata"]["labels"]
        keys = [
            constraint["topologyKey"]
            for constraint in template_of(item)["spec"].get("topologySpreadConstraints", [])
            if selects(constraint["labelSelector"]["matchLabels"], labels)
        ]
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone"):
            if keys.count(key) != 1:
                yield f"{name_of(item)}: spread {keys.count(key)} times over {key}"


def rollouts_lose_no_request(objects: Objects) -> Iterator[str]:
    for item in tritons(objects):
        rolling = item["spec"].get("strategy", {}).get("rollingUpdate", {})
        if rolling.get("maxUnavailable") != 0 or not rolling.get("maxSurge"):
            yield f"{name_of(item)}: a rollout takes pods away before new ones are ready"
        if not item["spec"].get("revisionHistoryLimit", 10) > 1:
            yield f"{name_of(item)}: keeps no revision to go back to"


def release_is_named_once(objects: Objects) -> Iterator[str]:
    for item in tritons(objects):
        template = template_of(item)
        release = template["metadata"].get("annotations", {}).get(RELEASE)
        if not release:
            yield f"{name_of(item)}: the pod template names no release"
            continue
        if release != "unset" and str(template["spec"]).count(release):
            yield f"{name_of(item)}: the release is named twice"
        loaders = [c for c in template["spec"].get("initContainers", []) if "loader" in c["name"]]
        fields = [
            entry["valueFrom"]["fieldRef"]["fieldPath"]
            for loader in loaders
            for entry in loader["env"]
            if "fieldRef" in entry.get("valueFrom", {})
        ]
        if fields != [f"metadata.annotations['{RELEASE}']"]:
            yield f"{name_of(item)}: the loader does not read the pod's release"


def models_are_explicit(objects: Objects) -> Iterator[str]:
    for name, container in triton_containers(objects):
        for argument in ("--model-control-mode=explicit", "--load-model=points_to_boxes"):
            if argument not in container.get("args", []):
                yield f"{name}: no {argument}"
        mounts = {m["mountPath"]: m.get("readOnly", False) for m in container["volumeMounts"]}
        if mounts.get("/release") is not True:
            yield f"{name}: can write to the release"
        if "/dev/shm" not in mounts:  # noqa: S108
            yield f"{name}: has the container runtime's small /dev/shm"


def scratch_is_bounded(objects: Objects) -> Iterator[str]:
    for name, pod in pods(objects):
        sizes = [
            (volume["emptyDir"] or {}).get("sizeLimit")
            for volume in pod.get("volumes", [])
            if "emptyDir" in volume
        ]
        if not all(sizes):
            yield f"{name}: an emptyDir has no size"


def gpus_are_in_their_pool(objects: Objects) -> Iterator[str]:
    for item in tritons(objects):
        pod = template_of(item)["spec"]
        counts = {
            container["name"]: container["resources"]["limits"].get(GPU)
            for container in [*pod["initContainers"], *pod["containers"]]
        }
        if not any(counts.values()):
            continue
        if set(counts.values()) != {"1"}:
            yield f"{name_of(item)}: GPUs of its containers are {counts}"
        if not pod.get("nodeSelector"):
            yield f"{name_of(item)}: no node pool is chosen"
        if not any(t.get("key") == GPU for t in pod.get("tolerations", [])):
            yield f"{name_of(item)}: the pool's taint is not tolerated"


def network_is_closed(objects: Objects) -> Iterator[str]:
    policies = of_kind(objects, "NetworkPolicy")
    closed = {
        item["metadata"]["namespace"]
        for item in policies
        if item["spec"]["podSelector"] == {}
        and set(item["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not (item["spec"].get("ingress") or item["spec"].get("egress"))
    }
    for item in tritons(objects):
        if item["metadata"]["namespace"] not in closed:
            yield f"{name_of(item)}: its namespace is open"
    for item in policies:
        for way, peers in (("ingress", "from"), ("egress", "to")):
            for opening in item["spec"].get(way) or []:
                if not opening.get(peers) or not opening.get("ports") or {} in opening[peers]:
                    yield f"{name_of(item)}: opens {way} to everybody, or every port"
                for peer in opening.get(peers) or []:
                    block = peer.get("ipBlock", {})
                    if block.get("cidr") == "0.0.0.0/0" and not any(
                        part.startswith("169.254.") for part in block.get("except", [])
                    ):
                        yield f"{name_of(item)}: opens the node's metadata service"


def verbs_are_small(objects: Objects) -> Iterator[str]:
    for item in of_kind(objects, "ClusterRole", "ClusterRoleBinding"):
        yield f"{name_of(item)}: rights in every namespace"
    for item in of_kind(objects, "Role"):
        for rule in item["rules"]:
            every = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            if "*" in every:
                yield f"{name_of(item)}: a wildcard"
            if {"bind", "escalate", "impersonate"} & set(rule["verbs"]):
                yield f"{name_of(item)}: may give itself more"
            if any(
                r in {"pods/exec", "pods/attach", "serviceaccounts/token"}
                for r in rule["resources"]
            ):
                yield f"{name_of(item)}: may enter other pods"
            named = {"secrets", "configmaps"} & set(rule["resources"])
            if named and (rule["verbs"] != ["get"] or not rule.get("resourceNames")):
                yield f"{name_of(item)}: {', '.join(named)} beyond reading those it names"
            if "pods" in rule["resources"] and not set(rule["verbs"]) <= READ_VERBS:
                yield f"{name_of(item)}: may change pods"


def secrets_are_names(objects: Objects) -> Iterator[str]:
    for item in of_kind(objects, "Secret"):
        yield f"{name_of(item)}: holds a value"
    for name, container in containers(objects):
        for entry in container.get("env", []):
            secret = re.search(r"SECRET|PASSWORD|TOKEN|ACCESS_KEY", entry["name"])
            if secret and "value" in entry:
                yield f"{name}: {entry['name']} is written out"


def references_exist(objects: Objects) -> Iterator[str]:
    there = {(i["kind"], i["metadata"].get("namespace"), i["metadata"]["name"]) for i in objects}
    for item in of_kind(objects, *WORKLOADS):
        space, pod = item["metadata"]["namespace"], template_of(item)["spec"]
        wanted = {("ServiceAccount", space, pod.get("serviceAccountName", "default"))}
        if "priorityClassName" in pod:
            wanted.add(("PriorityClass", None, pod["priorityClassName"]))
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            wanted |= {("ConfigMap", space, n) for n in names_in(container, "configMapKeyRef")}
            wanted |= {("ConfigMap", space, n) for n in names_in(container, "configMapRef")}
            for secret in names_in(container, "secretKeyRef") - GIVEN_SECRETS:
                wanted.add(("Secret", space, secret))
        for kind, _, name in sorted(wanted - there, key=str):
            yield f"{name_of(item)}: there is no {kind} {name}"


def names_in(container: Object, field: str) -> set[str]:
    entries = [entry.get("valueFrom", {}) for entry in container.get("env", [])]
    return {e[field]["name"] for e in [*entries, *container.get("envFrom", [])] if field in e}


def namespaces_are_guarded(objects: Objects) -> Iterator[str]:
    for item in objects:
        if item["kind"] not in CLUSTER_WIDE and not item["metadata"].get("namespace"):
            yield f"{name_of(item)}: lands in whatever namespace is current"
    serving = {item["metadata"]["namespace"] for item in tritons(objects)}
    quotas = {item["metadata"]["namespace"] for item in of_kind(objects, "ResourceQuota")}
    for item in of_kind(objects, "Namespace"):
        name = item["metadata"]["name"]
        level = item["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce")
        if level != "restricted" and (name in serving or level != "baseline"):
            yield f"{name_of(item)}: Pod Security enforces {level}"
        if name not in quotas:
            yield f"{name_of(item)}: no quota"


def services_lead_to_pods(objects: Objects) -> Iterator[str]:
    workloads = of_kind(objects, *LONG_RUNNING)
    for item in of_kind(objects, "Service"):
        selector, space = item["spec"]["selector"], item["metadata"]["namespace"]
        fitting = [
            w
            for w in workloads
            if w["metadata"]["namespace"] == space
            and selects(selector, template_of(w)["metadata"]["labels"])
        ]
        names = {
            port["name"]
            for workload in fitting
            for container in template_of(workload)["spec"]["containers"]
            for port in container.get("ports", [])
        }
        missing = {port["targetPort"] for port in item["spec"]["ports"]} - names
        if missing:
            yield f"{name_of(item)}: no pod has the port {', '.join(map(str, missing))}"
        grpc = any(port["name"] == "grpc" for port in item["spec"]["ports"])
        if grpc and item["spec"].get("clusterIP") != "None":
            yield f"{name_of(item)}: gRPC behind one address sticks to one pod"


def tracks_do_not_mix(objects: Objects) -> Iterator[str]:
    seen: dict[str, str] = {}
    for item in of_kind(objects, *LONG_RUNNING):
        selector = item["spec"]["selector"]["matchLabels"]
        labels = template_of(item)["metadata"]["labels"]
        if not selects(selector, labels):
            yield f"{name_of(item)}: does not select its own pods"
        key = str((item["metadata"]["namespace"], sorted(selector.items())))
        if key in seen:
            yield f"{name_of(item)}: selects the pods of {seen[key]}"
        seen[key] = name_of(item)


def queue_time_scales(objects: Objects) -> Iterator[str]:
    deployments = {item["metadata"]["name"]: item for item in of_kind(objects, "Deployment")}
    for item in of_kind(objects, "ScaledObject"):
        target = item["spec"]["scaleTargetRef"]["name"]
        if target not in deployments:
            yield f"{name_of(item)}: there is no Deployment {target}"
        elif "replicas" in deployments[target]["spec"]:
            yield f"{name_of(item)}: applying again sets the replicas of {target} back"
        queries = [trigger["metadata"].get("query", "") for trigger in item["spec"]["triggers"]]
        if not any("nv_inference_queue_duration_us" in query for query in queries):
            yield f"{name_of(item)}: does not scale on queue time"
        if not 1 < item["spec"].get("minReplicaCount", 0) <= item["spec"]["maxReplicaCount"]:
            yield f"{name_of(item)}: from {item['spec'].get('minReplicaCount')} replicas"


RULES = {
    "images-pinned": ManifestRule("An image has a tag or digest, never latest.", images_are_pinned),
    "pods-restricted": ManifestRule(
        "A pod satisfies Pod Security restricted.", pods_are_restricted
    ),
    "containers-restricted": ManifestRule(
        "A container cannot gain rights or write its image.", containers_are_restricted
    ),
    "resources-stated": ManifestRule(
        "Requests equal limits: CPU, memory, scratch and GPU.", resources_are_stated
    ),
    "no-token": ManifestRule("Only the pipeline has an API token.", tokens_are_not_mounted),
    "probes": ManifestRule("Startup, readiness and liveness are asked.", probes_are_stated),
    "gentle-end": ManifestRule("A pod drains before it is killed.", pods_end_gently),
    "disruption": ManifestRule("One budget of one pod covers Triton.", disruption_is_limited),
    "spread": ManifestRule("Pods are spread over nodes and zones.", pods_are_spread),
    "rollout": ManifestRule("A rollout adds before it takes away.", rollouts_lose_no_request),
    "one-release": ManifestRule("The pod template names one release.", release_is_named_once),
    "explicit-models": ManifestRule("Models load by name, read-only.", models_are_explicit),
    "scratch-bounded": ManifestRule("An emptyDir has a size.", scratch_is_bounded),
    "gpu-pool": ManifestRule("A GPU pod is bound to its pool.", gpus_are_in_their_pool),
    "network": ManifestRule("Nothing passes but named openings.", network_is_closed),
    "rbac": ManifestRule("Roles have the smallest verbs.", verbs_are_small),
    "secrets-by-name": ManifestRule("No object holds a secret.", secrets_are_names),
    "references": ManifestRule("What a pod refers to exists.", references_exist),
    "namespaces": ManifestRule("Namespaces have levels and quotas.", namespaces_are_guarded),
    "services": ManifestRule("A service leads to a pod's port.", services_lead_to_pods),
    "tracks": ManifestRule("Deployments select their own pods.", tracks_do_not_mix),
    "scaling": ManifestRule("Scaling follows the queue time.", queue_time_scales),
}
