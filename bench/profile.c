// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin for QEMU: counts the instructions that a guest executes, by address,
 * while a program wants it. "bench -p" says so with two instructions that do
 * nothing. The counts go to a file when the guest ends; bench/profile.py reads
 * them.
 */
#include "plugin.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int qemu_plugin_version = 4;

/* One for each instruction that was ever seen; instructions of a block follow each other. */
struct counter {
	uint64_t address, hits;
};

#define BUCKETS	(1u << 22)

static struct counter *counters[BUCKETS];
static bool counting;
static const char *file_name = "profile.txt";

static struct counter *counter_of(uint64_t address)
{
	unsigned int i = (address ^ address >> 22) & (BUCKETS - 1);

	while (counters[i] && counters[i]->address != address)
		i = (i + 1) & (BUCKETS - 1);
	if (!counters[i]) {
		counters[i] = calloc(1, sizeof(**counters));
		if (!counters[i])
			abort();
		counters[i]->address = address;
	}
	return counters[i];
}

static void executed(unsigned int cpu, void *data)
{
	struct counter *counter = data;

	counter->hits += counting;
}

static void begin(unsigned int cpu, void *data)
{
	counting = true;
}

static void end(unsigned int cpu, void *data)
{
	counting = false;
}

static bool is_mark(const struct qemu_plugin_insn *insn, char nr)
{
	/* nopl 0x6265673?(%rax,%rax,1) */
	const unsigned char mark[8] = { 0x0f, 0x1f, 0x84, 0x00, nr, 0x67, 0x65, 0x62 };
	unsigned char bytes[16];

	return qemu_plugin_insn_data(insn, bytes, sizeof(bytes)) == sizeof(mark) &&
	       !memcmp(bytes, mark, sizeof(mark));
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
	size_t i, nr = qemu_plugin_tb_n_insns(tb);

	for (i = 0; i < nr; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		if (is_mark(insn, '1'))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, CB_NO_REGS, NULL);
		else if (is_mark(insn, '2'))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, end, CB_NO_REGS, NULL);
		qemu_plugin_register_vcpu_insn_exec_cb(insn, executed, CB_NO_REGS,
						       counter_of(qemu_plugin_insn_vaddr(insn)));
	}
}

static void at_exit(plugin_id id, void *data)
{
	FILE *file = fopen(file_name, "w");
	unsigned int i;

	if (!file)
		return;
	for (i = 0; i < BUCKETS; i++)
		if (counters[i] && counters[i]->hits)
			fprintf(file, "%lx %lu\n", (unsigned long)counters[i]->address,
				(unsigned long)counters[i]->hits);
	fclose(file);
}

EXPORT int qemu_plugin_install(plugin_id id, const struct qemu_info *info, int argc, char **argv)
{
	if (argc == 1 && !strncmp(argv[0], "out=", 4))
		file_name = strdup(argv[0] + 4);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, at_exit, NULL);
	return 0;
}
