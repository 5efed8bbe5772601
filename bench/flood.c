// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/*
 * flood: as many accepted connections a second as this machine allows, on loopback.
 *
 *   flood server MODE PORT [-w WORKERS] [-b BACKLOG]         until SIGTERM, SIGINT
 *   flood client PORT [-p PROCESSES] [-n COUNT] [-d SECONDS] [-r RATE]
 *   flood pair MODE PORT [all of these] [-g] [-c]            both, with back-pressure
 *
 * -c: for each CPU a worker and a client, both on it; reuseport steers by CPU. That is the most
 * that a machine can make: no connection crosses from one CPU to another. -g: the server listens,
 * then load waits for a line (or the end) of standard input, so that a tracer can be attached to
 * known processes first; "port N" on stderr says that all workers serve. MODE: reuseport (a socket
 * a worker) or shared (one socket, opened before the fork). Each prints one JSON object. PORT 0
 * (server, pair): a free one. `pair` knows both counts, so it never lets the accept queue overflow,
 * and it waits until every connection was accepted. A lone client instead waits until the server
 * closed each connection.
 *
 * Workers sleep in accept4() on a blocking socket: with a queue there is no wake-up to pay for.
 * Clients reset their connections, so that no TIME_WAIT is left. A reset may overtake accept():
 * the connection stays queued and is accepted all the same.
 */
#define _GNU_SOURCE
#include "flood.h"

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void report(const struct plan *plan, double seconds)
{
	uint64_t made = sum(board->clients, plan->clients), failed = 0;
	const char *comma = "";
	uint64_t accept_errors = 0;

	for (int i = 0; i < plan->clients; i++)
		failed += board->clients[i].failed;
	printf("{\"port\":%d,\"seconds\":%.3f", plan->port, seconds);
	if (plan->client)
		printf(",\"connections\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"rate\":%.0f", made,
		       failed, (double)made / seconds);
	if (plan->server) {
		for (int i = 0; i < plan->workers; i++)
			accept_errors += board->workers[i].failed;
		printf(",\"mode\":\"%s\",\"accepts\":%" PRIu64 ",\"accept_errors\":%" PRIu64
		       ",\"accepts_by_pid\":{",
		       plan->reuseport ? "reuseport" : "shared", sum(board->workers, plan->workers),
		       accept_errors);
		for (int i = 0; i < plan->workers; i++, comma = ",")
			printf("%s\"%d\":%" PRIu64, comma, board->workers[i].pid,
			       board->workers[i].done);
		printf("}");
	}
	puts("}");
}

static void usage(void)
{
	fputs("flood server reuseport|shared PORT [-w WORKERS] [-b BACKLOG]\n"
	      "flood client PORT [-p PROCESSES] [-n COUNT] [-d SECONDS] [-r RATE]\n"
	      "flood pair reuseport|shared PORT [any of these] [-g] [-c]\n",
	      stderr);
	exit(2);
}

static int number(const char *text, int least, int most)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*end || end == text || value < least || value > most)
		usage();
	return (int)value;
}

static struct plan parse(int argc, char **argv)
{
	struct plan plan = {.workers = 4, .clients = 1, .backlog = 4096};
	const char *verb = argc > 2 ? argv[1] : "";
	int option, at = 2;

	plan.server = !strcmp(verb, "server") || !strcmp(verb, "pair");
	plan.client = !strcmp(verb, "client") || !strcmp(verb, "pair");
	if (!plan.server && !plan.client)
		usage();
	if (plan.server) {
		plan.reuseport = !strcmp(argv[at], "reuseport");
		if (!plan.reuseport && strcmp(argv[at], "shared"))
			usage();
		at++;
	}
	if (at >= argc)
		usage();
	plan.port = number(argv[at], 0, 65535);
	optind = at + 1;
	while ((option = getopt(argc, argv, "w:p:b:n:d:r:gc")) != -1) {
		switch (option) {
		case 'w':
			plan.workers = number(optarg, 1, MAX_PROCESSES);
			break;
		case 'p':
			plan.clients = number(optarg, 1, MAX_PROCESSES);
			break;
		case 'b':
			plan.backlog = number(optarg, 1, 1 << 16);
			break;
		case 'n':
			plan.count = strtoull(optarg, NULL, 10);
			break;
		case 'd':
			plan.seconds = strtod(optarg, NULL);
			break;
		case 'r':
			plan.rate = strtod(optarg, NULL);
			break;
		case 'g':
			plan.gated = true;
			break;
		case 'c':
			plan.paired = true;
			break;
		default:
			usage();
		}
	}
	if (plan.paired) {
		plan.workers = plan.clients = cpus() < MAX_PROCESSES ? cpus() : MAX_PROCESSES;
		if (!plan.reuseport || !plan.client)
			usage();
	}
	if (plan.client && !plan.count && !plan.seconds)
		plan.seconds = 1;
	return plan;
}

int main(int argc, char **argv)
{
	struct plan plan = parse(argc, argv);
	struct sigaction stop = {.sa_handler = on_stop};

	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (board == MAP_FAILED)
		die("mmap");
	if (plan.server)
		start_server(&plan);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	if (plan.server) {
		fprintf(stderr, "port %d\n", plan.port); // whoever waits for it may connect now
		fflush(stderr);
	}
	if (plan.gated)
		while (!stopped && getchar() != '\n' && !feof(stdin) && !ferror(stdin))
			;
	double start = now_s();

	if (plan.client)
		run_clients(&plan);
	else
		while (!stopped)
			sleep_s(0.05);
	double seconds = now_s() - start;

	if (plan.server && plan.client)
		await_accepts(&plan);
	if (plan.server)
		stop_server(&plan);
	report(&plan, seconds);
	return 0;
}
