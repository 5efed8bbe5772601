// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/* The server of flood: workers that accept and close. */
#define _GNU_SOURCE
#include "flood.h"

#include <arpa/inet.h>
#include <netinet/in.h>
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
		if (spawn(&board->workers[i]))
			continue;
		int listener = plan->reuseport ? bind_listener(plan, true) : bound;

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
