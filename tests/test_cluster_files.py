"""The cluster files of the docs: each is what its program reads, as far as that can be known without a cluster."""

from __future__ import annotations

import json
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "cluster"


def read(name: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(FOLDER / name)


def test_the_cluster_file_is_one_of_ray() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    found = find_spec("ray")
    assert found is not None and found.origin is not None
    schema = json.loads((Path(found.origin).parent / "autoscaler" / "ray-schema.json").read_text())
    checker = jsonschema.Draft7Validator(schema)
    cluster = read("cluster.yaml")
    assert [error.message for error in checker.iter_errors(cluster)] == []
    assert list(checker.iter_errors({**cluster, "head_nodetype": "head"}))
    assert cluster["head_node_type"] in cluster["available_node_types"]
    kinds = {node["node_config"]["InstanceType"] for node in cluster["available_node_types"].values()}
    assert len(kinds) == 1, "latencies are compared"


def test_the_job_of_kuberay_has_only_fields_that_there_are() -> None:
    # From KubeRay's definition of ray.io/v1 RayJob, against which the file was once checked; pods are Kubernetes' own.
    job = read("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    own = "entrypoint submissionMode shutdownAfterJobFinishes ttlSecondsAfterFinished backoffLimit rayClusterSpec"
    assert set(spec) == set(own.split()) and spec["submissionMode"] in {"K8sJobMode", "HTTPMode", "InteractiveMode"}
    assert set(cluster) == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    names = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
    assert all(set(group) <= names and "rayStartParams" in group for group in groups)
    for group in groups:
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert container["resources"] == groups[0]["template"]["spec"]["containers"][0]["resources"]
    # A retry runs in another pod, to which the lease of the one before says nothing.
    assert spec["backoffLimit"] == 0 or spec["entrypoint"].endswith(" --take-over")
    pinned = re.search(r"^ray==(\S+)$", (FOLDER.parents[1] / "constraints.txt").read_text(), re.M)
    assert pinned is not None and cluster["rayVersion"] == pinned[1]


def test_the_slurm_job_is_a_script_that_stops_without_a_space() -> None:
    script = FOLDER / "slimfront.slurm"
    assert subprocess.run(["bash", "-n", script], capture_output=True).returncode == 0
    done = subprocess.run(["bash", script], capture_output=True, text=True)
    assert done.returncode == 2 and "which space?" in done.stderr
    # Directives after the first command are ignored by Slurm.
    lines = script.read_text().splitlines()
    first = next(index for index, line in enumerate(lines) if line and not line.startswith("#"))
    directives = [index for index, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert len(directives) >= 6 and max(directives) < first


def test_the_slurm_job_starts_ray_on_each_node_and_hands_on_the_code_of_the_driver(tmp_path: Path) -> None:
    """With stand-ins for Slurm, Ray and the driver that write down how they are called."""
    calls, programs = tmp_path / "calls", tmp_path / "bin"
    programs.mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text("")
    stand_ins = {
        "scontrol": "printf 'n1\\nn2\\nn3\\n'",
        "srun": f'echo "srun $*" >> {calls}; case "$*" in *hostname*) echo 10.0.0.1;; esac',
        "ray": "exit 0",
        "python": f'echo "python $*" >> {calls}; exit 3',
    }
    for name, body in stand_ins.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    slurm = {
        "SLURM_JOB_ID": "77",
        "SLURM_JOB_NODELIST": "n[1-3]",
        "SLURM_CPUS_PER_TASK": "16",
        "SLURM_GPUS_ON_NODE": "4",
    }
    done = subprocess.run(
        ["bash", FOLDER / "slimfront.slurm", "a space.yaml", "--trials", "9"],
        capture_output=True,
        text=True,
        env={"PATH": f"{programs}:/usr/bin:/bin", "SLURM_SUBMIT_DIR": str(tmp_path), **slurm},
    )
    assert done.returncode == 3, done.stderr
    said = calls.read_text()
    assert "python -m search.run a space.yaml --trials 9 --address 10.0.0.1:20077" in said
    for node, role in (("n1", "--head --node-ip-address=10.0.0.1 --port=20077"), ("n2", "--address=10.0.0.1:20077")):
        assert re.search(
            rf"--cpus-per-task=16 --nodelist={node} --overlap ray start {role}.*--num-cpus=16 --num-gpus=4", said
        )
    assert said.count("ray start") == 3


def test_the_commands_in_the_cluster_files_are_ours() -> None:
    """The options of search.run that they use are its own, and their spaces ship."""
    from search.run import main

    names = set(main.__annotations__) | {"set"}
    found = 0
    for path in FOLDER.iterdir():
        for command in re.findall(r"-m search\.run (.*(?:\n +--.*)*)", path.read_text()):
            found += 1
            for option in re.findall(r"--([a-z-]+)", command):
                assert option.replace("-", "_") in names, (path.name, option)
            for space in re.findall(r"spaces/\S+\.yaml", command):
                assert (FOLDER.parents[1] / space).is_file()
    assert found >= 3
