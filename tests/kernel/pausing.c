/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause) */
/*
 * Preloaded into a program: before it changes what it has built (a listener closes, another program
 * is attached to a group), it says what stands, as one line of JSON, and waits for an answer. The
 * socket for that is named by PAUSING_FD.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 1024 };

static struct {
	struct sockaddr_in6 address; /* or IPv4, zeros behind it; family 0: no listener */
	unsigned long inode, accepts;
	int attached; /* the option that attached a program to it last, 0: none */
	unsigned long when;
	bool by_cpu;
} known[FILES];

static unsigned long attachments;
static bool is_new; /* something happened since it was said last */

static bool is_listener(int fd)
{
	return fd >= 0 && fd < FILES && known[fd].address.sin6_family;
}

static bool are_one_group(int fd, int other)
{
	return is_listener(other) &&
	       !memcmp(&known[fd].address, &known[other].address, sizeof(known[fd].address));
}

static const char *selector_of(int fd)
{
	unsigned long latest = 0;
	const char *found = "hash";

	for (int other = 0; other < FILES; other++)
		if (are_one_group(fd, other) && known[other].by_cpu)
			found = "incoming_cpu";
	for (int other = 0; other < FILES; other++)
		if (are_one_group(fd, other) && known[other].when > latest) {
			latest = known[other].when;
			found = known[other].attached == SO_ATTACH_REUSEPORT_EBPF ? "ebpf" : "cbpf";
		}
	return found;
}

static int first_of(int fd)
{
	int first = 0;

	while (!are_one_group(fd, first))
		first++;
	return first;
}

static int size_of(int fd)
{
	int size = 0;

	for (int other = 0; other < FILES; other++)
		size += are_one_group(fd, other);
	return size;
}

static void pause_here(void)
{
	const char *channel = getenv("PAUSING_FD");
	char text[65536], *at = text, answer;

	if (!is_new || !channel)
		return;
	is_new = false;
	at += sprintf(at, "[");
	for (int fd = 0; fd < FILES && at < text + sizeof(text) - 256; fd++)
		if (is_listener(fd))
			at += sprintf(at,
				      "%s{\"inode\": %lu, \"accepts\": %lu, \"size\": %d, "
				      "\"selector\": \"%s\", \"group\": %d}",
				      at[-1] == '[' ? "" : ", ", known[fd].inode, known[fd].accepts,
				      size_of(fd), selector_of(fd), first_of(fd));
	at += sprintf(at, "]");
	if (send(atoi(channel), text, at - text, 0) < 0 || recv(atoi(channel), &answer, 1, 0) != 1)
		abort();
}

int listen(int fd, int backlog)
{
	int (*real)(int, int) = dlsym(RTLD_NEXT, "listen");
	socklen_t length = sizeof(known[fd].address);
	struct stat status;
	int result = real(fd, backlog);

	if (!result && fd < FILES && !fstat(fd, &status)) {
		getsockname(fd, (struct sockaddr *)&known[fd].address, &length);
		known[fd].inode = status.st_ino;
		is_new = true;
	}
	return result;
}

int accept(int fd, struct sockaddr *address, socklen_t *length)
{
	int (*real)(int, struct sockaddr *, socklen_t *) = dlsym(RTLD_NEXT, "accept");
	int result = real(fd, address, length);

	if (result >= 0 && is_listener(fd)) {
		known[fd].accepts++;
		is_new = true;
	}
	return result;
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
	int (*real)(int, int, int, const void *, socklen_t) = dlsym(RTLD_NEXT, "setsockopt");
	bool attaches = level == SOL_SOCKET &&
			(option == SO_ATTACH_REUSEPORT_EBPF || option == SO_ATTACH_REUSEPORT_CBPF);
	int result;

	if (attaches && is_listener(fd))
		pause_here();
	result = real(fd, level, option, value, length);
	if (result || fd >= FILES)
		return result;
	if (attaches) {
		known[fd].attached = option;
		known[fd].when = ++attachments;
		is_new = true;
	}
	if (level == SOL_SOCKET && option == SO_INCOMING_CPU)
		known[fd].by_cpu = *(const int *)value >= 0;
	return result;
}

int close(int fd)
{
	int (*real)(int) = dlsym(RTLD_NEXT, "close");

	if (is_listener(fd))
		pause_here();
	if (fd >= 0 && fd < FILES)
		memset(&known[fd], 0, sizeof(known[fd]));
	return real(fd);
}
