/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/* The end of accept() and accept4() → the logic, for kernels without trampolines and kprobes. */

static __always_inline struct file *file_of(struct task_struct *task, __u32 fd)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **slots = BPF_CORE_READ(table, fd);
	struct file *file = NULL;

	if (fd < BPF_CORE_READ(table, max_fds))
		bpf_probe_read_kernel(&file, sizeof(file), slots + fd);
	return file;
}

static __always_inline struct sock *sock_of(struct file *file)
{
	struct socket *socket;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, sk);
}

static __always_inline bool is_inet(struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return family == AF_INET || family == AF_INET6;
}

static __always_inline void accept_returned(struct pt_regs *regs, long returned)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct file *file = file_of(task, SYSCALL_FD(regs));
	struct sock *listener = sock_of(file);
	__u32 inode;

	if (!listener || is_compat(task) || !is_inet(listener) || !traced(PROBED, listener))
		return;
	inode = BPF_CORE_READ(file, f_inode, i_ino);
	if (returned >= 0)
		accepted(listener, inode, sock_of(file_of(task, returned)));
	else if (BPF_CORE_READ(listener, __sk_common.skc_state) == TCP_LISTEN)
		failed(listener, inode, -returned);
}

SEC("raw_tp/sys_exit")
int raw_tp_sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_regs *regs = (void *)ctx->args[0];
	int number = SYSCALL_NUMBER(regs);

	if (number == NR_accept4 || number == NR_accept)
		accept_returned(regs, ctx->args[1]);
	return 0;
}
