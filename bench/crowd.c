// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
/*
 * crowd PROCESSES LISTENERS HELD FILES EACH: a parent that opens LISTENERS sockets on ports of the
 * kernel's choice; so many processes, of which HELD inherit the listeners and wait for all of them
 * in an epoll set of their own, the others for EACH of them, and each with so many other open
 * files. Prints the ports of the first and the last, then waits for the end of its input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int listener(int *port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(address);
	int sock = socket(AF_INET, SOCK_STREAM, 0);

	if (sock < 0 || bind(sock, (void *)&address, size) || listen(sock, 16))
		fail("listen");
	getsockname(sock, (void *)&address, &size);
	*port = ntohs(address.sin_port);
	return sock;
}

static void wait_for_all(const int *listeners, int count)
{
	struct epoll_event event = {.events = EPOLLIN};
	int set = epoll_create1(0);

	for (int i = 0; i < count; i++)
		if (epoll_ctl(set, EPOLL_CTL_ADD, listeners[i], &event))
			fail("epoll_ctl");
	for (;;)
		epoll_wait(set, &event, 1, -1);
}

/* The listeners have the descriptors from the first on, without a gap: of them `kept` are kept. */
static void keep(const int *listeners, int count, const int *from, int kept)
{
	if (from > listeners)
		close_range(listeners[0], from[0] - 1, 0);
	if (from + kept < listeners + count)
		close_range(from[0] + kept, listeners[count - 1], 0);
}

static void live(const int *listeners, int count, int files)
{
	for (int i = 0; i < files; i++)
		if (open("/dev/null", O_RDONLY) < 0)
			fail("open");
	if (count)
		wait_for_all(listeners, count);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	int processes, count, held, files, each, *listeners, first = 0, last = 0;
	struct rlimit limit = {1 << 20, 1 << 20};
	int parent = getpid();

	if (argc != 6)
		return 2;
	processes = atoi(argv[1]);
	count = atoi(argv[2]);
	held = atoi(argv[3]);
	files = atoi(argv[4]);
	each = atoi(argv[5]);
	setrlimit(RLIMIT_NOFILE, &limit);
	listeners = calloc(count + 1, sizeof(*listeners));
	for (int i = 0; i < count; i++) {
		listeners[i] = listener(&last);
		first = first ? first : last;
	}
	for (int i = 0; i < processes; i++) {
		int kept = i < held ? count : each;
		const int *from =
			listeners + (kept < count ? (long)i * each % (count - each + 1) : 0);
		int pid = fork();

		if (pid < 0)
			fail("fork");
		if (pid)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			return 0;
		keep(listeners, count, from, kept);
		live(from, kept, files);
	}
	printf("%d %d\n", first, last);
	fflush(stdout);
	getchar();
	return 0;
}
