#!/bin/sh
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
# Installs what a machine lacks, for each family of distributions; used by `make setup` and by the
# boxes alike. Wants root only if something is missing. `provision.sh run|test|vm` says what for.
set -eu
purpose=${1:-test}

missing=
want() { # PACKAGE TEST...: PACKAGE is missing unless the test succeeds
	package=$1
	shift
	"$@" >/dev/null 2>&1 || missing="$missing $package"
}
has() { command -v "$1" || [ -x "/usr/sbin/$1" ]; }
has_header() { [ -e "/usr/include/$1" ]; }
# A module of the system's own Python, not of one that happens to come first on PATH.
has_module() { /usr/bin/python3 -c "import $1"; }

. /etc/os-release
case " $ID ${ID_LIKE:-} " in
*" debian "* | *" ubuntu "*)
	want python3 has /usr/bin/python3
	want python3-venv has_module ensurepip
	want ca-certificates [ -e /etc/ssl/certs/ca-certificates.crt ]
	want clang has clang
	want llvm has llvm-strip
	want libbpf-dev has_header bpf/bpf_helpers.h
	want linux-libc-dev has_header linux/bpf.h
	want iproute2 has ss
	want procps has ps
	want nginx-light has nginx
	if [ "$purpose" != run ]; then
		want gcc has gcc
		want libc6-dev has_header stdio.h
		case $ID in
		ubuntu) want linux-tools-common has bpftool ;;
		*) want bpftool has bpftool ;;
		esac
		want gunicorn has gunicorn
		want wrk has wrk
		want python3-bpfcc has_module bcc
		want libcap2-bin has capsh
	fi
	if [ "$purpose" = vm ]; then
		want qemu-system-x86 has qemu-system-x86_64
		want busybox-static [ -e /usr/share/doc/busybox-static ]
		want kmod has modprobe
		want xz-utils has xz
		want qemu-system-arm has qemu-system-aarch64
		want debian-archive-keyring [ -e /usr/share/keyrings/debian-archive-keyring.gpg ]
	fi
	install() {
		# A web server that is only wanted for tests must not start serving port 80.
		if [ ! -e /usr/sbin/policy-rc.d ]; then
			printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
			chmod +x /usr/sbin/policy-rc.d
			trap 'rm -f /usr/sbin/policy-rc.d' EXIT
		fi
		apt-get update -q
		DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
	}
	;;
*" fedora "* | *" rhel "*)
	want python3 has python3
	want clang has clang
	want llvm has llvm-strip
	want libbpf-devel has_header bpf/bpf_helpers.h
	want kernel-headers has_header linux/bpf.h
	want iproute has ss
	want procps-ng has ps
	want make has make
	want nginx has nginx
	if [ "$purpose" != run ]; then
		want gcc has gcc
		want bpftool has bpftool
		want libcap has capsh
	fi
	install() { dnf -y -q install "$@"; }
	;;
*)
	echo "provision: $ID is not known here; needed: clang llvm libbpf-dev python3-venv iproute2" >&2
	exit 0
	;;
esac
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "provision: these packages are missing, run as root:$missing" >&2
	exit 1
fi
echo "provision: installing$missing"
# shellcheck disable=SC2086
install $missing
