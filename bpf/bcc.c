// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
/*
 * The bcc dialect of the same programs. bpf/fold.py folds it and what it includes into one text,
 * because bcc rewrites the main file only. The loader compiles one attach type at a time and names
 * its hooks (ATTACH_<type>, HOOK_<program>), since bcc attaches every trampoline that it compiles.
 */
#include "drift.bpf.h"
#include "tcp/accept.bpf.h"
#include "tcp/request.bpf.h"
#include "tcp/close.bpf.h"
#include "udp/datagrams.bpf.h"

/* bcc knows a program by its linkage, not by its section. */
#define SEC(name)
#ifdef ATTACH_kprobe
#include "attach/kprobe.bpf.h"
#endif
#ifdef ATTACH_tracepoint
#include "attach/tracepoint.bpf.h"
#endif
#undef SEC

/* Trampolines and iterators it knows by names of its own, which differ between its versions. */
#ifdef PLACED_BY_BTF
#define SEC(name) static __always_inline
#include "tcp/members.bpf.h"
#include "udp/receivers.bpf.h"
BPF_ITER(tcp)
{
	return iter_members(ctx);
}
BPF_ITER(udp)
{
	return iter_receivers(ctx);
}
#ifdef ATTACH_fentry
#include "attach/fentry.bpf.h"
#ifdef HOOK_fentry_inet_accept
KFUNC_PROBE(__inet_accept, void *socket)
{
	return fentry_inet_accept(ctx);
}
#endif
#ifdef HOOK_fentry_csk_accept
KFUNC_PROBE(inet_csk_accept, void *sk)
{
	return fentry_csk_accept(ctx);
}
#endif
#ifdef HOOK_fentry_sock_graft
KFUNC_PROBE(security_sock_graft, void *sk)
{
	return fentry_sock_graft(ctx);
}
#endif
#ifdef HOOK_fexit_sys_accept4
KRETFUNC_PROBE(__sys_accept4, int fd)
{
	return fexit_sys_accept4(ctx);
}
#endif
#ifdef HOOK_fentry_conn_request
KFUNC_PROBE(tcp_conn_request, void *ops)
{
	return fentry_conn_request(ctx);
}
#endif
#ifdef HOOK_fentry_cookie_v4
KFUNC_PROBE(cookie_v4_init_sequence, void *skb)
{
	return fentry_cookie_v4(ctx);
}
#endif
#ifdef HOOK_fentry_cookie_v6
KFUNC_PROBE(cookie_v6_init_sequence, void *skb)
{
	return fentry_cookie_v6(ctx);
}
#endif
#ifdef HOOK_fexit_cookie_sock_4
KRETFUNC_PROBE(tcp_get_cookie_sock, void *sk)
{
	return fexit_cookie_sock_4(ctx);
}
#endif
#ifdef HOOK_fexit_cookie_sock_5
KRETFUNC_PROBE(tcp_get_cookie_sock, void *sk)
{
	return fexit_cookie_sock_5(ctx);
}
#endif
#ifdef HOOK_fexit_check_req_5
KRETFUNC_PROBE(tcp_check_req, void *sk)
{
	return fexit_check_req_5(ctx);
}
#endif
#ifdef HOOK_fexit_check_req_6
KRETFUNC_PROBE(tcp_check_req, void *sk)
{
	return fexit_check_req_6(ctx);
}
#endif
#ifdef HOOK_fentry_queue_add
KFUNC_PROBE(inet_csk_reqsk_queue_add, void *sk)
{
	return fentry_queue_add(ctx);
}
#endif
#ifdef HOOK_fentry_listen_stop
KFUNC_PROBE(inet_csk_listen_stop, void *sk)
{
	return fentry_listen_stop(ctx);
}
#endif
#ifdef HOOK_fentry_child_forget
KFUNC_PROBE(inet_child_forget, void *sk)
{
	return fentry_child_forget(ctx);
}
#endif
#ifdef HOOK_fexit_migrate_sock
KRETFUNC_PROBE(reuseport_migrate_sock, void *sk)
{
	return fexit_migrate_sock(ctx);
}
#endif
#ifdef HOOK_fexit_io_accept
KRETFUNC_PROBE(io_accept, void *req)
{
	return fexit_io_accept(ctx);
}
#endif
#ifdef HOOK_fentry_io_accept
KFUNC_PROBE(io_accept, void *req)
{
	return fentry_io_accept(ctx);
}
#endif
#ifdef HOOK_fexit_select_sock
KRETFUNC_PROBE(reuseport_select_sock, void *sk)
{
	return fexit_select_sock(ctx);
}
#endif
#ifdef HOOK_fentry_udp_enqueue
KFUNC_PROBE(__udp_enqueue_schedule_skb, void *sk)
{
	return fentry_udp_enqueue(ctx);
}
#endif
#ifdef HOOK_fexit_udp_enqueue
KRETFUNC_PROBE(__udp_enqueue_schedule_skb, void *sk)
{
	return fexit_udp_enqueue(ctx);
}
#endif
#endif
#endif
