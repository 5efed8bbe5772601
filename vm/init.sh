#!/bin/busybox sh
# shellcheck shell=dash disable=SC1091,SC2154  # settings.sh sets share, kernel and arguments
# First program of a guest that virtme-ng cannot start (see foreign.py): mounts what guest.sh
# expects and runs it. settings.sh says where the host's folders go.
/bin/busybox --install -s /bin
export PATH=/bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mkdir /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t debugfs debugfs /sys/kernel/debug
mount -t securityfs securityfs /sys/kernel/security
mount -t tracefs tracefs /sys/kernel/tracing

for module in /modules/*; do
    insmod "$module"
done

# busybox's takes no folder, as in `modprobe -d FOLDER MODULE`.
mkdir /lib /sbin
cat >/sbin/modprobe <<'END'
#!/bin/sh
[ -e /lib/modules ] || ln -s "$2/lib/modules" /lib/modules
exec /bin/busybox modprobe "$3"
END
chmod +x /sbin/modprobe

attach() { # TAG FOLDER OPTIONS
    mkdir -p "$2"
    mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$3" "$1" "$2"
}
. /settings.sh
attach share "$share" rw
number=0
for folder in "$@"; do
    attach "beside$number" "$folder" ro,cache=loose
    number=$((number + 1))
done

sh /guest.sh "$kernel" "$@"
poweroff -f
