// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/* What the parts of flood.c share: the plan, the counters, and how processes are started. */
#ifndef FLOOD_H
#define FLOOD_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "common.h"

enum {
	MAX_PROCESSES = 64,
	DESTINATIONS = 8, // 127.0.0.1 .. 127.0.0.8: more (address, source port) pairs
	DRAIN_TIMEOUT_S = 10,
};

struct plan {
	bool server, client, reuseport;
	bool gated; // load waits for standard input
	int port, workers, clients, backlog;
	uint64_t count; // connections, 0: no limit
	double seconds, rate; // 0: no limit
};

/* One cache line a process. */
struct tally {
	_Alignas(64) _Atomic uint64_t done; // accepts, or connections made
	_Atomic uint64_t failed;
	pid_t pid;
};

static struct board {
	struct tally workers[MAX_PROCESSES], clients[MAX_PROCESSES];
	_Atomic int ready;
} *board;

static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
	(void)number;
	stopped = 1;
}

static void sleep_s(double seconds)
{
	struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

	nanosleep(&t, NULL);
}

static uint64_t sum(const struct tally *tallies, int n)
{
	uint64_t total = 0;

	for (int i = 0; i < n; i++)
		total += tallies[i].done;
	return total;
}

static pid_t spawn(struct tally *tally)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		die("fork");
	if (pid) {
		tally->pid = pid;
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	return 0;
}

#endif
