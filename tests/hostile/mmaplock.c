// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
/*
 * An unprivileged listener whose /proc/PID/cmdline never answers: unmapping a dirty page of a file
 * in a FUSE file system waits for a write that is never done, with the lock of its memory held for
 * reading; a second thread waits to write; every further reader queues behind it. Prints its port.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES = 1 << 20, DIRECTORY = 1, THE_FILE = 2 };

static void require(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(1);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	require(fd >= 0 && write(fd, text, strlen(text)) > 0, path);
	close(fd);
}

static void answer(int fd, struct fuse_in_header *asked, const void *data, size_t size, int error)
{
	char buffer[8192];
	struct fuse_out_header *head = (void *)buffer;

	head->len = sizeof(*head) + size;
	head->error = error;
	head->unique = asked->unique;
	memcpy(buffer + sizeof(*head), data, size);
	if (write(fd, buffer, head->len) < 0)
		exit(0);
}

static struct fuse_attr attributes(unsigned long node)
{
	struct fuse_attr found = {.ino = node, .nlink = 1, .blksize = 4096};

	found.mode = node == DIRECTORY ? S_IFDIR | 0755 : S_IFREG | 0644;
	found.size = node == DIRECTORY ? 0 : FILE_BYTES;
	return found;
}

static void serve_one(int fd, struct fuse_in_header *asked)
{
	static const char zeros[4096];
	struct fuse_init_out first = {.major = 7, .minor = 31, .max_write = 4096};
	struct fuse_attr_out attr = {.attr_valid = 1000};
	struct fuse_entry_out entry = {.nodeid = THE_FILE, .entry_valid = 1000, .attr_valid = 1000};
	struct fuse_open_out opened = {.fh = 1};

	attr.attr = attributes(asked->nodeid);
	entry.attr = attributes(THE_FILE);
	switch (asked->opcode) {
	case FUSE_INIT:
		first.max_background = 16;
		first.congestion_threshold = 12;
		return answer(fd, asked, &first, sizeof(first), 0);
	case FUSE_GETATTR:
		return answer(fd, asked, &attr, sizeof(attr), 0);
	case FUSE_LOOKUP:
		return answer(fd, asked, &entry, sizeof(entry), 0);
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		return answer(fd, asked, &opened, sizeof(opened), 0);
	case FUSE_READ:
		return answer(fd, asked, zeros, 2048, 0);
	case FUSE_WRITE: /* never answered */
	case FUSE_INTERRUPT:
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		return;
	default:
		return answer(fd, asked, NULL, 0, -ENOSYS);
	}
}

static void serve(int fd)
{
	static char buffer[1 << 20];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		if (read(fd, buffer, sizeof(buffer)) >= 0)
			serve_one(fd, (void *)buffer);
		else if (errno != EINTR && errno != EAGAIN && errno != ENOENT)
			exit(0);
	}
}

static void *map_more(void *unused)
{
	usleep(100000);
	return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static char *slow_memory(void)
{
	char text[64];
	int fuse, file, uid = getuid(), gid = getgid();

	require(!unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare");
	put("/proc/self/setgroups", "deny");
	snprintf(text, sizeof(text), "0 %d 1", uid);
	put("/proc/self/uid_map", text);
	snprintf(text, sizeof(text), "0 %d 1", gid);
	put("/proc/self/gid_map", text);
	require(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private mounts");
	require(!mount("none", "/tmp", "tmpfs", 0, NULL) && !mkdir("/tmp/slow", 0755), "tmpfs");
	fuse = open("/dev/fuse", O_RDWR);
	snprintf(text, sizeof(text), "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse);
	require(fuse >= 0 && !mount("none", "/tmp/slow", "fuse", 0, text), "fuse");
	if (!fork())
		serve(fuse);
	close(fuse);
	file = open("/tmp/slow/file", O_RDWR);
	require(file >= 0, "open");
	return mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
}

int main(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(address);
	char *memory = slow_memory();
	int sock = socket(AF_INET, SOCK_STREAM, 0);
	pthread_t thread;

	require(memory != MAP_FAILED, "mmap");
	require(!bind(sock, (void *)&address, size) && !listen(sock, 16), "listen");
	getsockname(sock, (void *)&address, &size);
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	memory[0] = 1;
	pthread_create(&thread, NULL, map_more, NULL);
	munmap(memory, FILE_BYTES);
	pause();
	return 0;
}
