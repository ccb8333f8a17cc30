"""The files that ship it: what a cluster or an engine would refuse is refused here."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from prep.catalogue.entries import read_catalogue
from prep.errors import Exit
from prep.plugin.options import _shard
from tests.support.paths import ROOT
from tests.support.runs import SAMPLE, copy_home, process, run

KUBERNETES = ROOT / "deploy" / "kubernetes"
CATALOGUE = KUBERNETES / "catalogue"  # a component: patches of the others
WAYS = ("whole", "sharded")
# backoffLimitPerIndex is on by default from 1.29 and stable in 1.33; the newest that is known here.
VERSIONS = ("1.29", "1.37")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))

Resource = dict[str, Any]


def documents(path: Path) -> list[Resource]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def resources(folder: Path) -> Iterator[Resource]:
    """What ``kubectl kustomize`` would gather: files and folders that a kustomization lists."""
    [listed] = documents(folder / "kustomization.yaml")
    assert set(listed) <= {"apiVersion", "kind", "namespace", "resources", "images"}
    for name in listed["resources"]:
        path = folder / name
        if path.is_dir():
            yield from resources(path)
        else:
            yield from documents(path)


EVERY = {
    f"{path.parent.name}/{path.stem}": document
    for path in sorted(KUBERNETES.rglob("*.yaml"))
    if path.name != "kustomization.yaml" and path.parent != CATALOGUE
    for document in documents(path)
}


def pod_of(resource: Resource) -> Resource | None:
    """The spec of the pods that a resource makes."""
    spec = resource.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    found: Resource | None = spec.get("template", {}).get("spec")
    return found


PODS = {name: pod for name, manifest in EVERY.items() if (pod := pod_of(manifest))}
JOBS = {
    name: manifest["spec"].get("jobTemplate", manifest)["spec"]
    for name, manifest in EVERY.items()
    if manifest["kind"] in ("Job", "CronJob")
}


def containers(pod: Resource) -> list[Resource]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def main(pod: Resource) -> Resource:
    """A batch job's one container."""
    [only] = pod["containers"]
    assert "initContainers" not in pod
    found: Resource = only
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", EVERY)
def test_manifest_is_valid_and_holds_no_unknown_key(name: str, version: str) -> None:
    kubernetes_validate.validate(EVERY[name], version, strict=True)


def test_misspelt_key_would_be_seen() -> None:
    wrong = {**EVERY["sharded/prepare"]}
    wrong["spec"] = {**wrong["spec"], "backoffLimitPerIndices": 3}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


MODELS_IMAGE = sorted((ROOT / "deploy" / "models-image").glob("*.yaml"))
IMAGE_VOLUMES = ("1.31", "1.37")


@pytest.mark.parametrize("version", IMAGE_VOLUMES)
@pytest.mark.parametrize("path", MODELS_IMAGE, ids=lambda path: path.stem)
def test_consumer_of_an_image_is_valid_and_restricted(path: Path, version: str) -> None:
    [manifest] = documents(path)
    kubernetes_validate.validate(manifest, version, strict=True)
    pod = pod_of(manifest)
    assert pod is not None
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert re.search(r"@sha256:[0-9a-f]{64}$", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_image_volumes_need_a_newer_schema_than_the_other_manifests() -> None:
    [manifest] = documents(ROOT / "deploy" / "models-image" / "consumer.yaml")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)


@pytest.mark.parametrize("way", WAYS)
def test_kustomization_lists_files_that_exist_and_names_are_unique(way: str) -> None:
    found = [
        (resource["kind"], resource["metadata"]["name"]) for resource in resources(KUBERNETES / way)
    ]
    assert len(found) == len(set(found))
    assert {kind for kind, _ in found} >= {"PersistentVolumeClaim", "Job", "CronJob", "Deployment"}


def test_every_manifest_is_listed_and_every_image_is_named() -> None:
    gathered = [resource for way in WAYS for resource in resources(KUBERNETES / way)]
    assert [name for name, manifest in EVERY.items() if manifest not in gathered] == []
    images = {container["image"] for pod in PODS.values() for container in containers(pod)}
    for way in WAYS:
        [listed] = documents(KUBERNETES / way / "kustomization.yaml")
        assert {image["name"] for image in listed["images"]} == images
        assert all(image["newTag"] != "latest" for image in listed["images"])


def merged(base: Any, patch: Any) -> Any:
    """A strategic merge, as kubectl does it: lists of named entries are merged by their names."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return {**base, **{key: merged(base.get(key), patch[key]) for key in patch}}
    if isinstance(base, list) and isinstance(patch, list):
        found = {entry.get("mountPath") or entry["name"]: entry for entry in base}
        for entry in patch:
            name = entry.get("mountPath") or entry["name"]
            found[name] = merged(found.get(name), entry)
        return list(found.values())
    return patch


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", JOBS)
def test_catalogue_from_outside_is_read_by_every_job(name: str, version: str) -> None:
    [component] = documents(CATALOGUE / "kustomization.yaml")
    assert component["kind"] == "Component"
    by_kind = {patch["target"]["kind"]: patch["path"] for patch in component["patches"]}
    [patch] = documents(CATALOGUE / by_kind[EVERY[name]["kind"]])
    assert patch["kind"] == EVERY[name]["kind"]
    whole = merged(EVERY[name], {"spec": patch["spec"]})
    kubernetes_validate.validate(whole, version, strict=True)
    pod = pod_of(whole)
    assert pod is not None
    container, before = main(pod), main(PODS[name])
    assert container.get("args") == before.get("args")
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert env.keys() == {e["name"] for e in before.get("env", ())} | {"PYTEST_ADDOPTS"}
    assert env["PYTEST_ADDOPTS"] == "--catalogue=/catalogue/models.toml"
    assert len(container["volumeMounts"]) == len(before["volumeMounts"]) + 1
    [volume] = [v for v in pod["volumes"] if v["name"] == "catalogue"]
    [source] = volume["projected"]["sources"]
    [made] = component["configMapGenerator"]
    assert made == {
        "name": source["configMap"]["name"],
        "files": ["models.toml", "models.lock.toml"],
    }


def test_catalogue_is_read_from_a_config_map(prepared: Path, tmp_path: Path) -> None:
    """A volume of a ConfigMap holds links: ``models.toml -> ..data/models.toml``."""
    data = tmp_path / "catalogue" / "..2026"
    shutil.copytree(SAMPLE.parent, data, ignore=shutil.ignore_patterns("*.py", "samples"))
    (tmp_path / "catalogue" / "..data").symlink_to(data.name)
    for path in data.iterdir():
        (tmp_path / "catalogue" / path.name).symlink_to(f"..data/{path.name}")
    options = {"PYTEST_ADDOPTS": f"--catalogue={tmp_path / 'catalogue' / SAMPLE.name}"}
    home = copy_home(prepared, tmp_path / "home")
    args = ("--offline", "-m", "pins", "--models", "tiny-embedding", "--model-home", home)
    done = run(*args, env=options)
    assert done.code == 0, done.out
    assert str(tmp_path / "catalogue") in done.out


@pytest.mark.parametrize("name", PODS)
def test_pod_keeps_to_the_restricted_standard(name: str) -> None:
    """The rules of Kubernetes' Pod Security Standards, level restricted; and a read-only root."""
    pod = PODS[name]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in containers(pod):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert set(context) & {"runAsUser", "privileged", "procMount"} == set()
        assert container["resources"]["limits"]["memory"]
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= {
        "persistentVolumeClaim",
        "emptyDir",
    }


@pytest.mark.parametrize("name", PODS)
def test_pod_mounts_what_it_names_and_can_write_no_more_than_it_must(name: str) -> None:
    pod = PODS[name]
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in containers(pod):
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert {mount["name"] for mount in mounts.values()} <= volumes
        writes = name.endswith("/prepare")
        assert mounts["/models"].get("readOnly", False) is not writes
        if container["name"] == "model-prep":
            assert {*mounts} == ({"/models", "/tmp"} if writes else {"/models", "/reports", "/tmp"})


@pytest.mark.parametrize("name", JOBS)
def test_batch_job_has_no_port_and_no_probe_and_is_not_restarted_in_place(name: str) -> None:
    pod = JOBS[name]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    wrong = {"ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"}
    assert wrong & set(main(pod)) == set()


@pytest.mark.parametrize("name", JOBS)
def test_exit_codes_mean_to_the_cluster_what_readme_says(name: str) -> None:
    job = JOBS[name]
    indexed = job.get("completionMode") == "Indexed"
    ignored, failed, counted = job["podFailurePolicy"]["rules"]
    assert ignored == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    container = main(job["template"]["spec"])["name"]
    assert failed["action"] == ("FailIndex" if indexed else "FailJob")
    assert failed["onExitCodes"] == {
        "containerName": container,
        "operator": "In",
        "values": [1, int(pytest.ExitCode.USAGE_ERROR)],
    }
    assert counted["action"] == "Count"
    assert counted["onExitCodes"]["values"] == [int(Exit.TRANSIENT)]
    assert counted["onExitCodes"]["containerName"] == container
    assert ("backoffLimitPerIndex" if indexed else "backoffLimit") in job


def test_as_many_pods_as_shares_and_no_more_than_models() -> None:
    job = EVERY["sharded/prepare"]["spec"]
    [option] = main(pod_of(EVERY["sharded/prepare"]) or {})["args"]
    shard = _shard(option.removeprefix("--shard="))
    repos = {spec.repo for spec in read_catalogue(ROOT / "models.toml").models}
    assert (shard.index, shard.count) == (None, job["completions"])
    assert job["parallelism"] <= job["completions"] <= len(repos)


def test_proofs_write_beside_the_home_and_not_into_it() -> None:
    for name in ("base/nightly", "sharded/accept"):
        args = main(PODS[name])["args"]
        assert args[0] == "--offline"
        options = dict(arg.split("=") for arg in args[1:])
        kinds = ["--summary", "--report", "--verdict-xml", "--metrics", "--junitxml"]
        assert [*options] == kinds
        assert all(place.startswith("/reports/") for place in options.values())
    [env] = main(PODS["base/nightly"])["env"]
    assert "/reports/$(POD_NAME).xml" in main(PODS["base/nightly"])["args"][-1]
    assert env["name"] == "POD_NAME"


def test_suite_takes_the_arguments_of_every_pod(tmp_path: Path) -> None:
    for name in ("base/nightly", "sharded/prepare"):
        args = main(PODS[name])["args"]
        here = [arg.replace("/reports", str(tmp_path)) for arg in args]
        home = f"--model-home={tmp_path / 'home'}"
        done = run(home, *here, "--collect-only", "-q", env={"JOB_COMPLETION_INDEX": "2"})
        assert done.code == 0, (name, done.out)


def test_gate_is_in_the_image_where_the_manifests_call_it() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "COPY deploy/ready.py ./deploy/\n" in dockerfile
    assert "WORKDIR /app\n" in dockerfile
    gates = [PODS["base/consumer"]["initContainers"][0]["command"]]
    consumer = COMPOSE["services"]["consumer"]
    gates.append([*consumer["entrypoint"], *consumer["command"]])
    for command in gates:
        assert command[:3] == ["python", "/app/deploy/ready.py", "/models"]
        assert [arg for arg in command[3:] if arg.startswith("/app/")] in (
            [],
            ["/app/models.lock.toml"],
        )


def test_compose_prepares_once_and_consumers_wait_for_it() -> None:
    assert set(COMPOSE) == {"services", "volumes"}  # no "name": the older docker-compose refuses it
    prepare, consumer = COMPOSE["services"]["prepare"], COMPOSE["services"]["consumer"]
    assert prepare["build"] == "."  # the same context that README and the Dockerfile name
    assert prepare["restart"] == "no"
    assert prepare["user"] == "1000:1000"
    assert prepare["volumes"] == ["models:/models"]
    assert consumer["volumes"] == ["models:/models:ro"]
    assert consumer["depends_on"] == {"prepare": {"condition": "service_completed_successfully"}}
    for service in (prepare, consumer):
        assert set(service) & {"ports", "expose", "healthcheck"} == set()
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(COMPOSE["volumes"]) == {"models"}


# Of the Compose Specification; a wrong key is refused by every engine, and by this test.
KEYS = {
    *("build", "image", "command", "entrypoint", "environment", "depends_on", "restart", "volumes"),
    *("user", "read_only", "cap_drop", "security_opt", "mem_limit", "tmpfs"),
}


def test_compose_uses_keys_of_the_specification() -> None:
    for service in COMPOSE["services"].values():
        assert set(service) - KEYS == set()


def test_dockerfile_has_nothing_that_hadolint_warns_of() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = process(hadolint, "Dockerfile", apart=True)
    assert (done.code, done.out) == (0, "")


def test_hadolint_would_warn(tmp_path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    wrong = tmp_path / "Dockerfile"
    shutil.copy(ROOT / "Dockerfile", wrong)
    wrong.write_text(wrong.read_text(encoding="utf-8") + "RUN cd /tmp\n", encoding="utf-8")
    done = process(hadolint, wrong, apart=True)
    assert (done.code, "DL3003" in done.out) == (1, True)


def test_dockerfile_makes_a_batch_job_of_a_numeric_user() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert len(re.findall(r"^FROM python:\$\{PYTHON_VERSION\}-slim", text, re.MULTILINE)) == 2
    assert "TRANSFORMERS_CACHE" not in text
    assert "EXPOSE" not in text
    assert re.findall(r"^(?:USER|HEALTHCHECK|VOLUME) .+$", text, re.MULTILINE) == [
        "VOLUME /models",
        "USER 1000:1000",
        "HEALTHCHECK NONE",
    ]
    for variable in ("PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", "HF_HOME=/models"):
        assert variable in text
