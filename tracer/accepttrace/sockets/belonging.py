"""Control groups by the names that people use: units of systemd, containers, pods.

A container's name and a pod's stand in files of the engine on this machine, which is not asked
itself. Anybody may call a control group of their own as they like: what lies within a user's
session, or in another container, is taken only where nothing outside has the name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

from accepttrace.facts.places import CONTAINER, pod_of
from accepttrace.sockets import procfs

SHORTEST: Final = 4  # digits of a container's number that are taken for it
UNIT: Final = re.compile(r"[^/]+\.(?:service|scope|socket|slice|mount)$")
SESSION: Final = re.compile(r"user@\d+\.service$")
MONITOR: Final = "conmon"  # beside a container of podman or CRI-O, not in it
STATE_BYTES: Final = 1 << 20
SHOWN: Final = 16  # names that an error lists
LISTED: Final = 4096  # entries of a folder
NAME_CHARACTERS: Final = 320  # Kubernetes allows 63 of a namespace and 253 of a pod
REMEMBERED: Final = 4096  # control groups
LEVELS: Final = 32  # of groups within one another; deeper ones go by what they lie in

DOCKER: Final = "/var/lib/docker/containers"
STORAGE: Final = "/var/lib/containers/storage/overlay-containers/containers.json"  # podman, CRI-O
CONTAINERD: Final = "/run/containerd/io.containerd.runtime.v2.task"
PODS: Final = "/var/log/pods"
LOGS: Final = "/var/log/containers"  # POD_NAMESPACE_CONTAINER-NUMBER.log, of any engine
OF_POD: Final = re.compile("k8s_([^_]+)_")  # of CRI-O and docker: k8s_CONTAINER_POD_NAMESPACE_…
NAMES: Final = ("nerdctl/name", "io.kubernetes.cri.container-name", "io.kubernetes.container.name")

Namer = Callable[[str], Iterable[str]]  # all that a control group of this path is called


def units(text: str) -> frozenset[str]:
    """The control group of a unit: `nginx`, `nginx.service`. ValueError, as of all of these."""
    names = {text} if UNIT.fullmatch(text) else {text, f"{text}.service"}
    return _found(text, "unit", lambda path: UNIT.findall(path), names)


def containers(text: str) -> frozenset[str]:
    """That of a container, by its name, or by its number or the beginning of that."""
    stored, namespaces = _stored(), _listed(CONTAINERD)

    def names(path: str) -> Iterator[str]:
        number = CONTAINER.search(_last(path))
        if not _begins_container(path):
            return
        yield procfs.container_id(path) or ""
        if number:
            yield from _names_of(number[0], stored, namespaces)
            if len(text) >= SHORTEST and number[0].startswith(text):
                yield text

    return _found(text, "container", names, {text})


def pods(text: str) -> frozenset[str]:
    """That of a Kubernetes pod: its name, `NAMESPACE/NAME`, or its uid."""
    known = pod_names()

    def names(path: str) -> Iterator[str]:
        if uid := pod_of(_last(path)):
            yield uid
            yield from known.get(uid, ())

    return _found(text, "pod", names, {text})


@lru_cache(maxsize=REMEMBERED)
def called(path: str) -> tuple[str | None, str | None]:
    """The container and the pod (NAMESPACE/NAME) of a control group, as people call them.

    Their number and uid where no file has a name for them, or where whoever is in a container or
    in a user's session may have called the group so. None: it is in none.
    """
    above = _above(path)
    container, pod = procfs.container_id(path), None
    own = next((each for each in reversed(above) if _begins_container(each)), "")
    number = CONTAINER.search(_last(own))
    if number and not _depth(own):
        container = next(iter(_names_of(number[0], _stored(), _listed(CONTAINERD))), container)
    of_pod = next((each for each in above if pod_of(_last(each))), "")
    if of_pod:
        pod = uid = pod_of(_last(of_pod)) or ""
        _, pod = pod_names().get(uid, (uid, uid)) if not _depth(of_pod) else (uid, uid)
    return container, pod


def _found(text: str, noun: str, names: Namer, wanted: set[str]) -> frozenset[str]:
    if not text.strip():
        raise ValueError(f"the name of a {noun} is missing")
    called = {path: set(names(path)) for path in _paths()}
    depths = {path: _depth(path) for path, some in called.items() if some & wanted}
    found = {path for path, depth in depths.items() if depth == min(depths.values())}
    if not found:
        some = sorted(set().union(*called.values()))[:SHOWN]
        there = f"; there are {', '.join(some)}" if some else "; there is none"
        raise ValueError(f"no process is in a {noun} {text!r}{there}")
    if len(found) > 1:
        raise ValueError(f"{text!r} may be {' or '.join(sorted(found)[:SHOWN])}: use --cgroup")
    return frozenset(found)


def _paths() -> set[str]:
    """The control groups of all processes, and those above them."""
    found: set[str] = set()
    for pid in procfs.pids():
        with suppress(OSError):
            path = procfs.cgroup(pid) or ""
            found.update(_above(path))
    return found - {""}


def _depth(path: str) -> int:
    """How many sessions of users and containers it lies within: they name what is in theirs."""
    above = _above(path)[:-1]
    return sum(bool(SESSION.search(each)) or _begins_container(each) for each in above)


def _above(path: str) -> list[str]:
    """The control groups that it lies within, and itself, from the top on."""
    return list(accumulate(path.split("/")[1 : LEVELS + 1], "{}/{}".format, initial=""))


def _begins_container(path: str) -> bool:
    """Whether it is that of a container as a whole."""
    own, above = procfs.container_id(path), procfs.container_id(path.rpartition("/")[0])
    return own is not None and own != above and MONITOR not in _last(path)


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _names_of(
    number: str, stored: Sequence[dict[str, Any]], namespaces: Sequence[str]
) -> list[str]:
    """What docker, podman, CRI-O or containerd call the container of this number (64 digits)."""
    found = [str(_json(f"{DOCKER}/{number}/config.v2.json").get("Name", "")).lstrip("/")]
    for one in stored:
        if one.get("id") == number and isinstance(one.get("names"), list):
            found += map(str, one["names"])
    for namespace in namespaces:
        notes = _json(f"{CONTAINERD}/{namespace}/{number}/config.json").get("annotations")
        if isinstance(notes, dict):
            found += [str(notes[key]) for key in NAMES if key in notes]
    ending = f"-{number}.log"
    for log in _listed(LOGS):
        if log.endswith(ending):
            found.append(log.removesuffix(ending).rpartition("_")[2])
    in_pod = [match[1] for name in found if (match := OF_POD.match(name))]
    return [_bounded(name) for name in (*in_pod, *found) if name]


def _bounded(name: str) -> str:
    """A name of any length and of half characters, as others may have chosen it."""
    return name[:NAME_CHARACTERS].encode("utf-8", "replace").decode()


def pod_names() -> dict[str, tuple[str, str]]:
    """uid → `NAME`, `NAMESPACE/NAME`. Source: folders of logs, NAMESPACE_NAME_UID."""
    found = {}
    for folder in _listed(PODS):
        namespace, _, rest = folder.partition("_")
        name, _, uid = rest.rpartition("_")
        if namespace and name:
            found[uid] = (_bounded(name), _bounded(f"{namespace}/{name}"))
    return found


def _stored() -> list[dict[str, Any]]:
    try:
        return _stored_at(STORAGE, os.stat(STORAGE).st_mtime_ns)
    except OSError:
        return []


@lru_cache(maxsize=1)
def _stored_at(path: str, changed_ns: int) -> list[dict[str, Any]]:  # noqa: ARG001
    """The file names all containers, and may be asked for each of them."""
    stored = _read(path)
    return [one for one in stored if isinstance(one, dict)] if isinstance(stored, list) else []


def _json(path: str) -> dict[str, Any]:
    found = _read(path)
    return found if isinstance(found, dict) else {}


def _read(path: str) -> object:
    """The JSON in a file; None where there is none that can be read."""
    import json  # where there is a container to be named

    try:
        return json.loads(procfs.text(path, STATE_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def _listed(folder: str) -> list[str]:
    try:
        return procfs.names(folder, LISTED)
    except OSError:
        return []
