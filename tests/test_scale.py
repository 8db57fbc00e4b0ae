"""The scripts of docs/scale.md for clusters give every worker a TF_CONFIG of its own."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from ser_keras.cli import build_parser
from ser_keras.distribution.cluster import Cluster

PAGE = (Path(__file__).parents[1] / "docs" / "scale.md").read_text(encoding="utf-8")
SAY = 'printf "%s\\n%s\\n" "$TF_CONFIG" "$*"\n'


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def run_script(tmp_path):
    """Return a function that runs a script with programs that stand in for real ones, and returns what it prints."""

    def run(script, programs, **environment):
        for name, text in programs.items():
            (tmp_path / name).write_text(f"#!/bin/bash\n{text}")
            (tmp_path / name).chmod(0o755)
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", **environment}
        return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)

    return run


def check_workers(printed, number, monkeypatch):
    """Each of two printed lines a worker is its TF_CONFIG, and a command that the program takes."""
    lines = printed.splitlines()
    assert len(lines) == 2 * number
    for index, (tf_config, words) in enumerate(zip(lines[::2], lines[1::2], strict=True)):
        monkeypatch.setenv("TF_CONFIG", tf_config)
        cluster = Cluster.from_environment()
        assert (cluster.index, len(cluster.workers)) == (index, number)
        assert build_parser().parse_args(words.split()).strategy == "multiworker"
    return cluster.workers


def test_the_job_of_kubernetes(run_script, monkeypatch):
    (text,) = blocks("yaml")
    service, job = yaml.safe_load_all(text)
    name, pod = job["metadata"]["name"], job["spec"]["template"]["spec"]
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["selector"] == {"job-name": name}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == int(pod["containers"][0]["env"][0]["value"])
    (worker,) = pod["containers"]
    printed = ""
    for index in range(3):
        variables = {"NUM_WORKERS": "3", "JOB_COMPLETION_INDEX": str(index)}
        printed += run_script(worker["args"][0], {"ser-keras": SAY}, **variables).stdout
    workers = check_workers(printed, 3, monkeypatch)
    port = service["spec"]["ports"][0]["port"]
    assert workers == tuple(f"{name}-{index}.{pod['subdomain']}:{port}" for index in range(3))
