"""The Python mirror of bpf/accepttrace.h, written by bpf/mirror.py: do not edit."""

from __future__ import annotations

import ctypes as c

WAIT_BUCKETS = 240
PORTS = 65536
MAX_NETNS = 16
MAX_ACCEPTORS = 15360
CLIENT_SLOTS = 128
MAX_SLOTS = 1024
SLOT_PROBES = 4
MAX_LISTENERS = 12288
MAX_PLACES = 4096
PLACE_PROBES = 4
MAX_LOCALITIES = 16384
MAX_ORDERS = 16384
RUN_BUCKETS = 16
MAX_CREWS = 16384
CREW_ROWS = 256
MAX_SHARES = 8192
SHARE = 4
GUESTS_SHARE = 16
MAX_ERRORS = 4096
MAX_PIDS = 4096
MAX_CALLS = 65536
MAX_CLOSINGS = 4096
MAX_MIGRATIONS = 4096
MAX_PEERS = 65536
MAX_PORTS = 16384
PORT_STRAYS = 65536
PORT_UNMADE = 131072
PORT_LATE = 262144
MAX_RINGS = 16384
MAX_RECEIVERS = 16384
MAX_READERS = 16384
EVENTS_BYTES = 8388608
EVENTS_WAKE = 2097152.0
MAX_SAMPLED = 16384
MAX_UNIX_NAMES = 16384
MAX_UNIX_QUEUED = 16384
UNIX_PATH = 108
LOSS_LISTENERS_FULL = 0
LOSS_ERRORS_FULL = 1
LOSS_UNATTRIBUTED = 2
LOSS_MIGRATIONS_FULL = 3
LOSS_PEERS_FULL = 4
LOSS_PORTS_FULL = 5
LOSS_RECEIVERS_FULL = 6
LOSS_READERS_FULL = 7
LOSS_ROWLESS = 8
LOSS_MAX = 9
OWNER_ROOT = 0
OWNER_RANGES = 65536
OWNER_GUESTS = 4294967294
OWNER_ALL = 4294967295
SHARED_LISTENERS = 0
SHARED_ACCEPTORS = 1
SHARED_ERRORS = 2
SHARED_MIGRATIONS = 3
SHARED_PEERS = 4
SHARED_PORTS = 5
SHARED_RECEIVERS = 6
SHARED_READERS = 7
SHARED_MAX = 8
RINGS_UNUSED = 0
RINGS_IN_USE = 1
RINGS_UNHOOKED = 2
RINGS_UNKNOWN = 3
WITHOUT_WAITS = 1
WITH_CPUS = 2
WITH_ORDER = 4
CREW = 2147483648
VIA_SYSCALL = 1
VIA_IO_URING = 2
VIA_KERNEL = 4
PENDING_NONE = 0
PENDING_EMPTY = 1
PENDING_WASTED = 2
CALL_UNKNOWN = 0
CALL_BEGAN = 1
CALL_AWAITED = 2
CUT_OFF_UNKNOWN = 2147483648
PROGRAM_NONE = 0
PROGRAM_CLASSIC = 1
PROGRAM_EXTENDED = 2
CLASSIC_READ = 3
EVENT_ACCEPT = 0
EVENT_FAILED = 1
EVENT_RESET = 2
EVENT_DROPPED = 3
WAIT_UNKNOWN = -1
CPU_UNKNOWN = -1
GROUP_NONE = -1
RESULT_UNKNOWN = -4096
NOT_KNOWN = 0
NOT_SET = 1
SET = 2
PLACES_READ = 512


class U8(c.Structure):
    """A plain value; a structure, because ctypes turns bare integers of arrays into int."""

    _fields_ = (("value", c.c_uint8),)


class U32(c.Structure):
    """A plain value; a structure, because ctypes turns bare integers of arrays into int."""

    _fields_ = (("value", c.c_uint32),)


class U64(c.Structure):
    """A plain value; a structure, because ctypes turns bare integers of arrays into int."""

    _fields_ = (("value", c.c_uint64),)


class ShareKey(c.Structure):
    """struct share_key."""

    _fields_ = (
        ("owner", c.c_uint32),
        ("map", c.c_uint32),
    )


class Share(c.Structure):
    """struct share."""

    _fields_ = (
        ("taken", c.c_uint64),
        ("refused", c.c_uint64),
    )


class Settings(c.Structure):
    """struct settings."""

    _fields_ = (
        ("began_us", c.c_uint64),
        ("any_place", c.c_uint32),
        ("any_pid", c.c_uint32),
        ("unusual", c.c_uint32),
        ("rings", c.c_uint32),
        ("never_migrates", c.c_uint32),
        ("family", c.c_uint32),
        ("netns_count", c.c_uint32),
        ("netns", c.c_uint32 * MAX_NETNS),
        ("pidns", c.c_uint32),
        ("ports", c.c_uint8 * PORTS),
    )


class AcceptorKey(c.Structure):
    """struct acceptor_key."""

    _fields_ = (
        ("start_ns", c.c_uint64),
        ("inode", c.c_uint32),
        ("tid", c.c_uint32),
    )


class Acceptor(c.Structure):
    """struct acceptor."""

    _fields_ = (
        ("accepts", c.c_uint64),
        ("empty", c.c_uint64),
        ("failed", c.c_uint64),
        ("refused", c.c_uint64),
        ("wasted", c.c_uint64),
        ("pending", c.c_uint32),
        ("tid", c.c_uint32),
        ("left_us", c.c_uint64),
        ("waited_us", c.c_uint64),
        ("ready_us", c.c_uint64),
        ("served", c.c_uint64),
        ("idled", c.c_uint64),
        ("only_via", c.c_uint32),
        ("owner", c.c_uint32),
        ("entered", c.c_uint64),
        ("wait_unknown", c.c_uint64),
        ("placed", c.c_uint64),
        ("again", c.c_uint64),
        ("steady", c.c_uint64),
        ("before", c.c_uint64),
        ("wait_max_us", c.c_uint64),
        ("process_start_ns", c.c_uint64),
        ("pid", c.c_uint32),
        ("via", c.c_uint32),
        ("comm", c.c_char * 16),
        ("who", AcceptorKey),
        ("wait_us", c.c_uint64 * WAIT_BUCKETS),
        ("clients", c.c_uint8 * CLIENT_SLOTS),
    )


class Locality(c.Structure):
    """struct locality."""

    _fields_ = (
        ("accepts", c.c_uint64),
        ("local", c.c_uint64),
    )


class OrderKey(c.Structure):
    """struct order_key."""

    _fields_ = (
        ("id", c.c_uint32),
        ("port", c.c_uint16),
        ("pad", c.c_uint16),
    )


class Order(c.Structure):
    """struct order."""

    _fields_ = (
        ("entered", c.c_uint64),
        ("left", c.c_uint64),
        ("raced", c.c_uint64),
        ("raced_before", c.c_uint64),
        ("last", c.c_uint64),
        ("run", c.c_uint64),
        ("runs", c.c_uint64 * RUN_BUCKETS),
        ("inode", c.c_uint32),
        ("pad", c.c_uint32),
    )


class ErrorKey(c.Structure):
    """struct error_key."""

    _fields_ = (
        ("acceptor", AcceptorKey),
        ("error", c.c_uint32),
        ("pad", c.c_uint32),
    )


class Tally(c.Structure):
    """struct tally."""

    _fields_ = (
        ("count", c.c_uint64),
        ("owner", c.c_uint32),
        ("pad", c.c_uint32),
    )


class Call(c.Structure):
    """struct call."""

    _fields_ = (
        ("listener", c.c_uint64),
        ("thread", c.c_uint64),
        ("fd", c.c_uint32),
        ("state", c.c_uint32),
    )


class Listener(c.Structure):
    """struct listener."""

    _fields_ = (
        ("requests", c.c_uint64),
        ("cookies_sent", c.c_uint64),
        ("cookies_back", c.c_uint64),
        ("arrived", c.c_uint64),
        ("overflow_syn", c.c_uint64),
        ("overflow_ack", c.c_uint64),
        ("overflow_aborted", c.c_uint64),
        ("overflow_peers", c.c_uint64),
        ("lost", c.c_uint64),
        ("migration_failed", c.c_uint64),
        ("migrated_out", c.c_uint64),
        ("migrated_in", c.c_uint64),
        ("came_us", c.c_uint64),
        ("left_us", c.c_uint64),
        ("waited_us", c.c_uint64),
        ("carried_us", c.c_uint64),
        ("queue_max", c.c_uint64),
        ("stops", c.c_uint64),
        ("stakes_unknown", c.c_uint64),
        ("uncounted", c.c_uint64),
        ("address", c.c_uint8 * 16),
        ("netns", c.c_uint32),
        ("family", c.c_uint16),
        ("port", c.c_uint16),
        ("mptcp", c.c_uint32),
        ("inode", c.c_uint32),
        ("queue_start", c.c_int32),
        ("drops", c.c_uint32),
        ("owner", c.c_uint32),
        ("cut_off", c.c_uint32),
        ("blocked", c.c_uint64),
    )


class UnixCall(c.Structure):
    """struct unix_call."""

    _fields_ = (
        ("listener", c.c_uint64),
        ("child", c.c_uint64),
        ("inode", c.c_uint32),
        ("slept", c.c_uint32),
    )


class Closing(c.Structure):
    """struct closing."""

    _fields_ = (
        ("listener", c.c_uint64),
        ("counted", c.c_uint32),
        ("seen", c.c_uint32),
        ("netns", c.c_uint32),
        ("port", c.c_uint32),
    )


class MigrationKey(c.Structure):
    """struct migration_key."""

    _fields_ = (
        ("from_inode", c.c_uint32),
        ("to_inode", c.c_uint32),
    )


class Migration(c.Structure):
    """struct migration."""

    _fields_ = (
        ("connections", c.c_uint64),
        ("requests", c.c_uint64),
        ("owner", c.c_uint32),
        ("pad", c.c_uint32),
    )


class Peer(c.Structure):
    """struct peer."""

    _fields_ = (
        ("inode", c.c_uint32),
        ("port", c.c_uint16),
        ("family", c.c_uint16),
        ("address", c.c_uint8 * 16),
    )


class PortKey(c.Structure):
    """struct port_key."""

    _fields_ = (
        ("netns", c.c_uint32),
        ("port", c.c_uint32),
    )


class Scratch(c.Structure):
    """struct scratch."""

    _fields_ = (
        ("listener", c.c_uint64),
        ("packet", c.c_uint64),
        ("stolen", c.c_uint64),
        ("from", c.c_uint64),
        ("migrating", c.c_uint64),
        ("moved", c.c_uint64),
        ("receiver", c.c_uint64),
        ("datagrams", c.c_uint32),
        ("steering", c.c_uint32),
    )


class Member(c.Structure):
    """struct member."""

    _fields_ = (
        ("inode", c.c_uint32),
        ("group", c.c_uint32),
        ("size", c.c_uint32),
        ("program", c.c_uint32),
        ("incoming_cpu", c.c_uint32),
        ("program_id", c.c_uint32),
        ("program_name", c.c_char * 16),
        ("instructions", c.c_uint64),
        ("classic", c.c_uint64 * CLASSIC_READ),
    )


class Receiver(c.Structure):
    """struct receiver."""

    _fields_ = (
        ("selected", c.c_uint64),
        ("offered", c.c_uint64),
        ("dropped", c.c_uint64),
        ("address", c.c_uint8 * 16),
        ("netns", c.c_uint32),
        ("family", c.c_uint16),
        ("port", c.c_uint16),
        ("owner", c.c_uint32),
        ("pad", c.c_uint32),
    )


class ReaderKey(c.Structure):
    """struct reader_key."""

    _fields_ = (
        ("start_ns", c.c_uint64),
        ("inode", c.c_uint32),
        ("pid", c.c_uint32),
    )


class Reader(c.Structure):
    """struct reader."""

    _fields_ = (
        ("packets", c.c_uint64),
        ("owner", c.c_uint32),
        ("pid", c.c_uint32),
        ("comm", c.c_char * 16),
    )


class Event(c.Structure):
    """struct event."""

    _fields_ = (
        ("time_ns", c.c_uint64),
        ("process_start_ns", c.c_uint64),
        ("wait_us", c.c_int64),
        ("pid", c.c_uint32),
        ("tid", c.c_uint32),
        ("inode", c.c_uint32),
        ("netns", c.c_uint32),
        ("queue", c.c_uint32),
        ("group", c.c_int32),
        ("result", c.c_int32),
        ("connections", c.c_uint32),
        ("kind", c.c_uint16),
        ("family", c.c_uint16),
        ("local_port", c.c_uint16),
        ("peer_port", c.c_uint16),
        ("cpu", c.c_int16),
        ("received_cpu", c.c_int16),
        ("pad", c.c_uint32),
        ("comm", c.c_char * 16),
        ("local", c.c_uint8 * 16),
        ("peer", c.c_uint8 * 16),
    )


class UnixPeer(c.Structure):
    """struct unix_peer."""

    _fields_ = (
        ("pid", c.c_uint32),
        ("uid", c.c_uint32),
        ("pad", c.c_uint32 * 2),
    )


class UnixName(c.Structure):
    """struct unix_name."""

    _fields_ = (
        ("file_inode", c.c_uint32),
        ("device", c.c_uint32),
        ("length", c.c_uint32),
        ("name", c.c_char * UNIX_PATH),
    )


class EventWish(c.Structure):
    """struct event_wish."""

    _fields_ = (
        ("slower_us", c.c_uint64),
        ("kinds", c.c_uint32),
        ("sample", c.c_uint32),
        ("peer", c.c_uint8 * 16),
        ("mask", c.c_uint8 * 16),
    )


class EventCount(c.Structure):
    """struct event_count."""

    _fields_ = (
        ("accepts", c.c_uint64),
        ("left_out", c.c_uint64),
        ("not_sampled", c.c_uint64),
        ("lost", c.c_uint64),
        ("written", c.c_uint64),
        ("fd", c.c_uint64),
    )


class Sample(c.Structure):
    """struct sample."""

    _fields_ = (
        ("place", c.c_uint32),
        ("chosen", c.c_uint32),
    )


class TcpMember(c.Structure):
    """struct tcp_member."""

    _fields_ = (
        ("member", Member),
        ("half_open", c.c_uint32),
        ("defers", c.c_uint32),
        ("oldest_us", c.c_uint64),
        ("reuseport", c.c_uint32),
        ("mptcp", c.c_uint32),
        ("fast_open", c.c_uint32),
        ("incoming_cpu", c.c_int32),
        ("place", c.c_uint32),
        ("in_kernel", c.c_uint32),
    )


class UdpMember(c.Structure):
    """struct udp_member."""

    _fields_ = (
        ("member", Member),
        ("queue", c.c_uint32),
        ("in_kernel", c.c_uint32),
    )
