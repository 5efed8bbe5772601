// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/* What the parts of flood share: the plan, the counters, and how processes are started. */
#ifndef FLOOD_H
#define FLOOD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "common.h"

enum {
	MAX_PROCESSES = 64,
};

struct plan {
	bool server, client, reuseport;
	bool gated; // load waits for standard input
	bool paired; // on each CPU a worker, and a client whose connections it gets
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

struct board {
	struct tally workers[MAX_PROCESSES], clients[MAX_PROCESSES];
	_Atomic int ready;
};

extern struct board *board; // in memory that all processes share
extern volatile sig_atomic_t stopped;

/* Handler of the signals that end it. */
void on_stop(int number);
void sleep_s(double seconds);
/* Of `done`, over n processes. */
uint64_t sum(const struct tally *tallies, int n);
/* How many CPUs this process may use; pin_to(): from now on the i-th of them alone. */
int cpus(void);
void pin_to(int i);
/* As fork(), for a child that dies with this process and counts in `tally`. */
pid_t spawn(struct tally *tally);

/* The server: processes that accept and close. It serves when this returns; `plan` has its port. */
void start_server(struct plan *plan);
void stop_server(const struct plan *plan);

/* The client: processes that connect and reset. Returns when all have ended. */
void run_clients(const struct plan *plan);
/* Until the server of the same plan has accepted what its clients made, or for some seconds. */
void await_accepts(const struct plan *plan);

#endif
