#!/bin/sh
# Runs in the guest as root, started by virtme-ng's init: makes a fast and writable root out of
# the host's, runs the tasks there, and leaves the status of each in the shared folder.
# usage: guest.sh KERNEL_ROOT [FOLDER...]     (share: /run/accepttrace; see machine.py)
# FOLDERs are not part of the host's root, but shall be in the guest's, at the same places.
kernel=$1
shift
share=/run/accepttrace
top=/run/guest

lost() {
    echo "guest: $*" >"$share/failed"
    exit 1
}

# virtme-ng's root asks the host at every look-up. A second mount that may cache makes Python
# start four times faster, and what it shows cannot change under the tests: writes go to memory.
mkdir -p $top/host $top/memory $top/root
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host $top/host ||
    lost "9p"
/sbin/modprobe -d "$kernel" overlay || lost "no overlay module"
mount -t tmpfs -o size=75% tmpfs $top/memory
mkdir $top/memory/upper $top/memory/work
mount -t overlay -o "lowerdir=$top/host,upperdir=$top/memory/upper,workdir=$top/memory/work" \
    overlay $top/root || lost "overlay"
mkdir -p $top/root/proc $top/root/sys $top/root/dev $top/root/run
mount -t bpf bpf /sys/fs/bpf
for folder in proc sys dev; do
    mount -o rbind /$folder $top/root/$folder || lost "bind $folder"
done
for folder in "$@"; do
    layer=$top/memory/$(echo "$folder" | tr / .)
    mkdir -p "$top/root$folder" "$layer/upper" "$layer/work"
    mount -t overlay -o "lowerdir=$folder,upperdir=$layer/upper,workdir=$layer/work" \
        overlay "$top/root$folder" || lost "overlay of $folder"
done
# Not recursively: /run holds the new root itself.
mount -o bind /run $top/root/run && mount -o bind "$share" "$top/root$share" || lost "bind run"

# What the kernel would load by itself on a machine of its own.
/sbin/modprobe -d "$kernel" -a tcp_diag udp_diag unix_diag veth ||
	lost "no tcp_diag, udp_diag, unix_diag or veth module"

# Modules and, for bcc, headers, where a machine of its own would have them.
release=$(uname -r)
modules=$top/root/lib/modules/$release
mkdir -p "$modules" $top/root/usr/src
ln -sfn "$kernel/lib/modules/$release"/* "$modules/"
for headers in "$kernel"/usr/src/linux-headers-*; do
    [ -d "$headers" ] || continue
    ln -sfn "$headers" $top/root/usr/src/
    case $headers in
    *-common*) ln -sfn "$headers" "$modules/source" ;;
    *) ln -sfn "$headers" "$modules/build" ;;
    esac
done
ip link set lo up

ulimit -n 65536
: >"$share/booted"
while read -r task; do
    own=$share/$task
    : >"$own/began"
    chroot $top/root /bin/sh "$own/command.sh" </dev/null >"$own/output.log" 2>&1
    echo $? >"$own/status.new"
    # Renamed, so that a status is there whole or not at all.
    mv "$own/status.new" "$own/status"
done <"$share/tasks"
: >"$share/over"
sync
