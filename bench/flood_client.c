// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/* The client of flood: processes that connect and reset. */
#define _GNU_SOURCE
#include "flood.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	DESTINATIONS = 8, // 127.0.0.1 .. 127.0.0.8: more (address, source port) pairs
	DRAIN_TIMEOUT_S = 10,
};

/* Connections made that the server has not accepted yet. */
static bool queue_is_long(const struct plan *plan)
{
	uint64_t accepted = sum(board->workers, plan->workers);

	return sum(board->clients, plan->clients) > accepted + (uint64_t)plan->backlog / 4;
}

static bool exchange(const struct plan *plan, struct sockaddr_in *to)
{
	static const struct linger reset = {1, 0};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char byte;

	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	bool made = !connect(fd, (struct sockaddr *)to, sizeof(*to));

	if (made && !plan->server)
		made = recv(fd, &byte, 1, 0) == 0;
	close(fd);
	return made;
}

static void flood(const struct plan *plan, struct tally *tally, uint64_t count)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)plan->port)};
	double start = now_s(), rate = plan->rate / plan->clients;

	for (uint64_t i = 0; !stopped && (!count || i < count); i++) {
		double now = i % 16 && !rate ? start : now_s(); // the clock, seldom

		if (plan->seconds && now - start >= plan->seconds)
			break;
		if (rate && (double)i / rate > now - start)
			sleep_s((double)i / rate - (now - start));
		while (plan->server && i % 16 == 0 && queue_is_long(plan))
			sched_yield();
		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(i % DESTINATIONS));
		if (exchange(plan, &to))
			tally->done++;
		else
			tally->failed++;
	}
}

void run_clients(const struct plan *plan)
{
	int status;

	for (int i = 0; i < plan->clients; i++) {
		uint64_t n = (uint64_t)plan->clients;
		uint64_t part = plan->count / n + ((uint64_t)i < plan->count % n);

		if (spawn(&board->clients[i]))
			continue;
		if (plan->paired)
			pin_to(i);
		if (part || !plan->count)
			flood(plan, &board->clients[i], part);
		_exit(0);
	}
	for (int i = 0; i < plan->clients; i++)
		while (waitpid(board->clients[i].pid, &status, 0) < 0 && errno == EINTR)
			if (stopped)
				kill(board->clients[i].pid, SIGTERM);
}

void await_accepts(const struct plan *plan)
{
	uint64_t made = sum(board->clients, plan->clients);

	for (double limit = now_s() + DRAIN_TIMEOUT_S; now_s() < limit; sleep_s(1e-3))
		if (sum(board->workers, plan->workers) >= made)
			return;
}
