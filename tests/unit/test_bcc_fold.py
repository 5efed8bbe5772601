"""The bcc loader without a kernel: folding, a wrong or missing bcc, what its errors become."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import sys
from pathlib import Path

import pytest

from accepttrace.errors import UnsupportedError
from accepttrace.probe import plans
from accepttrace.probe.load import bcc, bcc_install, btf, headers, loaders, offsets
from accepttrace.probe.load.quiet import caught
from bpf.fold import fold

BPF = Path(__file__).parents[2] / "bpf"


def write(folder: Path, **files: str) -> Path:
    """Files named by keyword (`root` is root.c, others NAME.h); returns the root."""
    for name, text in files.items():
        (folder / (f"{name}.c" if name == "root" else f"{name}.h")).write_text(text)
    return folder / "root.c"


def test_quoted_includes_are_folded_with_marks_of_their_origin(tmp_path: Path) -> None:
    root = write(
        tmp_path, root='#include <x.h>\n#include "a.h"\nend\n', a='#include "b.h"\n', b="b"
    )
    assert fold(root).splitlines() == [
        '#line 1 "root.c"',
        "#include <x.h>",
        '#line 1 "a.h"',
        '#line 1 "b.h"',
        "b",
        '#line 2 "a.h"',
        '#line 3 "root.c"',
        "end",
    ]


def test_calls_of_maps_become_those_that_bcc_rewrites(tmp_path: Path) -> None:
    calls = "LOOKUP(a, &key); INSERT(b, key, &x); PUT(c, &k, v); DELETE(d, &k); SK_LOOKUP(1)"
    assert fold(write(tmp_path, root=calls)).splitlines()[1:] == [
        "a.lookup(&key); b.insert(key, &x); c.update(&k, v); d.delete(&k); SK_LOOKUP(1)"
    ]


def test_stubs_become_trampolines_of_the_kind_that_bcc_has(tmp_path: Path) -> None:
    stubs = (
        'SEC("fentry/one")\nint first(__u64 *ctx)\n{\n}\nSEC("fexit/two")\nint last(__u64 *ctx)\n'
    )
    text = fold(write(tmp_path, root='TRAMPOLINES("stubs.h")\nend\n', stubs=stubs))
    assert text.splitlines()[1:] == [
        *("#ifdef HOOK_first", "KFUNC_PROBE(one, void *first)", "{", "\treturn first(ctx);"),
        *("}", "#endif", "#ifdef HOOK_last", "KRETFUNC_PROBE(two, void *first)", "{"),
        *("\treturn last(ctx);", "}", "#endif", '#line 2 "root.c"', "end"),
    ]


def test_includes_are_found_from_the_folder_of_the_root(tmp_path: Path) -> None:
    (tmp_path / "tcp").mkdir()
    (tmp_path / "tcp" / "a.h").write_text('#include "b.h"\n')
    root = write(tmp_path, root='#include "tcp/a.h"\n', b="b\n")
    assert fold(root).splitlines()[1:4] == ['#line 1 "tcp/a.h"', '#line 1 "b.h"', "b"]


def test_an_include_of_itself_or_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"root\.c > a\.h > a\.h"):
        fold(write(tmp_path, root='#include "a.h"\n', a='#include "a.h"\n'))
    with pytest.raises(FileNotFoundError):
        fold(write(tmp_path, root='#include "none.h"\n'))


def test_the_real_text_is_one_piece_with_every_program_of_the_plans() -> None:
    text = fold(BPF / "bcc.c")
    assert '#include "' not in text
    of_unix = {hook.program for plan in plans.UNIX_PLANS for hook in plan.hooks}  # libbpf's alone
    of_bcc = [program for program in plans.PROGRAMS if program not in of_unix]
    for program in (*of_bcc, *plans.LISTINGS):
        assert f"int {program}(" in text, program
    for plan in plans.PLANS:
        assert f"#ifdef ATTACH_{plan.attach}" in text
    # Trampolines have a stub of their own, by which bcc knows them.
    for hook in plans.FENTRY.hooks:
        assert f"return {hook.program}(ctx);" in text
        assert f"_PROBE({hook.site}, " in text


def test_both_dialects_have_the_same_maps_and_functions() -> None:
    core, bcc = ((BPF / name).read_text() for name in ("core.h", "bcc.h"))
    signatures = {line for line in core.splitlines() if line.startswith("static __always_inline")}
    assert signatures == {line for line in bcc.splitlines() if line.startswith("static __always")}
    maps = {line.split()[1] for line in core.splitlines() if 'SEC(".maps")' in line}
    assert maps
    for name in maps:
        assert f" {name}, " in bcc.partition("BPF_F_TABLE")[2].partition("static")[0]


def test_every_field_of_the_audit_list_is_found_in_the_text() -> None:
    text = fold(BPF / "bcc.c")
    found = {(field.record, *field.path): field.optional for field in offsets.fields(text)}
    assert found["tcp_sock", "rcvq_space", "time"] is False
    assert found["sock_reuseport", "incoming_cpu"] is True
    used = [line for line in (BPF / "kernel.h").read_text().splitlines() if "\tFIELD" in line]
    assert len(list(offsets.fields(text))) == len(used)


@pytest.mark.parametrize(("member", "there"), [("\tunsigned long\t\tsk_ino;\n", 1), ("", 0)])
def test_optional_fields_are_looked_for_in_the_headers(
    member: str, there: int, tmp_path: Path
) -> None:
    net = tmp_path / "net"
    (net / "netns").mkdir(parents=True)
    (net / "sock.h").write_text(
        f"struct other {{\n\tint sk_ino;\n}};\nstruct sock {{\n{member}\tint sk_err;\n}};\n"
        "static inline int sk_ino;\n"
    )
    (net / "netns" / "ipv4.h").write_text("struct netns_ipv4 {\n\tu8 sysctl_tcp_migrate_req;\n};\n")
    said = offsets.presence(fold(BPF / "bcc.c"), tmp_path).splitlines()
    assert f"#define HAS_sock_sk_ino {there}" in said
    assert "#define HAS_netns_ipv4_sysctl_tcp_migrate_req 1" in said
    assert "#define HAS_proto_accept_arg_flags 0" in said


def test_no_difference_between_kernels_is_known_by_version() -> None:
    text = fold(BPF / "bcc.c")
    assert "LINUX_VERSION_CODE" not in text
    asked = set(re.findall(r"\bHAS_(\w+_\w+)\b", (BPF / "drift.bpf.h").read_text()))
    optional = {
        f"{field.record}_{field.path[0]}" for field in offsets.fields(text) if field.optional
    }
    assert asked - {"TASK_POINTERS"} <= optional


def test_missing_bcc_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bcc_install, "find_spec", lambda name: None)  # noqa: ARG005
    with pytest.raises(UnsupportedError, match="bcc is not installed") as caught_error:
        bcc_install.version()
    for package in ("python3-bpfcc", "python3-bcc", "python-bcc"):
        assert package in caught_error.value.hint


@pytest.mark.parametrize("name", ["bcc.py", "bcc/__init__.py"])
def test_another_program_called_bcc_is_named_and_not_imported(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise AssertionError('imported')\n")
    monkeypatch.delitem(sys.modules, "bcc", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    for ask in (bcc_install.version, bcc_install.load):
        with pytest.raises(UnsupportedError, match="another program called bcc") as error:
            ask()
        assert str(tmp_path) in error.value.message
        assert "pip uninstall bcc" in error.value.hint


def test_the_version_is_read_without_an_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bcc"
    folder.mkdir()
    for name, text in (
        ("__init__.py", "raise OSError('libbcc.so.0: cannot open')\n"),
        ("libbcc.py", ""),
        ("version.py", "__version__ = '0.99'\n"),
    ):
        (folder / name).write_text(text)
    monkeypatch.delitem(sys.modules, "bcc", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert bcc_install.version() == "0.99"
    with pytest.raises(UnsupportedError, match=r"does not start: libbcc\.so\.0"):
        bcc_install.load()


def test_bcc_is_chosen_only_where_the_kernel_shows_no_btf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(loaders, "require", asked.append)
    monkeypatch.setattr(btf, "VMLINUX", tmp_path)
    assert [loaders.choose(name) for name in ("auto", "libbpf", "bcc")] == asked
    assert asked == ["libbpf", "libbpf", "bcc"]
    monkeypatch.setattr(btf, "VMLINUX", tmp_path / "none")
    assert loaders.choose("auto") == "bcc"


def test_without_btf_and_headers_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(btf, "VMLINUX", tmp_path / "none")
    monkeypatch.setattr(bcc_install, "version", lambda: "0.99")
    monkeypatch.setattr(headers, "found", lambda: None)
    with pytest.raises(UnsupportedError, match=r"no BTF.*no headers") as error:
        loaders.choose("auto")
    assert "linux-headers-" in error.value.hint


def test_stub_headers_are_there_only_within(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (None, "/mine"):
        if before is None:
            monkeypatch.delenv("BCC_KERNEL_SOURCE", raising=False)
        else:
            monkeypatch.setenv("BCC_KERNEL_SOURCE", before)
        with headers.stubs():
            folder = Path(os.environ["BCC_KERNEL_SOURCE"])
            assert headers.found() == folder
            assert (folder / "include/uapi/linux/bpf.h").is_file()
        assert not folder.exists()
        assert os.environ.get("BCC_KERNEL_SOURCE") == before


def test_compile_errors_show_the_first_and_keep_all() -> None:
    printed = "note: x\ntcp/accept.bpf.h:7:1: error: first\nsocket.bpf.h:2:2: error: second\n"
    error = bcc.refused("kprobe", "Failed to compile BPF module <text>", printed)
    assert error.message.endswith("the kprobe programs: tcp/accept.bpf.h:7:1: error: first")
    assert "second" in error.detail
    refused = bcc.refused("fentry", "Need super-user privileges to run", "verifier log")
    assert "EPERM" in refused.message
    assert "super-user" not in refused.message
    assert "verifier log" in refused.detail
    missing = bcc.refused("kprobe", "Failed to attach b'x' to kprobe b'y'", "")
    assert missing.message == "bcc, kprobe: Failed to attach x to kprobe y"


def test_what_c_code_prints_is_caught(capfd: pytest.CaptureFixture[str]) -> None:
    with caught() as output:
        os.write(2, b"to stderr\n")
        ctypes.CDLL(None).puts(b"to stdout")
    print("after")
    assert sorted(output.text.split("\n")) == ["", "to stderr", "to stdout"]
    assert capfd.readouterr().out.strip() == "after"
