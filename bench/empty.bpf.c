/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* Programs that do nothing: what attaching alone costs, below which no tracer can get. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("fentry/__inet_accept")
int fentry(void *ctx)
{
	return 0;
}

SEC("fexit/__inet_accept")
int fexit(void *ctx)
{
	return 0;
}

SEC("kprobe/__inet_accept")
int kprobe(void *ctx)
{
	return 0;
}

SEC("kretprobe/__inet_accept")
int kretprobe(void *ctx)
{
	return 0;
}

SEC("raw_tp/sys_exit")
int raw_tp(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license")
= "Dual BSD/GPL";
