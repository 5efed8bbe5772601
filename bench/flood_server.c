// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/* The server of flood: workers that accept and close. */
#define _GNU_SOURCE
#include "flood.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int bind_listener(struct plan *plan, bool listening)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)plan->port),
				      .sin_addr.s_addr = htonl(INADDR_ANY)};
	socklen_t length = sizeof(address);
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* All of 127/8, but nothing from outside. */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3))
		die("socket on lo");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (plan->reuseport)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&address, length))
		die("bind");
	if (listening && listen(fd, plan->backlog))
		die("listen");
	getsockname(fd, (struct sockaddr *)&address, &length);
	plan->port = ntohs(address.sin_port);
	return fd;
}

/* Of a group, the listener that began to listen i-th gets what the i-th CPU receives. */
static void by_cpu(int listener, int workers)
{
	struct sock_filter code[] = {
		{BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)(SKF_AD_OFF + SKF_AD_CPU)},
		{BPF_ALU | BPF_MOD | BPF_K, 0, 0, (uint32_t)workers},
		{BPF_RET | BPF_A, 0, 0, 0},
	};
	struct sock_fprog program = {.len = 3, .filter = code};

	if (setsockopt(listener, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)))
		die("SO_ATTACH_REUSEPORT_CBPF");
}

/*
 * On the CPU of its client, and without preempting it: that connects until the queue is long, so a
 * switch between the two is paid for by many connections.
 */
static void stay_behind(int i)
{
	struct sched_param none = {0};

	pin_to(i);
	if (sched_setscheduler(0, SCHED_BATCH, &none))
		die("SCHED_BATCH");
}

static void serve(int listener, struct tally *tally)
{
	board->ready++;
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0) {
			tally->failed++;
			continue;
		}
		tally->done++;
		close(fd);
	}
}

void start_server(struct plan *plan)
{
	/* With a socket a worker this one never listens: it reserves the port. */
	int bound = bind_listener(plan, !plan->reuseport);

	for (int i = 0; i < plan->workers; i++) {
		if (spawn(&board->workers[i])) {
			while (plan->paired && board->ready <= i) // in the order of the CPUs
				sleep_s(1e-4);
			continue;
		}
		int listener = plan->reuseport ? bind_listener(plan, true) : bound;

		if (plan->paired) {
			by_cpu(listener, plan->workers);
			stay_behind(i);
		}

		if (listener != bound)
			close(bound);
		signal(SIGINT, SIG_IGN);
		serve(listener, &board->workers[i]);
	}
	for (double limit = now_s() + 5; board->ready < plan->workers; sleep_s(1e-4))
		if (now_s() > limit)
			exit((fputs("workers are not ready\n", stderr), 1));
	close(bound);
}

void stop_server(const struct plan *plan)
{
	for (int i = 0; i < plan->workers; i++)
		kill(board->workers[i].pid, SIGKILL);
	for (int i = 0; i < plan->workers; i++)
		waitpid(board->workers[i].pid, NULL, 0);
}
