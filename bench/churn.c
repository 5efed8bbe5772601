// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/*
 * churn: workers that take some connections, end, and are replaced at once, on loopback.
 *
 *   churn own|shared PORT [-w WORKERS] [-a ACCEPTS] [-t] [-c CLIENTS] [-d SECONDS]
 *
 * own: each worker opens a SO_REUSEPORT socket, and what waits there when it ends is reset. shared:
 * one socket, opened before the fork. A worker ends after ACCEPTS connections; with -t each of its
 * connections is taken by another thread. The load waits for a line (or the end) of standard input,
 * so that a tracer can be attached first. Then it prints one JSON object: connections that clients
 * made, those that workers took, workers that lived. Every count is kept in shared memory, by the
 * one who acted.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
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

enum { BACKLOG = 1024, PATIENCE_MS = 200, MOST_CLIENTS = 64 };

static struct {
	bool own, threads;
	int port, workers, accepts, clients;
	double seconds;
} plan = {.workers = 4, .accepts = 300, .clients = 2, .seconds = 10};

static struct {
	_Atomic uint64_t made, taken;
	_Atomic bool load_over, over;
} *board;

static struct sockaddr_in place(void)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons((uint16_t)plan.port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listener(void)
{
	struct sockaddr_in address = place();
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (plan.own)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, BACKLOG))
		die("listen");
	return fd;
}

/* With a reset, so that no TIME_WAIT takes the ports. */
static void reset(int fd)
{
	struct linger now = {1, 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static bool take(int fd)
{
	int taken = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	if (taken < 0)
		return false;
	board->taken++;
	reset(taken);
	return true;
}

static void *take_one(void *fd)
{
	return take(*(int *)fd) ? fd : NULL;
}

static bool take_by_thread(int fd)
{
	pthread_t thread;
	void *taken = NULL;

	if (pthread_create(&thread, NULL, take_one, &fd) || pthread_join(thread, &taken))
		die("thread");
	return taken;
}

static void work(int shared)
{
	struct pollfd waiting = {plan.own ? listener() : shared, POLLIN, 0};
	int left = plan.accepts;

	while (left && !board->over)
		if (poll(&waiting, 1, PATIENCE_MS) > 0)
			left -= plan.threads ? take_by_thread(waiting.fd) : take(waiting.fd);
	_exit(0);
}

/* A client counts a connection once connect() said so, and waits until the server resets it. */
static void connect_again_and_again(void)
{
	struct timeval patience = {0, PATIENCE_MS * 1000};
	struct sockaddr_in address = place();
	char byte;

	while (!board->load_over) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
		if (!connect(fd, (struct sockaddr *)&address, sizeof(address))) {
			board->made++;
			(void)!recv(fd, &byte, 1, 0);
		}
		reset(fd);
	}
	_exit(0);
}

static pid_t spawn(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return pid;
}

static uint64_t keep_workers(int shared, double until)
{
	uint64_t lived = 0;

	for (int present = 0; now_s() < until; present--) {
		for (; present < plan.workers; present++, lived++)
			if (!spawn())
				work(shared);
		while (waitpid(-1, NULL, WNOHANG) <= 0 && now_s() < until)
			nanosleep(&(struct timespec){0, 200000}, NULL);
	}
	return lived;
}

static void usage(void)
{
	fputs("churn own|shared PORT [-w WORKERS] [-a ACCEPTS] [-t] [-c CLIENTS] [-d SECONDS]\n",
	      stderr);
	exit(2);
}

static void parse(int argc, char **argv)
{
	int option;

	if (argc < 3 || (strcmp(argv[1], "own") && strcmp(argv[1], "shared")))
		usage();
	plan.own = !strcmp(argv[1], "own");
	plan.port = atoi(argv[2]);
	optind = 3;
	while ((option = getopt(argc, argv, "w:a:tc:d:")) != -1) {
		if (option == 'w')
			plan.workers = atoi(optarg);
		else if (option == 'a')
			plan.accepts = atoi(optarg);
		else if (option == 't')
			plan.threads = true;
		else if (option == 'c')
			plan.clients = atoi(optarg);
		else if (option == 'd')
			plan.seconds = atof(optarg);
		else
			usage();
	}
	if (plan.clients > MOST_CLIENTS || plan.workers < 1 || plan.accepts < 1)
		usage();
}

int main(int argc, char **argv)
{
	pid_t clients[MOST_CLIENTS];
	uint64_t lived;
	int shared = -1;

	parse(argc, argv);
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (board == MAP_FAILED)
		die("mmap");
	if (!plan.own)
		shared = listener();
	fprintf(stderr, "port %d\n", plan.port);
	while (getchar() != '\n' && !feof(stdin) && !ferror(stdin))
		;
	for (int i = 0; i < plan.clients; i++)
		if (!(clients[i] = spawn()))
			connect_again_and_again();
	lived = keep_workers(shared, now_s() + plan.seconds);
	board->load_over = true;
	for (int i = 0; i < plan.clients; i++)
		waitpid(clients[i], NULL, 0);
	nanosleep(&(struct timespec){0, PATIENCE_MS * 1000000L}, NULL); /* what waits is taken */
	board->over = true;
	while (wait(NULL) > 0 || errno == EINTR)
		;
	printf("{\"made\":%" PRIu64 ",\"taken\":%" PRIu64 ",\"workers\":%" PRIu64 "}\n",
	       board->made, board->taken, lived);
	return 0;
}
