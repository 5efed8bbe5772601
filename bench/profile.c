// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/*
 * A plugin of QEMU 7.2 to 8.2 that counts how often each piece of code runs between two marks.
 *
 *     -plugin profile.so,out=PREFIX
 *
 * The marks are instructions that do nothing otherwise (mark.h). At each END it writes PREFIX.0,
 * PREFIX.1, …: a line for each block of the kernel's code that ran: address, instructions in it,
 * runs. All of user space is one line, with the address 0.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mark.h"
#include "qemu_plugin.h"

enum { BUCKETS = 1 << 16 };

struct code {
	struct code *next;
	uint64_t address, instructions;
	uint64_t runs; // QEMU itself counts here
};

int qemu_plugin_version = 1;
static struct code *known[BUCKETS];
static uint64_t in_user_space; // instructions: compilers have too much code to list it
static const char *prefix = "profile";

static struct code *code_at(uint64_t address, uint64_t instructions)
{
	struct code **bucket = &known[(address >> 2 ^ address >> 20 ^ instructions) % BUCKETS];
	struct code *code;

	for (code = *bucket; code; code = code->next)
		if (code->address == address && code->instructions == instructions)
			return code;
	code = calloc(1, sizeof(*code));
	if (!code)
		abort();
	*code = (struct code){*bucket, address, instructions, 0};
	*bucket = code;
	return code;
}

static void on_begin(unsigned int cpu, void *nothing)
{
	(void)cpu;
	(void)nothing;
	for (int i = 0; i < BUCKETS; i++)
		for (struct code *code = known[i]; code; code = code->next)
			code->runs = 0;
	in_user_space = 0;
}

static void on_end(unsigned int cpu, void *nothing)
{
	static unsigned int number;
	char name[4096];
	FILE *out;

	(void)cpu;
	(void)nothing;
	snprintf(name, sizeof(name), "%s.%u", prefix, number++);
	out = fopen(name, "w");
	if (!out)
		return;
	fprintf(out, "0 1 %" PRIu64 "\n", in_user_space);
	for (int i = 0; i < BUCKETS; i++)
		for (struct code *code = known[i]; code; code = code->next)
			if (code->runs)
				fprintf(out, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", code->address,
					code->instructions, code->runs);
	fclose(out);
}

static bool is_mark(const struct qemu_plugin_insn *instruction, uint32_t mark)
{
	static const uint8_t nop[] = {0x0f, 0x1f, 0x80}; // nopl mark(%rax)
	const uint8_t *bytes = qemu_plugin_insn_data(instruction);

	return qemu_plugin_insn_size(instruction) == sizeof(nop) + sizeof(mark) &&
	       !memcmp(bytes, nop, sizeof(nop)) &&
	       !memcmp(bytes + sizeof(nop), &mark, sizeof(mark));
}

static void on_translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
	size_t instructions = qemu_plugin_tb_n_insns(block);
	uint64_t address = qemu_plugin_tb_vaddr(block);

	(void)id;
	if (address >> 63) {
		qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64,
							 &code_at(address, instructions)->runs, 1);
		return;
	}
	qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &in_user_space,
						 instructions);
	for (size_t i = 0; i < instructions; i++) {
		struct qemu_plugin_insn *one = qemu_plugin_tb_get_insn(block, i);

		if (is_mark(one, MARK_BEGIN))
			qemu_plugin_register_vcpu_insn_exec_cb(one, on_begin,
							       QEMU_PLUGIN_CB_NO_REGS, NULL);
		if (is_mark(one, MARK_END))
			qemu_plugin_register_vcpu_insn_exec_cb(one, on_end, QEMU_PLUGIN_CB_NO_REGS,
							       NULL);
	}
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			prefix = strdup(argv[i] + 4);
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translated);
	return 0;
}
