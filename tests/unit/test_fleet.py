"""What goes beside the exporter: rules, dashboard, and the recipes for many machines."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from accepttrace.cli import cli
from accepttrace.cli.exporter import LISTEN, parse_listen
from accepttrace.model.verdict import WORDS
from accepttrace.probe.privileges import TO_SEE_HOLDERS, TO_TRACE
from accepttrace.sockets import belonging
from accepttrace.views import metrics

yaml = pytest.importorskip("yaml")

DOCS = Path(__file__).parents[2] / "docs"
PROMETHEUS, FLEET = DOCS / "prometheus", DOCS / "fleet"
RULES = PROMETHEUS / "rules.yml"
TESTS = PROMETHEUS / "rules.tests.yml"
DASHBOARD = PROMETHEUS / "dashboard.json"
UNIT = FLEET / "accepttrace-exporter.service"
SERIES = {name for metric in metrics.METRICS for name in metric.written}
LABELS = {name for metric in metrics.METRICS for name in metric.label_names("slot")}
REASONS = {*metrics.DROP_REASONS.values(), *metrics.LOSS_REASONS.values()}
EXPOSED = 4.0  # at most, as `systemd-analyze security` has it
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def expressions_of_rules() -> list[str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def expressions_of_dashboard() -> list[str]:
    board = json.loads(DASHBOARD.read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def queries_of_variables() -> list[str]:
    board = json.loads(DASHBOARD.read_text())
    return [one["query"] for one in board["templating"]["list"]]


def checked(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("text", [*expressions_of_rules(), *expressions_of_dashboard()])
def test_what_is_asked_for_is_exported(text: str) -> None:
    asked = set(re.findall(r"(?<!:)\baccepttrace_\w+", text))
    assert asked <= SERIES
    words = {metrics._word(word) for word in WORDS}
    assert set(re.findall(r'verdict="(\w+)"', text)) <= words
    for names in re.findall(r"(?:by|without|on|group_left) ?\(([\w, ]*)\)", text):
        known = {*LABELS, "job", "instance", "le", "pid"}
        assert set(filter(None, names.split(", "))) <= known


def plain(value: Any) -> Any:
    """A model of Grafana's as the JSON that it stands for."""
    if hasattr(value, "to_json"):
        return plain(value.to_json())
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def without_more(found: Any, asked: Any) -> Any:
    """Only what stands in `asked`, too: the model adds its defaults."""
    if isinstance(asked, dict) and isinstance(found, dict):
        return {key: without_more(found[key], one) for key, one in asked.items() if key in found}
    if isinstance(asked, list) and isinstance(found, list) and len(asked) == len(found):
        return [without_more(*pair) for pair in zip(found, asked, strict=True)]
    return found


def test_grafanas_own_model_of_a_dashboard_knows_all_that_it_says() -> None:
    models: Any = pytest.importorskip("grafana_foundation_sdk.models.dashboard")
    dashboard = json.loads(DASHBOARD.read_text())
    known = plain(models.Dashboard.from_json(json.loads(DASHBOARD.read_text())))
    assert without_more(known, dashboard) == dashboard
    misspelt = json.loads(DASHBOARD.read_text())
    misspelt["panels"][0]["fieldConfg"] = {}
    known = plain(models.Dashboard.from_json(misspelt))
    assert without_more(known, misspelt) != misspelt


def test_variables_of_the_dashboard_are_of_what_is_exported() -> None:
    asked = set(re.findall(r"\baccepttrace_\w+", " ".join(queries_of_variables())))
    assert asked
    assert asked <= SERIES


def test_panels_do_not_overlap_and_have_a_title() -> None:
    board = json.loads(DASHBOARD.read_text())
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in board["panels"]]
    assert len(set(places)) == len(places)
    assert len({p["id"] for p in board["panels"]}) == len(board["panels"])
    assert all(p["title"] and p["targets"] for p in board["panels"])


@promtool
def test_the_rules_do_what_they_should() -> None:
    checked("promtool", "check", "rules", RULES)
    checked("promtool", "test", "rules", TESTS)
    checked("promtool", "check", "config", PROMETHEUS / "prometheus.yml")


def test_every_alert_is_tested_to_be_silent_and_to_fire() -> None:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    silent, firing = yaml.safe_load(TESTS.read_text())["tests"]
    assert {one["alertname"] for one in silent["alert_rule_test"]} == alerts
    assert set(re.findall(r'alertname="(\w+)"', str(firing["promql_expr_test"]))) == alerts


@promtool
def test_what_the_dashboard_asks_can_be_asked(tmp_path: Path) -> None:
    texts = [one.replace("$__rate_interval", "5m") for one in expressions_of_dashboard()]
    rules = [{"record": f"panel:{at}", "expr": text} for at, text in enumerate(texts)]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    checked("promtool", "check", "rules", file)


def test_the_collector_scrapes_where_the_exporter_listens() -> None:
    config = yaml.safe_load((PROMETHEUS / "otel-collector.yml").read_text())
    (job,) = config["receivers"]["prometheus"]["config"]["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [LISTEN]
    pipeline = config["service"]["pipelines"]["metrics"]
    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) <= set(config[kind])


def settings() -> dict[str, str]:
    lines = UNIT.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")


def test_the_unit_has_the_capabilities_it_needs_and_few_more() -> None:
    held = set(settings()["CapabilityBoundingSet"].split())
    assert held == {*TO_TRACE, *TO_SEE_HOLDERS, "CAP_SYS_NICE"}
    assert set(settings()["AmbientCapabilities"].split()) == held


def test_the_unit_runs_a_command_that_exists() -> None:
    assert settings()["ExecStart"].split() == ["/usr/bin/accepttrace", "exporter"]
    variable, value = settings()["Environment"].split("=")
    assert variable == "ACCEPTTRACE_EXPORTER_LISTEN"
    assert parse_listen(value) == parse_listen(LISTEN)
    done = CliRunner().invoke(cli, ["exporter"], env={variable: "nowhere"}, standalone_mode=True)
    assert "is no address with a port" in done.output


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_unit_is_sandboxed() -> None:
    command = ("systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT))
    done = subprocess.run(command, capture_output=True, text=True)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze has no --offline")
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSED


def test_the_daemonset_is_confined_and_asks_the_api_for_nothing() -> None:
    documents: list[Any] = list(yaml.safe_load_all((FLEET / "daemonset.yaml").read_text()))
    assert [one["kind"] for one in documents] == ["Namespace", "DaemonSet"]
    template = documents[1]["spec"]["template"]
    pod = template["spec"]
    assert pod["hostPID"]
    assert pod["automountServiceAccountToken"] is False
    assert template["metadata"]["labels"] == documents[1]["spec"]["selector"]["matchLabels"]
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert security["privileged"] is False
    assert security["capabilities"]["drop"] == ["ALL"]
    held = {f"CAP_{name}" for name in security["capabilities"]["add"]}
    assert held == {*TO_TRACE, *TO_SEE_HOLDERS, "CAP_SYS_ADMIN", "CAP_SYS_NICE"}
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert mounted == {one["name"]: one["hostPath"]["path"] for one in pod["volumes"]}
    assert {*mounted.values()} == {belonging.PODS, belonging.LOGS}
    _, *arguments = container["args"]
    listen = dict(zip(arguments[::2], arguments[1::2], strict=True))["--listen"]
    assert parse_listen(listen)[1] == container["ports"][0]["containerPort"]


def test_the_image_has_what_the_exporter_needs() -> None:
    recipe = (FLEET / "Containerfile").read_text().replace("\\\n", " ")
    steps = re.findall(r"^(FROM|RUN|COPY|ENV|USER|EXPOSE|ENTRYPOINT|CMD) (.*)$", recipe, re.M)
    assert [step for step, _ in steps].count("FROM") == 2
    assert "[exporter" in recipe
    assert "libbpf1" in [text for step, text in steps if step == "RUN"][-1]
    assert steps[-2:] == [("ENTRYPOINT", '["accepttrace"]'), ("CMD", '["exporter"]')]
