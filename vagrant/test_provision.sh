#!/bin/sh
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
# Bare systems, as debootstrap makes them, of Debian from the mirror of this machine's apt: provision.sh
# and then the two commands of the README are run in each for real, on this machine's kernel, with the
# tests that depend on the distribution (ROOTS in vm/places.py). They are made side by side, but trace
# in turn, because some tests look at all programs that are loaded.
#
# Before that, in a copy of each that is as bare, what is handed out (packages.py) is installed there,
# without a compiler, and has to trace a real server.
#
# usage: test_provision.sh [SUITE...]     default: bookworm trixie; of Ubuntu: jammy noble, where the
#        package ubuntu-keyring and Ubuntu's own mirror are there
#
# Everything is mounted in a mount namespace that ends with its processes. So nothing stays mounted,
# however this ends, and what is removed afterwards has nothing of this machine below it.
set -eu
UBUNTU=http://archive.ubuntu.com/ubuntu
UBUNTU_KEYS=/usr/share/keyrings/ubuntu-archive-keyring.gpg
LIMIT_S=1800 # for each suite; the tests take turns
here=$(cd "$(dirname "$0")" && pwd)

skip() {
	echo "test_provision: skipped: $*" >&2
	[ "${ACCEPTTRACE_REQUIRE_KERNEL:-}" != 1 ] || exit 1
	exit 0
}

find_mirror() {
	cd "$here/.." && "$(sh vagrant/provision.sh python)" - <<-'PYTHON'
		import sys
		from vm.mirror import MirrorError, find_mirror

		try:
		    print(find_mirror().main)
		except MirrorError as error:
		    sys.exit(str(error))
	PYTHON
}

# --- in the mount namespace ---------------------------------------------------------------------

say() { echo "test_provision: $suite: $* ($(($(date +%s) - started)) s)"; }

fail() {
	say "FAILED: $*" >&2
	exit 1
}

step() { # WHAT COMMAND...: says no more than its last line, unless it fails
	what=$1
	shift
	"$@" >"$root.log" 2>&1 </dev/null || {
		tail -n 100 "$root.log" >&2
		fail "$what"
	}
	say "$what: $(grep . "$root.log" | tail -n 1)"
}

in_turn() { # WHAT COMMAND...: a step while no other system is in one of these
	flock 9
	step "$@"
	flock -u 9
}

enter() { # COMMAND...: in the new system, with this machine's environment for pip
	env -u MAKEFLAGS -u MAKELEVEL -u VIRTUAL_ENV -u TMPDIR HOME=/root LC_ALL=C.UTF-8 \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		chroot "$root" sh -euc 'cd /accepttrace && exec "$@"' sh "$@"
}

packages_hold() {
	bare=$root
	root=$bare.packages
	cp -a "$bare" "$root"
	furnish
	cp -r "$dist" "$root/dist"
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" && chmod +x "$root/usr/sbin/policy-rc.d"
	step "apt-get install accepttrace.deb" enter sh -euc 'apt-get update -q
		apt-get install -q -y --no-install-recommends /dist/*.deb nginx-light python3-venv man-db'
	for tool in clang gcc cc; do
		! enter sh -c "command -v $tool" >/dev/null || fail "there is a compiler, $tool"
	done
	# shellcheck disable=SC2016 # expanded inside
	step "pip install accepttrace.whl" enter sh -euc 'python3 -m venv --system-site-packages /wheel
		/wheel/bin/pip install --no-index --no-deps --force-reinstall /dist/*.whl'
	# shellcheck disable=SC2016 # expanded inside
	step "the service is right, and disabled" enter sh -euc '
		systemd-analyze verify accepttrace-exporter.service
		[ "$(systemctl is-enabled accepttrace-exporter)" = disabled ]'
	in_turn "the Debian package" enter python3 vagrant/try_package.py /usr/bin/accepttrace
	in_turn "the wheel" enter python3 vagrant/try_package.py /wheel/bin/accepttrace
	step "the Debian package is removed" enter sh -euc 'dpkg --remove accepttrace
		! ls /usr/lib/python3/dist-packages/accepttrace /usr/share/man/man1/accepttrace* 2>/dev/null'
	in_turn "the one file" enter python3 vagrant/try_package.py /dist/accepttrace.pyz
	root=$bare
}

furnish() {
	# How this machine reaches its mirror.
	apt-config dump | grep -E '^Acquire::(https?::|Check-|Retries)' \
		>"$root/etc/apt/apt.conf.d/00host" || :
	cp /etc/hosts /etc/resolv.conf "$root/etc/"
	for folder in proc sys dev; do
		mount --rbind "/$folder" "$root/$folder"
	done
	mkdir "$root/accepttrace"
	tar -C "$here/.." --exclude-vcs --exclude=./.venv --exclude='./.*cache' --exclude=./build \
		--exclude=./dist --exclude=__pycache__ --exclude='*.bpf.o' --exclude='*.bcc.c' \
		--exclude=./bench/flood --exclude=./bench/loop --exclude=./bench/empty \
		--exclude=./bench/profile.so -c . | tar -C "$root/accepttrace" -x
}

# What reaches the package index from here, if it is more than the environment says.
lend_pip() {
	mkdir -p "$root/root/.config/pip"
	[ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/"
	[ ! -e ~/.config/pip/pip.conf ] || cp ~/.config/pip/pip.conf "$root/root/.config/pip/"
	cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
}

nothing_left_to_do() {
	for purpose in run test vm bench; do
		said=$(enter unshare --net setpriv --reuid=65534 sh vagrant/provision.sh $purpose 2>&1) || :
		[ -z "$said" ] || fail "once more, without root and network, $purpose says: $said"
	done
	[ ! -e "$root/usr/sbin/policy-rc.d" ] || fail "policy-rc.d is left behind"
	[ ! -e "$root/etc/systemd/system/multi-user.target.wants/nginx.service" ] ||
		fail "nginx would be started at the next boot"
}

inside() { # SUITE ROOT MIRROR DIST
	suite=$1 root=$2 dist=$4
	started=$(date +%s)
	exec 9>"${root%/*}/turn"
	case $suite in
	jammy | noble) # newer than Debian's debootstrap may be: all Ubuntu suites are made alike
		set -- "$@" --keyring=$UBUNTU_KEYS --components=main,universe
		script=/usr/share/debootstrap/scripts/gutsy
		;;
	*) script='' ;;
	esac
	mirror=$3
	shift 4
	step debootstrap debootstrap --variant=minbase --include=systemd "$@" "$suite" "$root" "$mirror" $script
	packages_hold
	furnish
	step "provision.sh run" enter sh vagrant/provision.sh run
	lend_pip
	step "make setup" enter make setup
	in_turn doctor enter .venv/bin/accepttrace doctor
	step "provision.sh test" enter sh vagrant/provision.sh test
	# ROOTS of vm/places.py; what loads no program needs no turn.
	step "make test, unit" enter make test PLACE=roots TESTS="tests/unit tests/contract"
	in_turn "make test, kernel" enter make test PLACE=roots \
		TESTS="tests/kernel tests/servers tests/hostile"
	step "provision.sh vm" enter sh vagrant/provision.sh vm
	step "provision.sh bench" enter sh vagrant/provision.sh bench
	nothing_left_to_do
	say "holds"
}

# --- outside ------------------------------------------------------------------------------------

# `timeout` leads a process group, and all that runs inside is in it.
clean_up() {
	signal=TERM
	deadline=$(($(date +%s) + 10))
	for child in $children; do
		while kill -$signal "-$child" 2>/dev/null; do
			[ "$(date +%s)" -lt $deadline ] || signal=KILL
			sleep 0.1
		done
	done
	rm -rf --one-file-system "$scratch"
}

main() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	mirror=$(find_mirror) || skip "no mirror to make a system from"
	command -v debootstrap >/dev/null || sh "$here/provision.sh" boxes || skip "no debootstrap here"
	scratch=$(mktemp -d /tmp/accepttrace-roots.XXXXXX)
	dist=$scratch/dist
	children=''
	failed=0
	trap clean_up EXIT
	trap 'exit 1' HUP INT TERM
	(cd "$here/.." && make --no-print-directory dist DIST="$dist")
	# Children to wait for, because a shell does not hear signals while a command runs.
	for suite in "$@"; do
		from=$mirror
		case $suite in
		jammy | noble)
			[ -e $UBUNTU_KEYS ] || skip "no $UBUNTU_KEYS: apt-get install ubuntu-keyring"
			from=$UBUNTU
			;;
		esac
		timeout --kill-after=20 "$LIMIT_S" unshare --mount \
			sh "$here/test_provision.sh" --inside "$suite" "$scratch/$suite" "$from" "$dist" &
		children="$children $!"
	done
	for child in $children; do
		wait "$child" || failed=1
	done
	exit $failed
}

case ${1:-} in
--inside)
	shift
	inside "$@"
	;;
'') main bookworm trixie ;;
*) main "$@" ;;
esac
