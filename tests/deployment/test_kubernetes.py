"""The manifests: what Kubernetes takes, confined, without secrets, and with commands that there are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml

from castpool.storage.budget.slots import SlotCounts
from castpool.storage.study.statistics import Tally
from castpool.storage.url import parse
from castpool.workers.cli.app import app
from castpool.workers.monitoring.run_metrics import compute_measures

PROJECT = Path(__file__).parents[2]
ROOT = PROJECT / "deploy" / "kubernetes"
KUSTOMIZATIONS = sorted(ROOT.rglob("kustomization.yaml"))
# What a user applies.
APPLIED = ["base", *sorted(f"overlays/{overlay.name}" for overlay in (ROOT / "overlays").iterdir())]
# Since the first, podFailurePolicy is stable.
VERSIONS = ("1.31", kubernetes_validate.latest_version())
SECRET = "castpool-postgres"
Document = dict[str, Any]

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="there is no kubectl here, which renders kustomizations"
)


def read(path: Path) -> list[Document]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def listed(kustomization: Path) -> Iterator[Path]:
    """The files and folders that a kustomization is made of."""
    (values,) = read(kustomization)
    patches = [patch["path"] for patch in values.get("patches", ()) if "path" in patch]
    for name in (*values.get("resources", ()), *values.get("components", ()), *patches):
        yield (kustomization.parent / name).resolve()


def written() -> list[Document]:
    """The documents as they stand in the files, before any patch."""
    files = {
        path
        for kustomization in KUSTOMIZATIONS
        for path in listed(kustomization)
        if path.is_file() and path.name != "trigger.yaml"
    }
    return [document for path in sorted(files) for document in read(path)]


@cache
def rendered(folder: Path) -> list[Document]:
    """The documents that `kubectl apply -k` sends."""
    text = subprocess.run(["kubectl", "kustomize", folder], check=True, capture_output=True, text=True).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def name_of(document: Document) -> str:
    return f"{document['kind']}/{document['metadata']['name']}"


def one(documents: Iterable[Document], name: str) -> Document:
    (found,) = [document for document in documents if name_of(document) == name]
    return found


def template_of(document: Document) -> Document | None:
    spec = document.get("spec", {})
    template: Document | None = spec.get("jobTargetRef", spec).get("template")
    return template


def templates(documents: Iterable[Document]) -> dict[str, Document]:
    found = {name_of(document): template_of(document) for document in documents}
    return {name: template for name, template in found.items() if template is not None}


def containers(pod: Document) -> list[Document]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def environment() -> dict[str, str]:
    """What the ConfigMap gives to every container."""
    (values,) = read(ROOT / "base" / "kustomization.yaml")
    (generator,) = values["configMapGenerator"]
    return dict(literal.split("=", 1) for literal in generator["literals"])


@cache
def _check(document: str, version: str) -> None:
    try:
        kubernetes_validate.validate(json.loads(document), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        where = ".".join(str(part) for part in error.absolute_path)
        raise AssertionError(f"Kubernetes {version}: {where}: {error.message[:300]}") from None


def check_built_in(document: Document) -> None:
    for version in VERSIONS:
        _check(json.dumps(document, sort_keys=True), version)


# By hand from the CRDs of KEDA 2.20 (config/crd/bases in kedacore/keda): of each spec the fields that must be there and
# those that may. What is Kubernetes' own inside of them, the job and the behaviour of the autoscaler, has schemas here.
KEDA = {
    "ScaledObject": (
        {"scaleTargetRef", "triggers"},
        {"minReplicaCount", "maxReplicaCount", "idleReplicaCount", "pollingInterval", "cooldownPeriod"}
        | {"initialCooldownPeriod", "advanced", "fallback"},
    ),
    "ScaledJob": (
        {"jobTargetRef", "triggers"},
        {"minReplicaCount", "maxReplicaCount", "pollingInterval", "successfulJobsHistoryLimit", "scalingStrategy"}
        | {"failedJobsHistoryLimit", "rollout", "rolloutStrategy", "envSourceContainerName"},
    ),
    "TriggerAuthentication": (set(), {"secretTargetRef", "configMapTargetRef", "env", "podIdentity"}),
}
TRIGGER = ({"type", "metadata"}, {"authenticationRef", "metricType", "name", "useCachedMetrics"})
# Which the scaler refuses to be without (pkg/scalers/postgresql_scaler.go).
POSTGRESQL = {"host", "port", "userName", "dbName", "sslmode", "query", "targetQueryValue"}


def check_keda(document: Document) -> None:
    spec = document["spec"]
    assert document["apiVersion"] == "keda.sh/v1alpha1"
    check_fields(spec, *KEDA[document["kind"]])
    for reference in spec.get("secretTargetRef", ()):
        assert reference.keys() == {"parameter", "name", "key"}
    for trigger in spec.get("triggers", ()):
        check_fields(trigger, *TRIGGER)
        assert trigger["type"] == "postgresql"
        assert trigger["metadata"].keys() == POSTGRESQL
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
        assert trigger["authenticationRef"].keys() == {"name"}
    if "jobTargetRef" in spec:
        assert spec["rollout"] == {"strategy": "gradual"}
        check_built_in({**document, "apiVersion": "batch/v1", "kind": "Job", "spec": spec["jobTargetRef"]})
    if "advanced" in spec:
        assert spec["advanced"].keys() == {"horizontalPodAutoscalerConfig"}
        scaler = {"scaleTargetRef": {"kind": "Deployment", **spec["scaleTargetRef"]}, "maxReplicas": 1}
        scaler |= spec["advanced"]["horizontalPodAutoscalerConfig"]
        check_built_in({**document, "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": scaler})


def check_fields(value: Mapping[str, Any], required: set[str], optional: set[str]) -> None:
    assert required <= value.keys() <= required | optional


def check_documents(documents: list[Document]) -> None:
    for document in documents:
        (check_keda if document["kind"] in KEDA else check_built_in)(document)
    names = [name_of(document) for document in documents]
    assert len(names) == len(set(names))


def check_no_secrets(documents: list[Document]) -> None:
    for document in documents:
        assert document["kind"] != "Secret"
        assert "PGPASSWORD" not in document.get("data", {})
        for template in templates([document]).values():
            for container in containers(template["spec"]):
                assert "PGPASSWORD" not in {given["name"] for given in container.get("env", ())}


def check_confined(documents: list[Document]) -> None:
    found = templates(documents)
    assert found
    for name, template in found.items():
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
        security = pod["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 10001), name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["postgres"]["secret"]["secretName"] == SECRET, name
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["image"].split(":")[0] == "castpool", name
            assert container["resources"].keys() == {"requests", "limits"}, name
            for amounts in container["resources"].values():
                assert amounts.keys() >= {"cpu", "memory"}, name
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            assert set(mounts.values()) <= volumes.keys(), name
            assert all("emptyDir" in volumes[mounts[path]] for path in ("/tmp", "/home/castpool")), name
            # The folder that PGPASSWORD_FILE is in.
            assert mounts[os.path.dirname(environment()["PGPASSWORD_FILE"])] == "postgres", name
            assert container["envFrom"] == [{"configMapRef": {"name": "castpool"}}], name


def check_connected(documents: list[Document]) -> None:
    """Services, selectors, probes, scrapers and claims find what they name."""
    found = templates(documents)
    claims = {document["metadata"]["name"] for document in documents if document["kind"] == "PersistentVolumeClaim"}
    for name, template in found.items():
        labels, pod = template["metadata"]["labels"], template["spec"]
        assert labels["app.kubernetes.io/name"] == "castpool", f"no network policy holds {name}"
        (ports,) = [
            {port["name"]: port["containerPort"] for port in container.get("ports", ())}
            for container in pod["containers"]
        ]
        (container,) = pod["containers"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container.get(probe, {}).get("httpGet", {"port": "http"})["port"] in {*ports, "http"}, name
        options = dict(zip(container["args"], container["args"][1:], strict=False))
        said = {"http": options.get("--port"), "metrics": options.get("--metrics-port")}
        assert ports == {port: int(number) for port, number in said.items() if number is not None}, name
        scraped = template["metadata"].get("annotations", {}).get("prometheus.io/port")
        assert scraped == said["metrics"], name
        for volume in pod["volumes"]:
            assert volume.get("persistentVolumeClaim", {"claimName": None})["claimName"] in {*claims, None}, name
    for document in documents:
        if document["kind"] == "Deployment":
            selected = document["spec"]["selector"]["matchLabels"]
            assert selected.items() <= document["spec"]["template"]["metadata"]["labels"].items()
        if document["kind"] == "Service":
            (target,) = [
                template["spec"]["containers"][0]["ports"]
                for template in found.values()
                if document["spec"]["selector"].items() <= template["metadata"]["labels"].items()
            ]
            for port in document["spec"]["ports"]:
                assert (port["targetPort"], port["port"]) in {(to["name"], to["containerPort"]) for to in target}


def test_every_file_is_part_of_a_kustomization() -> None:
    reached, ahead = set(), [(ROOT / applied / "kustomization.yaml").resolve() for applied in APPLIED]
    while ahead:
        path = ahead.pop()
        reached.add(path)
        if path.name == "kustomization.yaml":
            ahead += [entry / "kustomization.yaml" if entry.is_dir() else entry for entry in listed(path)]
    assert reached == {path.resolve() for path in ROOT.rglob("*") if path.is_file()}


def test_every_document_is_what_kubernetes_takes() -> None:
    documents = written()
    for document in documents:
        if document["kind"] == "ScaledObject":
            document["spec"]["triggers"] = trigger()
    check_documents(documents)


def trigger() -> list[Document]:
    """What the patch gives to whatever KEDA scales."""
    (patches,) = read(ROOT / "components" / "keda-trigger" / "trigger.yaml")
    (patch,) = patches
    value: list[Document] = patch["value"]
    return value


def test_there_is_no_secret_among_them() -> None:
    check_no_secrets(written())
    for path in ROOT.rglob("*.yaml"):
        assert not re.search(r"^\s*(stringData|kind: Secret)\b|://[^/\s]*:[^/\s]*@", path.read_text(), re.M), path
    assert parse(environment()["CASTPOOL_STORAGE"]).password is None
    (values,) = read(ROOT / "components" / "keda-trigger" / "authentication.yaml")
    assert values["spec"]["secretTargetRef"] == [{"parameter": "password", "name": SECRET, "key": "password"}]


def test_every_container_is_confined() -> None:
    check_confined(written())


def test_services_probes_and_scrapers_ask_where_somebody_listens() -> None:
    check_connected(written())


def test_network_policies_open_the_ports_that_there_are() -> None:
    documents = written()
    policies = [document["spec"] for document in documents if document["kind"] == "NetworkPolicy"]
    (closed,) = [
        policy
        for policy in policies
        if policy["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "castpool"}}
    ]
    assert sorted(closed["policyTypes"]) == ["Egress", "Ingress"]
    assert "ingress" not in closed
    opened = {
        port["port"]
        for policy in policies
        for rule in policy.get("ingress", ())
        for port in rule["ports"]
        if rule["from"]
    }
    listening = {
        port["containerPort"]
        for template in templates(documents).values()
        for port in template["spec"]["containers"][0].get("ports", ())
    }
    assert opened == listening == {5000, 8080, 9100}


def test_commands_are_castpools_own() -> None:
    commands: Any = typer.main.get_command(app)
    given = environment()
    run = set()
    for name, template in templates(written()).items():
        for container in containers(template["spec"]):
            assert "command" not in container, "the image knows what to run"
            args = [re.sub(r"\$\((\w+)\)", lambda found: given[found[1]], arg) for arg in container["args"]]
            with commands.make_context("castpool", list(args)) as context:
                command, parser, rest = commands.resolve_command(context, list(args))
                # Reads the options and their values, and refuses what it does not know.
                parser.make_context(command, rest, parent=context).close()
            run.add((name.split("-")[-1], command))
    assert run == {
        *{("study", "create"), ("worker", "create"), ("result", "create")},
        *{(name, name) for name in ("worker", "result", "dashboard", "mlflow")},
    }


def test_the_study_is_created_in_one_way() -> None:
    found = [
        [container for container in containers(template["spec"]) if container["name"] == "create"]
        for template in templates(written()).values()
    ]
    ways = [{**container, "resources": None} for created in found for container in created]
    assert len(ways) == 3
    assert all(way == ways[0] for way in ways)


def test_workers_are_a_job_that_ends_and_that_an_eviction_does_not_fail() -> None:
    spec = one(written(), "Job/castpool-worker")["spec"]
    assert "completions" not in spec
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 60
    evicted, stopped, wrong = spec["podFailurePolicy"]["rules"]
    assert (evicted["action"], evicted["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert (stopped["action"], 130 in stopped["onExitCodes"]["values"]) == ("Ignore", True)
    assert (wrong["action"], wrong["onExitCodes"]["values"]) == ("FailJob", [2])


def test_the_autoscaler_asks_for_a_measure_that_there_is() -> None:
    (metric,) = one(written(), "HorizontalPodAutoscaler/castpool-worker")["spec"]["metrics"]
    nothing = Tally(0, 0, 0, 0, None, None, None, 0.0, 0.0, None)
    names = {f"castpool_{measure.name}" for measure in compute_measures(nothing, SlotCounts(3, 1, 1), machine_mb=1.0)}
    assert metric["external"]["metric"]["name"] in names


def test_the_image_is_this_version() -> None:
    (values,) = read(ROOT / "base" / "kustomization.yaml")
    version = re.search(r'^version = "(.+)"$', (PROJECT / "pyproject.toml").read_text(), re.M)
    assert version is not None
    assert values["images"] == [{"name": "castpool", "newTag": version[1]}]


@needs_kubectl
@pytest.mark.parametrize("applied", APPLIED)
def test_what_is_applied_is_whole(applied: str) -> None:
    documents = rendered(ROOT / applied)
    check_documents(documents)
    check_no_secrets(documents)
    check_confined(documents)
    check_connected(documents)
    assert one(documents, "ConfigMap/castpool")["data"] == environment()


@needs_kubectl
@pytest.mark.parametrize(
    ("applied", "kinds"),
    [
        ("base", {"Job"}),
        ("overlays/gpu", {"Job"}),
        ("overlays/spot", {"Job"}),
        ("overlays/hpa", {"Deployment", "HorizontalPodAutoscaler"}),
        ("overlays/keda", {"Deployment", "ScaledObject"}),
        ("overlays/scaled-jobs", {"ScaledJob"}),
    ],
)
def test_workers_are_scaled_in_one_way(applied: str, kinds: set[str]) -> None:
    found = {
        document["kind"]: document
        for document in rendered(ROOT / applied)
        if document["metadata"]["name"] == "castpool-worker"
    }
    assert found.keys() == kinds
    (pod,) = [template["spec"] for template in templates(found.values()).values()]
    assert pod["restartPolicy"] == ("Always" if "Deployment" in kinds else "Never")
    # What scales from none must not need the study's files; the job beside it creates the study.
    assert ("initContainers" in pod) == (kinds == {"Job"})
    for document in found.values():
        assert document["kind"] not in ("ScaledObject", "ScaledJob") or document["spec"]["triggers"] == trigger()


@needs_kubectl
@pytest.mark.parametrize(
    ("scaled", "kind"),
    [
        ([], "Job"),
        (["deployment", "hpa"], "Deployment"),
        (["deployment", "keda-scaled-object", "keda-trigger"], "Deployment"),
        (["keda-scaled-job", "keda-trigger"], "ScaledJob"),
    ],
)
def test_components_can_be_combined_and_the_rest_be_ones_own(tmp_path: Path, scaled: list[str], kind: str) -> None:
    here = os.path.relpath(ROOT, tmp_path.resolve())
    (tmp_path / "spec.yaml").write_text("data: sales.csv\n")
    kustomization = {
        "resources": [f"{here}/base"],
        "components": [f"{here}/components/{name}" for name in ("gpu", "spot", *scaled)],
        "configMapGenerator": [
            {"name": "castpool", "behavior": "merge", "literals": ["STUDY=/study/spec.yaml"]},
            {"name": "castpool-study", "files": ["spec.yaml"]},
        ],
        "generatorOptions": {"disableNameSuffixHash": True},
        "images": [{"name": "castpool", "newName": "example/castpool"}],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    documents = rendered(tmp_path)
    check_documents(documents)
    assert one(documents, "ConfigMap/castpool")["data"] == {**environment(), "STUDY": "/study/spec.yaml"}
    assert "spec.yaml" in one(documents, "ConfigMap/castpool-study")["data"]

    pod = templates(documents)[f"{kind}/castpool-worker"]["spec"]
    (worker,) = pod["containers"]
    assert worker["image"] == "example/castpool:cuda"
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {toleration["key"] for toleration in pod["tolerations"]} > {"nvidia.com/gpu", "cloud.google.com/gke-spot"}
    assert pod["affinity"]["nodeAffinity"]
    assert pod["terminationGracePeriodSeconds"] < 30
    (result,) = templates(documents)["Job/castpool-result"]["spec"]["containers"]
    assert re.fullmatch(r"example/castpool:\d.*", result["image"])
