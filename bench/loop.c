// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/*
 * One process connects, accepts and closes in a loop over loopback, and times it in short blocks.
 *
 *     loop PORT      listens on 127.0.0.1 (plain), 127.0.0.2 (SO_REUSEPORT) and the UNIX socket
 *                    @loop, then reads lines "plain|reuseport|unix BLOCKS TICKS" and answers each
 *                    with a line: how many connections it made, nanoseconds of the lower decile,
 *                    and nanoseconds of one in each of the blocks (CLOCK_MONOTONIC).
 *
 * A block is so many ticks of the kernel's timer long, because a tick takes as long as two
 * connections. The same port twice, so that one filter of a tracer lets both through.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "common.h"
#include "mark.h"

enum { MAX_BLOCKS = 1000, MAX_CONNECTIONS = 1 << 20, BACKLOG = 16, HELD = 16 };

struct listener {
	int fd;
	socklen_t size;
	union {
		struct sockaddr any;
		struct sockaddr_in inet;
		struct sockaddr_un name;
	} address;
};

static struct listener listening(struct listener made, int reuseport)
{
	made.fd = socket(made.address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (reuseport &&
	    setsockopt(made.fd, SOL_SOCKET, SO_REUSEPORT, &reuseport, sizeof(reuseport)))
		die("SO_REUSEPORT");
	if (bind(made.fd, &made.address.any, made.size))
		die("bind");
	if (listen(made.fd, BACKLOG))
		die("listen");
	return made;
}

static struct listener listener_at(const char *host, int port, int reuseport)
{
	struct listener made = {.size = sizeof(made.address.inet)};

	made.address.inet.sin_family = AF_INET;
	made.address.inet.sin_port = htons(port);
	inet_pton(AF_INET, host, &made.address.inet.sin_addr);
	return listening(made, reuseport);
}

/* Abstract: after a zero, and nothing is left over. */
static struct listener listener_called(const char *name)
{
	struct listener made = {.size = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)};

	made.address.name.sun_family = AF_UNIX;
	memcpy(made.address.name.sun_path + 1, name, strlen(name));
	return listening(made, 0);
}

struct connection {
	int client, server;
};

static struct connection connected(const struct listener *to)
{
	int family = to->address.any.sa_family;
	struct connection made = {.client = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)};

	if (connect(made.client, &to->address.any, to->size))
		die("connect");
	made.server = accept4(to->fd, NULL, NULL, SOCK_CLOEXEC);
	if (made.server < 0)
		die("accept4");
	return made;
}

/* The client resets: TIME_WAIT would use up the ports, and costs more than it is worth. */
static void closed(struct connection made)
{
	struct linger reset = {.l_onoff = 1};

	setsockopt(made.client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(made.client);
	close(made.server);
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static uint32_t costs[MAX_CONNECTIONS]; // of each connection that was timed
static unsigned int timed;

/* Connects until the kernel's timer has ticked `ticks` times. */
static void connect_for(const struct listener *to, int ticks)
{
	uint64_t tick = now_ns(CLOCK_MONOTONIC_COARSE), began = now_ns(CLOCK_MONOTONIC), now;

	while (ticks && timed < MAX_CONNECTIONS) {
		closed(connected(to));
		now = now_ns(CLOCK_MONOTONIC);
		costs[timed++] = now - began;
		began = now;
		now = now_ns(CLOCK_MONOTONIC_COARSE);
		ticks -= now != tick;
		tick = now;
	}
}

static int by_size(const void *one, const void *other)
{
	uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;

	return (a > b) - (a < b);
}

/*
 * Each block holds another number of connections open. Otherwise the loop may take its sockets from
 * the boundary of two slabs for as long as it runs, or not, and that is hundreds of instructions.
 * Some blocks do all the same, sometimes most of them: hence a decile instead of the median.
 */
static void run(const struct listener *to, int blocks, int ticks)
{
	static double block_costs[MAX_BLOCKS];
	struct connection held[HELD];
	unsigned int untimed = 0;

	timed = 0;
	MARK(MARK_BEGIN);
	for (int block = 0; block < blocks; block++) {
		unsigned int before;
		uint64_t began;

		for (int i = 0; i < block % HELD; i++, untimed++)
			held[i] = connected(to);
		connect_for(to, 1); // begin just after a tick
		before = timed;
		began = now_ns(CLOCK_MONOTONIC);
		connect_for(to, ticks);
		block_costs[block] = (double)(now_ns(CLOCK_MONOTONIC) - began) / (timed - before);
		for (int i = 0; i < block % HELD; i++)
			closed(held[i]);
	}
	MARK(MARK_END);
	qsort(costs, timed, sizeof(*costs), by_size);
	printf("%u %u", timed + untimed, costs[timed / 10]);
	for (int block = 0; block < blocks; block++)
		printf(" %.1f", block_costs[block]);
	putchar('\n');
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int port = argc == 2 ? atoi(argv[1]) : 0, blocks, ticks;
	struct listener plain = listener_at("127.0.0.1", port, 0);
	struct listener reuseport = listener_at("127.0.0.2", port, 1);
	struct listener called = listener_called("loop");
	const struct listener *to;
	char which[16];

	while (scanf("%15s %d %d", which, &blocks, &ticks) == 3) {
		if (blocks < 1 || blocks > MAX_BLOCKS)
			return 2;
		to = !strcmp(which, "unix") ? &called : &plain;
		to = !strcmp(which, "reuseport") ? &reuseport : to;
		run(to, blocks, ticks);
	}
	return 0;
}
