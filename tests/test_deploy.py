"""What `deploy/` and `docker-compose.yml` say is true of the server and of the local topologies.

No container engine is needed: Debian's docker-compose reads the file, promtool the rules, and what
both name is held against the server itself.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from chaos.nginx import ROUND_ROBIN, configuration
from chaos.services import MissingProgram
from chaos.toxiproxy import ToxiproxyServer
from reference_server.metrics import Metrics
from streamgauge.profile_file import load_profile
from tests.needs import missing

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
METRIC = re.compile(r"\b(?:stream|store|jobs|quota)_[a-z_]+")


def tool(*command: str) -> str:
    """What a tool of the system says; the test is left out where it is not installed."""
    if shutil.which(command[0]) is None:
        missing(f"{command[0]} is not installed")
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def services() -> dict[str, str]:
    """The services of the compose file, each as docker-compose writes it when it is resolved."""
    resolved = tool("docker-compose", "-f", "docker-compose.yml", "config")
    text = re.split(r"^services:\n", resolved, flags=re.MULTILINE)[1]
    text = re.split(r"^\S", text, flags=re.MULTILINE)[0]
    parts = re.split(r"^  ([\w-]+):\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_images_have_exact_tags(services: dict[str, str]) -> None:
    """What runs tomorrow is what ran today."""
    images = [m[1] for each in services.values() for m in re.finditer(r" image: (\S+)", each)]
    ours = "streamgauge-reference-server"
    assert len(images) == len(services)
    assert [i for i in images if i != ours and not re.search(r":v?\d+\.\d+", i)] == []


def test_ports_are_the_loopbacks(services: dict[str, str]) -> None:
    """Nothing of it can be reached from another machine."""
    ports = [
        port
        for each in services.values()
        for found in re.finditer(r"    ports:\n((?:    - .+\n)+)", each)
        for port in found[1].splitlines()
    ]
    assert len(ports) >= 6
    assert [port for port in ports if "127.0.0.1:" not in port] == []


def test_toxiproxy_takes_its_file(services: dict[str, str]) -> None:
    """The links that the file names are there when Toxiproxy has started, on open ports."""
    assert "/etc/toxiproxy.json" in services["toxiproxy"]
    links = json.loads((DEPLOY / "toxiproxy.json").read_text())
    for link in links:
        assert f":{link['listen'].rpartition(':')[2]}" in services["toxiproxy"]
    try:
        with ToxiproxyServer() as server:
            answer = httpx.post(
                f"http://127.0.0.1:{server.port}/populate",
                json=[{**link, "listen": "127.0.0.1:0"} for link in links],
            )
            assert answer.status_code == 201, answer.text
            assert {each["name"] for each in answer.json()["proxies"]} == {"edge"}
    except MissingProgram as error:
        missing(str(error))


def test_instances_have_settings_that_exist(services: dict[str, str]) -> None:
    """A misspelt setting would be ignored, and the deployment would be another one."""
    known = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    servers = {name: each for name, each in services.items() if name.startswith("server-")}
    assert len(servers) == 3
    for service in servers.values():
        settings = re.findall(r"^      ([A-Z_]+):", service, re.MULTILINE)
        assert len(settings) >= 8
        assert set(settings) <= known


def test_the_balancer_is_the_topologys() -> None:
    """deploy/nginx.conf is what chaos/nginx.py writes, with the names of the services."""
    servers = [f"server-{number}:8000" for number in (1, 2, 3)]
    wanted = configuration("/tmp", "0.0.0.0:8000", servers, ROUND_ROBIN)
    assert (DEPLOY / "nginx.conf").read_text() == wanted.strip() + "\n"


def test_the_hooks_name_services(services: dict[str, str]) -> None:
    """Each hook of deploy/hooks.toml is a command about a service that there is."""
    hooks = load_profile(str(DEPLOY / "hooks.toml")).hooks
    for name in ("kill", "terminate", "pause", "unpause", "restart"):
        words = getattr(hooks, name)
        assert words[:2] == ("docker", "compose")
        for number in "123":
            assert words[-1].replace("{instance}", number) in services
    for name in ("stop_store", "start_store", "stop_broker", "start_broker"):
        assert getattr(hooks, name)[-1] in services


def test_the_alerts_go_off_and_stay_silent() -> None:
    """promtool plays the rules: each fires on its fault, and on nothing else."""
    said = tool("promtool", "test", "rules", "deploy/alerts_test.yml")
    assert "SUCCESS" in said
    tool("promtool", "check", "config", "--lint=all", "deploy/prometheus.yml")


def test_every_alert_is_in_the_runbook() -> None:
    """Whoever is woken finds out what it means."""
    alerts = re.findall(r"- alert: (\w+)", (DEPLOY / "alerts.yml").read_text())
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert len(alerts) >= 5
    assert re.findall(r"^### (\w+)$", page, re.MULTILINE) == alerts


@pytest.mark.parametrize("name", ["alerts.yml", "grafana/streamgauge.json"])
def test_what_is_watched_is_exposed(name: str) -> None:
    """A rule or a panel about a metric that does not exist is silent for ever."""
    metrics = Metrics()
    for report in ("persist_failed", "job_taken_over", "quota_rejected", "reader_cut"):
        getattr(metrics, report)()
    metrics.watch_readers(lambda: 0.0, lambda: 0.0, lambda: 0.0)
    exposed = set(METRIC.findall(metrics.exposition().decode()))
    watched = set(METRIC.findall((DEPLOY / name).read_text()))
    assert watched
    assert watched <= exposed
