#!/bin/sh
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
# Installs what a machine lacks, for each family of distributions; used by `make setup` and by the
# boxes alike. Wants root only if something is missing, and the network only then.
#
# usage: provision.sh run|test|vm|bench  what for; each includes the one before
#        provision.sh boxes              the checks of this folder
#        provision.sh viewers            what reports and metrics are looked at with
#        provision.sh python             prints the Python that the virtual environment is made with
set -eu
purpose=${1:-test}

missing=
want() { # PACKAGE TEST...: PACKAGE is missing unless the test succeeds
	package=$1
	shift
	"$@" >/dev/null 2>&1 || missing="$missing $package"
}
# Wished for: installed where the lists have it, else what needs it says so.
wishes=
wish() { # PACKAGE TEST...
	package=$1
	shift
	"$@" >/dev/null 2>&1 || wishes="$wishes $package"
}
has() { command -v "$1" || [ -x "/usr/sbin/$1" ]; }
has_postgres() { ls /usr/lib/postgresql/*/bin/postgres; } # Debian has it for each version
has_php_fpm() { ls /usr/sbin/php-fpm*; } # Debian's is called after its version
has_header() { [ -e "/usr/include/$1" ]; }
# The distribution's bcc, not the stranger of that name that pip brings.
has_bcc() { ls /usr/lib*/python3*/*-packages/bcc/libbcc.py; }
has_vagrant_libvirt() { ls /usr/share/rubygems-integration/*/specifications/vagrant-libvirt-*; }
# virtme-ng copies it into a file system that has no libraries.
has_static_busybox() { [ -x /bin/busybox ] && ! ldd /bin/busybox; }
# A new enough Python of the system's own, not of one that happens to come first on PATH: bcc is
# installed for that one. On EL 9 the first is too old.
python() {
	for python in /usr/bin/python3 /usr/bin/python3.1[0-9]; do
		if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
			echo "$python"
			return
		fi
	done
	echo "provision: no Python 3.10 or newer in /usr/bin" >&2
	return 1
}
can_make_venv() { "$(python)" -c 'import ensurepip, venv'; }

debian_wants() {
	want python3 python
	want python3-venv can_make_venv
	want ca-certificates [ -e /etc/ssl/certs/ca-certificates.crt ]
	want make has make
	want git has git
	want clang has clang
	want llvm has llvm-strip
	want libbpf-dev has_header bpf/bpf_helpers.h
	want linux-libc-dev has_header linux/bpf.h
	want iproute2 has ss
	want procps has ps
	want nginx has nginx
	[ "$purpose" != run ] || return 0
	want gcc has gcc
	want jq has jq
	want zstd has zstd
	want libc6-dev has_header stdio.h
	case $ID in
	ubuntu) want "linux-tools-common linux-tools-generic" bpftool version ;;
	*) want bpftool has bpftool ;;
	esac
	want gunicorn has gunicorn
	want php-fpm has_php_fpm
	want haproxy has haproxy
	want dnsmasq-base has dnsmasq
	want lsof has lsof
	want man-db has man
	want zsh has zsh
	want nodejs has node
	want systemd has systemd-socket-activate
	want postgresql has_postgres
	want openssl has openssl
	want libcap2-bin has capsh
	want python3-bpfcc has_bcc
	# The kernel's tests of itself; not before 6.2 are they all there.
	wish linux-source-6.12 [ -e /usr/src/linux-source-6.12.tar.xz ]
	[ "$purpose" != test ] || return 0
	want qemu-system-x86 has qemu-system-x86_64
	want qemu-system-arm has qemu-system-aarch64
	want busybox-static has_static_busybox
	want kmod has modprobe
	want xz-utils has xz
	want debian-archive-keyring [ -e /usr/share/keyrings/debian-archive-keyring.gpg ]
	[ "$purpose" = bench ] || return 0
	want bpfcc-tools has tcpaccept-bpfcc
	want bpftrace has bpftrace
}

debian_installs() {
	# A web server that is only wanted for tests must not serve port 80, now or after a reboot.
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
		trap 'exit 1' HUP INT TERM
		printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
		chmod +x /usr/sbin/policy-rc.d
	fi
	export DEBIAN_FRONTEND=noninteractive
	update_lists
	for package in $wishes; do
		[ -z "$(apt-cache search --names-only "^$package\$")" ] || set -- "$@" "$package"
	done
	[ $# -gt 0 ] || return 0
	apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
	case " $* " in
	*" nginx "*) disable nginx ;;
	esac
	case " $* " in
	*" php-fpm "*) disable "$(basename /lib/systemd/system/php*-fpm.service)" ;;
	esac
	for service in haproxy postgresql prometheus; do
		case " $* " in
		*" $service "*) disable "$service" ;;
		esac
	done
	[ "$ID" != ubuntu ] || bpftool_for_any_kernel
}

disable() { ! has systemctl >/dev/null || systemctl --quiet disable "$1" || :; }

# A machine that has just booted may be updating its lists; one with a broken source may still have
# all that is wanted.
update_lists() {
	deadline=$(($(date +%s) + 120))
	while ! said=$(LC_ALL=C apt-get update -q 2>&1); do
		case $said in
		*"Could not get lock"*) [ "$(date +%s)" -lt $deadline ] && sleep 1 && continue ;;
		esac
		echo "$said" >&2
		echo "provision: apt-get update failed, going on with the lists there are" >&2
		return
	done
}

# Ubuntu's is a script that looks for the one built with the running kernel; any of them will do.
bpftool_for_any_kernel() {
	for tool in /usr/lib/linux-tools/*/bpftool; do
		if ! bpftool version >/dev/null 2>&1 && [ -x "$tool" ]; then
			ln -sf "$tool" /usr/local/sbin/bpftool
		fi
	done
}

fedora_wants() {
	case $ID in
	fedora) want python3 python ;;
	*) want python3.11 python ;;
	esac
	want ca-certificates [ -e /etc/pki/tls/certs/ca-bundle.crt ]
	want make has make
	want git-core has git
	want clang has clang
	want llvm has llvm-strip
	want libbpf-devel has_header bpf/bpf_helpers.h
	want kernel-headers has_header linux/bpf.h
	want iproute has ss
	want procps-ng has ps
	want nginx has nginx
	[ "$purpose" != run ] || return 0
	want gcc has gcc
	want jq has jq
	want zstd has zstd
	want glibc-devel has_header stdio.h
	want bpftool has bpftool
	want python3-gunicorn has gunicorn
	want php-fpm has_php_fpm
	want libcap has capsh
	want openssl has openssl
	[ "$ID" != fedora ] || want python3-bcc has_bcc # EL 9 has it for its older Python only
	[ "$purpose" != test ] || return 0
	want qemu-system-x86-core has qemu-system-x86_64
	want busybox has_static_busybox
	want kmod has modprobe
	want xz has xz
	want apt has apt-get
	want dpkg has dpkg-deb
	want debian-keyring [ -e /usr/share/keyrings/debian-archive-keyring.gpg ]
	[ "$purpose" = bench ] || return 0
	want bcc-tools [ -x /usr/share/bcc/tools/tcpaccept ]
	want bpftrace has bpftrace
}

fedora_installs() {
	if [ "$ID" != fedora ]; then
		case " $* " in # they live in repositories that are there but off, or not there
		*" libbpf-devel "*)
			dnf -y -q install dnf-plugins-core
			dnf config-manager --set-enabled crb
			;;
		esac
		case " $* " in
		*" python3-gunicorn "*) dnf -y -q install epel-release ;;
		esac
	fi
	dnf -y -q --setopt=install_weak_deps=False install "$@"
}

if [ "$purpose" = python ]; then
	python
	exit
fi
# shellcheck source=/dev/null
. /etc/os-release
case " $ID ${ID_LIKE:-} " in
*" debian "* | *" ubuntu "*) family=debian ;;
*" fedora "* | *" rhel "*) family=fedora ;;
*)
	echo "provision: $ID is not known here; needed: clang llvm libbpf-dev python3-venv iproute2" >&2
	exit 0
	;;
esac
case $purpose in
run | test | vm | bench) "${family}_wants" ;;
boxes)
	want vagrant has vagrant
	want vagrant-libvirt has_vagrant_libvirt
	want shellcheck has shellcheck
	want debootstrap has debootstrap
	;;
viewers)
	wish chromium has chromium # Ubuntu has none but as a snap
	wish prometheus has promtool
	;;
*)
	echo "usage: provision.sh run|test|vm|bench|boxes|viewers|python" >&2
	exit 2
	;;
esac
[ -n "$missing$wishes" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	[ -n "$missing" ] || exit 0
	echo "provision: these packages are missing, run as root:$missing" >&2
	exit 1
fi
echo "provision: installing$missing$wishes"
# shellcheck disable=SC2086
"${family}_installs" $missing
