// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/*
 *     empty OBJECT PROGRAM READY-FILE    attaches one program of the object, creates the file,
 *                                        and waits for a signal
 */
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void require(const void *made, const char *what)
{
	if (!made) {
		perror(what);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	struct bpf_object *object;
	struct bpf_program *program;

	if (argc != 4)
		return 2;
	object = bpf_object__open_file(argv[1], NULL);
	require(object, argv[1]);
	bpf_object__for_each_program(program, object)
	{
		const char *name = bpf_program__name(program);

		bpf_program__set_autoload(program, !strcmp(name, argv[2]));
	}
	program = bpf_object__find_program_by_name(object, argv[2]);
	require(program, argv[2]);
	require(bpf_object__load(object) ? NULL : object, "load");
	require(bpf_program__attach(program), "attach");
	require(fopen(argv[3], "w"), argv[3]);
	pause();
	return 0;
}
