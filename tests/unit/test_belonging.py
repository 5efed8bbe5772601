"""Which control groups a unit, a container or a pod is: by the files of each engine."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from accepttrace.cli import options
from accepttrace.cli.who import who
from accepttrace.sockets import belonging, procfs

A, B, C, D = "a" * 64, "b" * 64, f"ab{'c' * 62}", "d" * 64
UID = "0a1b2c3d-0001-4002-8003-00000000000f"
SLICE = f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice"
USER = "/user.slice/user-1000.slice/user@1000.service"


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Those of the processes, a process each; the engines' files are in `tmp_path`."""
    paths: list[str] = []
    monkeypatch.setattr(procfs, "pids", lambda: set(range(len(paths))))
    monkeypatch.setattr(procfs, "cgroup", lambda pid: paths[pid])
    for name in ("DOCKER", "STORAGE", "CONTAINERD", "PODS", "LOGS"):
        monkeypatch.setattr(belonging, name, str(tmp_path / name))
    belonging.called.cache_clear()
    return paths


def state(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(text))


def test_a_unit_by_its_name_with_or_without_its_kind(groups: list[str]) -> None:
    groups += ["/system.slice/nginx.service/inner", "/system.slice/x.scope", "/"]
    assert belonging.units("nginx") == belonging.units("nginx.service")
    assert belonging.units("nginx") == {"/system.slice/nginx.service"}
    assert belonging.units("x.scope") == {"/system.slice/x.scope"}
    assert belonging.units("system.slice") == {"/system.slice"}
    with pytest.raises(ValueError, match="no process is in a unit 'x'; there are nginx.service"):
        belonging.units("x")
    with pytest.raises(ValueError, match="the name of a unit is missing"):
        belonging.units(" ")


def test_the_systems_own_comes_before_those_of_users_and_containers(groups: list[str]) -> None:
    groups += [f"{USER}/app.slice/web.service", f"/docker/{A}/system.slice/web.service"]
    with pytest.raises(ValueError, match=r"may be .* or .*user@1000.*: use --cgroup"):
        belonging.units("web")
    groups += ["/system.slice/web.service"]
    assert belonging.units("web") == {"/system.slice/web.service"}
    assert belonging.units("user@1000.service") == {USER}


def test_a_container_by_number_and_by_its_name_at_each_engine(
    groups: list[str], tmp_path: Path
) -> None:
    docker, podman = f"/system.slice/docker-{A}.scope", f"/machine.slice/libpod-{B}.scope"
    containerd = f"{SLICE}/cri-containerd-{C}.scope"
    groups += [f"{docker}/in/ner", f"{podman}/container", containerd, "/lxc.payload.box/init.scope"]
    groups += [
        f"/machine.slice/libpod-conmon-{B}.scope",
        "/machine.slice/systemd-nspawn@my.service",
    ]
    state(tmp_path / "DOCKER" / A / "config.v2.json", {"Name": "/web"})
    state(tmp_path / "STORAGE", [{"id": B, "names": ["pod-man", "other"]}, 7, {"id": B}])
    notes = {"io.kubernetes.cri.container-name": "app", "else": "x"}
    state(tmp_path / "CONTAINERD" / "k8s.io" / C / "config.json", {"annotations": notes})
    for names, path in (
        ((A, A[:12], "aaaa", "web"), docker),
        ((B, "pod-man", "other"), podman),
        ((C[:4], "app"), containerd),
        (("box",), "/lxc.payload.box"),
        (("my",), "/machine.slice/systemd-nspawn@my.service"),
    ):
        for name in names:
            assert belonging.containers(name) == {path}, name
    for unknown in ("aaa", "x", "init.scope", "pod"):
        with pytest.raises(ValueError, match="there are .*web"):
            belonging.containers(unknown)


def test_two_of_one_name_are_not_guessed(groups: list[str], tmp_path: Path) -> None:
    groups += [f"/docker/{A}", f"/docker/{B}", f"{USER}/docker-{C}.scope"]
    for number in (A, B, C):
        state(tmp_path / "DOCKER" / number / "config.v2.json", {"Name": "/web"})
    with pytest.raises(ValueError, match=f"may be /docker/{A} or /docker/{B}: use --cgroup"):
        belonging.containers("web")
    assert belonging.containers(C) == {f"{USER}/docker-{C}.scope"}
    groups += [f"/docker/{A}/docker/{B}"]  # one that calls a group of its own like another
    assert belonging.containers(B) == {f"/docker/{B}"}


def test_a_pod_by_its_name_namespace_and_uid(groups: list[str], tmp_path: Path) -> None:
    groups += [f"{SLICE}/cri-containerd-{A}.scope", f"{SLICE}/cri-containerd-{B}.scope"]
    assert belonging.pods(UID) == {SLICE}
    with pytest.raises(ValueError, match=f"no process is in a pod 'web-0'; there are {UID}"):
        belonging.pods("web-0")
    (tmp_path / "PODS" / f"shop_web-0_{UID}").mkdir(parents=True)
    (tmp_path / "PODS" / "not a pod").mkdir()
    assert belonging.pods("web-0") == belonging.pods("shop/web-0") == {SLICE}
    with pytest.raises(ValueError, match="no process is in a pod 'other/web-0'"):
        belonging.pods("other/web-0")


@pytest.mark.usefixtures("groups")
def test_what_a_process_shows_is_the_name_that_the_engine_gave(tmp_path: Path) -> None:
    state(tmp_path / "DOCKER" / A / "config.v2.json", {"Name": "/web"})
    state(tmp_path / "STORAGE", [{"id": B, "names": [f"k8s_app_web-0_shop_{UID}_0"]}])
    (tmp_path / "PODS" / f"shop_web-0_{UID}").mkdir(parents=True)
    (tmp_path / "LOGS").mkdir()
    (tmp_path / "LOGS" / f"web-0_shop_side-car-{D}.log").touch()
    pod = "shop/web-0"
    for path, expected in (
        (f"/system.slice/docker-{A}.scope/in/ner", ("web", None)),
        (f"{SLICE}/crio-{B}.scope", ("app", pod)),
        (f"{SLICE}/cri-containerd-{C}.scope", (C[:12], pod)),
        (f"/../..{SLICE}/cri-containerd-{D}.scope", ("side-car", pod)),  # from within another
        ("/lxc.payload.box/init.scope", ("box", None)),
        ("/system.slice/nginx.service", (None, None)),
        ("/", (None, None)),
    ):
        assert belonging.called(path) == expected, path


@pytest.mark.usefixtures("groups")
def test_nobody_takes_the_name_of_a_container_or_a_pod_by_the_name_of_a_group(
    tmp_path: Path,
) -> None:
    state(tmp_path / "DOCKER" / A / "config.v2.json", {"Name": "/web"})
    (tmp_path / "PODS" / f"shop_web-0_{UID}").mkdir(parents=True)
    assert belonging.called(f"{USER}/docker-{A}.scope") == (A[:12], None)
    assert belonging.called(f"/docker/{B}/docker/{A}") == (A[:12], None)
    assert belonging.called(f"{USER}{SLICE}") == (None, UID)
    assert belonging.called(f"/docker/{B}{SLICE}") == (B[:12], UID)


@pytest.mark.usefixtures("groups")
def test_names_of_any_length_and_depth_are_bounded(tmp_path: Path) -> None:
    state(tmp_path / "DOCKER" / A / "config.v2.json", {"Name": "\ud800" + "x" * 100_000})
    container, _ = belonging.called(f"/docker/{A}")
    assert container == "?" + "x" * (belonging.NAME_CHARACTERS - 1)
    began = time.monotonic()
    assert belonging.called(f"/docker/{A}" + f"/{B[:60]}" * 65) == (container, None)
    assert len(belonging._above("/a" * 2000)) == belonging.LEVELS + 1
    deep = "/a" * 2000 + f"/docker/{A}"
    assert belonging.called(deep) == (A[:12], None)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("text", ["", "[", "7", '{"Name": 7}', "[" * 100_000, '{"annotations": 7}'])
def test_files_that_hold_something_else_name_nothing(
    text: str, groups: list[str], tmp_path: Path
) -> None:
    groups += [f"/docker/{A}"]
    for path in (f"DOCKER/{A}/config.v2.json", "STORAGE", f"CONTAINERD/x/{A}/config.json"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    stored, namespaces = belonging._stored(), belonging._listed(belonging.CONTAINERD)
    assert set(belonging._names_of(A, stored, namespaces)) <= {"7"}
    with pytest.raises(ValueError, match=A[:12]):
        belonging.containers("web")


def test_where_there_is_none_that_is_said(groups: list[str]) -> None:
    groups += ["/", "/plain"]
    with pytest.raises(ValueError, match="no process is in a container 'web'; there is none"):
        belonging.containers("web")


@pytest.mark.parametrize("option", ["--unit", "--container"])
def test_names_that_others_chose_are_harmless_in_an_error(
    option: str, groups: list[str], tmp_path: Path
) -> None:
    groups += ["/\x1b[2J.service", f"/docker/{A}"]
    state(tmp_path / "DOCKER" / A / "config.v2.json", {"Name": "/\x1b]0;x\x07\u202e"})
    done = CliRunner().invoke(who, [option, "web"])
    assert (done.exit_code, "there are" in done.output) == (2, True)
    assert not set("\x1b\x07\u202e") & set(done.output)


def test_kinds_of_places_must_all_hold(groups: list[str]) -> None:
    groups += ["/a.slice/b.service/c", "/d.service"]

    def taken(**values: frozenset[str]) -> frozenset[str]:
        kinds = {kind: () for kind in ("units", "containers", "pods")}
        asked = {kind: (paths,) for kind, paths in values.items() if kind != "cgroups"}
        return options._cgroups({"cgroups": values.get("cgroups", ()), **kinds, **asked})

    inner, outer = frozenset({"/a.slice/b.service"}), frozenset({"/a.slice", "/e"})
    assert taken() == frozenset()
    assert taken(units=inner) == inner
    assert taken(units=inner, cgroups=outer) == taken(pods=outer, containers=inner) == inner
    with pytest.raises(click.UsageError, match="no process is in all that was asked for"):
        taken(units=inner, cgroups=frozenset({"/d.service"}))
