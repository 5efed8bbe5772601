"""What strangers, or a kernel to come, put into the text and bytes that we parse."""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accepttrace.cli import options
from accepttrace.probe.load import btf
from accepttrace.sockets import procfs, syscalls, unixsockets, waiting
from accepttrace.sockets.diag import netlink, netstat, proctcp
from accepttrace.sockets.diag import tcp as sockdiag
from accepttrace.sockets.diag import udp as udpdiag
from tests.unit.strangers import NASTY, names

COMMS = st.lists(st.integers(1, 255), min_size=1, max_size=15).map(bytes)


@pytest.fixture(scope="module", autouse=True)
def own_comm() -> Iterator[None]:
    before = Path("/proc/self/comm").read_bytes()
    yield
    Path("/proc/self/comm").write_bytes(before.rstrip(b"\n"))


@given(COMMS)
@example(b") R 1 1 (")
@example(b"a\rTgid:\t1")
@example("a\u2028NSpid:\t7".encode())
@example(b"\x0bNSpid:\t7")
@example(b"x\nTgid:\t1")
@example(b"\xff\xfe")
@example(b"a:b:c")
def test_a_name_forges_nothing_in_proc(comm: bytes) -> None:
    Path("/proc/self/comm").write_bytes(comm)
    pid = os.getpid()
    found, start = procfs.stat(pid)
    # The kernel escapes a newline and a backslash here.
    escaped = comm.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    assert found in {raw.decode("utf-8", "replace") for raw in (escaped, comm)}
    assert start > 0
    assert procfs.ns_pid(pid) == INNER
    assert options.parse_pids(str(pid)) == {pid}
    assert not procfs.is_zombie(pid)
    assert procfs.kin(pid)[:2] == (pid, start)
    assert procfs.kin(pid).uid == os.geteuid()


def _inner() -> int:
    line = re.search(r"^NSpid:.*?(\d+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert line is not None
    return int(line[1])


INNER = _inner()


@given(st.text().filter(lambda path: "\n" not in path), names)
def test_the_path_of_a_control_group_is_any_text(path: str, other: str) -> None:
    other = other.replace("\n", "")
    assert procfs.cgroup_path(f"3:cpu:/x\n0::/a{path}\n") == f"/a{path}"
    container = procfs.container_id(f"/a{path}/lxc.payload.{other}/x")
    assert container is None or isinstance(container, str)
    procfs.cgroup_path(path + other)


@given(st.binary(max_size=400))
def test_netlink_is_parsed_or_refused(data: bytes) -> None:
    with suppress(OSError):
        for _, _, body in netlink._messages(data):
            assert len(body) <= len(data)
    for decode in (sockdiag.decode, udpdiag.decode):
        with suppress(OSError):
            row = decode(data)
            assert 0 <= row.local_port <= 65535
            assert netlink.attribute(data, 11) in data


@given(
    st.sampled_from([socket.AF_INET, socket.AF_INET6]),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 65535),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_a_message_of_netlink_is_read_back(
    family: int, raw: bytes, port: int, inode: int, v6only: bool
) -> None:
    body = netlink.MESSAGE.pack(
        family, 10, 0, 0, port.to_bytes(2, "big"), b"", raw, b"", 0, 1, 2, 0, 3, 128, 1000, inode
    )
    body += struct.pack("=HHB3x", 5, sockdiag.INET_DIAG_SKV6ONLY, v6only)
    whole = netlink.NLMSGHDR.pack(netlink.NLMSGHDR.size + len(body), 20, 0) + body
    (message,) = netlink._messages(whole)
    row = sockdiag.decode(message[2])
    assert (row.local_port, row.inode, row.queue, row.backlog) == (port, inode, 3, 128)
    length = 4 if family == socket.AF_INET else 16
    assert socket.inet_pton(family, row.local_address) == raw[:length]
    assert row.v6only is (v6only if family == socket.AF_INET6 else None)
    # The text table of the kernel says the same, in words of the machine.
    words = [raw[at : at + 4][::-1].hex().upper() for at in range(0, length, 4)]
    line = f" 0: {''.join(words)}:{port:04X} 0:0 0A 0:3 0:0 0 1000 0 {inode} 1 0 0"
    entry = proctcp.parse(line, row.family)
    assert (entry.address, entry.port, entry.inode) == (row.local_address, port, inode)


@given(st.text(), names)
@example("Num\n0: 1 1 QQ 1 1 x /a", "")
@example("Num\n0: 2 0 10000 1 1 7 /a\n0: 2 0 10000 1 1 7 /forged", "")
def test_a_unix_socket_may_have_any_name(table: str, name: str) -> None:
    unixsockets.listening(table)
    line = f"0000000000000000: 00000002 00000000 00010000 0001 01 12345 {name}"
    found = unixsockets.listening(f"Num       RefCount\n{line}\n")
    assert found[12345] == (name.split("\n")[0] or unixsockets.NO_NAME)


@given(st.text())
def test_what_epoll_waits_on_is_any_text(text: str) -> None:
    assert waiting.epoll_targets(text) == set() or "tfd" in text


@given(st.binary(max_size=128), st.integers(0, 1100))
def test_lists_of_descriptors_are_any_bytes(data: bytes, count: int) -> None:
    assert all(0 <= fd < count for fd in syscalls.select_list(data, count))
    padded = data[: len(data) // 8 * 8]
    assert len(syscalls.poll_list(padded)) <= len(padded) // 8


@given(st.text())
def test_netstat_is_parsed_or_refused(text: str) -> None:
    with suppress(OSError, ValueError):
        netstat.parse(text)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40))
@example("sock")
def test_btf_knows_a_field_or_does_not(name: str) -> None:
    if not btf.VMLINUX.exists():
        pytest.skip("this kernel shows no BTF")
    assert btf.parameters(name) is None or btf.parameters(name) in range(32)
    for record in ("sock", name):
        at = btf.offset(record, "__sk_common", name)
        assert at is None or 0 <= at < 4096
    assert btf.offset("sock", "__sk_common", "skc_family") == 16


@given(st.text(max_size=50))
def test_addresses_are_parsed_or_refused(text: str) -> None:
    with suppress(ValueError):
        address = options.parse_address(text)
        assert options.parse_address(address) == address


@pytest.mark.parametrize("name", NASTY)
def test_what_a_person_types_is_read_as_names_are(name: str) -> None:
    raw = name.encode("utf-8", "surrogatepass").replace(b"\0", b"")
    if os.fsdecode(raw).strip():
        assert options.parse_name(os.fsdecode(raw)) == raw.decode("utf-8", "replace")
