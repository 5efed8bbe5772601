// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/* The processes of flood, and the counters that they share. */
#define _GNU_SOURCE
#include "flood.h"

#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

struct board *board;
volatile sig_atomic_t stopped;

void on_stop(int number)
{
	(void)number;
	stopped = 1;
}

void sleep_s(double seconds)
{
	struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

	nanosleep(&t, NULL);
}

int cpus(void)
{
	cpu_set_t may;

	if (sched_getaffinity(0, sizeof(may), &may))
		die("sched_getaffinity");
	return CPU_COUNT(&may);
}

void pin_to(int i)
{
	cpu_set_t may, one;
	int cpu = -1;

	if (sched_getaffinity(0, sizeof(may), &may))
		die("sched_getaffinity");
	while (i >= 0)
		i -= CPU_ISSET(++cpu, &may);
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		die("sched_setaffinity");
}

uint64_t sum(const struct tally *tallies, int n)
{
	uint64_t total = 0;

	for (int i = 0; i < n; i++)
		total += tallies[i].done;
	return total;
}

pid_t spawn(struct tally *tally)
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
