// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/*
 * One process connects, accepts and closes in a loop over loopback, and times it in short blocks.
 *
 *     loop PORT      listens on 127.0.0.1 (plain) and 127.0.0.2 (SO_REUSEPORT), then reads lines
 *                    "plain|reuseport BLOCKS TICKS" and answers each with a line: how
 *                    many connections it made, nanoseconds of the median one, and nanoseconds of
 *                    one in each of the blocks (CLOCK_MONOTONIC).
 *
 * A block is so many ticks of the kernel's timer long, because a tick takes as long as two
 * connections. The same port twice, so that one filter of a tracer lets both through.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "mark.h"

enum { MAX_BLOCKS = 1000, MAX_CONNECTIONS = 1 << 20, BACKLOG = 16 };

struct listener {
	int fd;
	struct sockaddr_in address;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct listener listener_at(const char *host, int port, int reuseport)
{
	struct listener made = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

	made.address.sin_family = AF_INET;
	made.address.sin_port = htons(port);
	inet_pton(AF_INET, host, &made.address.sin_addr);
	if (reuseport &&
	    setsockopt(made.fd, SOL_SOCKET, SO_REUSEPORT, &reuseport, sizeof(reuseport)))
		die("SO_REUSEPORT");
	if (bind(made.fd, (void *)&made.address, sizeof(made.address)))
		die("bind");
	if (listen(made.fd, BACKLOG))
		die("listen");
	return made;
}

/* The client resets: TIME_WAIT would use up the ports, and costs more than it tells. */
static void connect_once(const struct listener *to)
{
	struct linger reset = {.l_onoff = 1};
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), server;

	if (connect(client, (void *)&to->address, sizeof(to->address)))
		die("connect");
	server = accept4(to->fd, NULL, NULL, SOCK_CLOEXEC);
	if (server < 0)
		die("accept4");
	setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(client);
	close(server);
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static uint32_t costs[MAX_CONNECTIONS]; // of each connection of a run
static unsigned int made;

/* Connects until the kernel's timer has ticked `ticks` times. */
static void connect_for(const struct listener *to, int ticks)
{
	uint64_t tick = now_ns(CLOCK_MONOTONIC_COARSE), began = now_ns(CLOCK_MONOTONIC), now;

	while (ticks && made < MAX_CONNECTIONS) {
		connect_once(to);
		now = now_ns(CLOCK_MONOTONIC);
		costs[made++] = now - began;
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

static void run(const struct listener *to, int blocks, int ticks)
{
	static double block_costs[MAX_BLOCKS];

	connect_for(to, 1); // begin just after a tick
	made = 0;
	MARK(MARK_BEGIN);
	for (int block = 0; block < blocks; block++) {
		uint64_t began = now_ns(CLOCK_MONOTONIC);
		unsigned int before = made;

		connect_for(to, ticks);
		block_costs[block] = (double)(now_ns(CLOCK_MONOTONIC) - began) / (made - before);
	}
	MARK(MARK_END);
	qsort(costs, made, sizeof(*costs), by_size);
	printf("%u %u", made, costs[made / 2]);
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
	char which[16];

	while (scanf("%15s %d %d", which, &blocks, &ticks) == 3) {
		if (blocks < 1 || blocks > MAX_BLOCKS)
			return 2;
		run(strcmp(which, "reuseport") ? &plain : &reuseport, blocks, ticks);
	}
	return 0;
}
