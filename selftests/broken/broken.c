// SPDX-License-Identifier: GPL-2.0
/*
 * Does on purpose what the test loop must notice; see BREAK= in the Makefile.
 * It is built and loaded for nothing else.
 */
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/slab.h>
#include <linux/smp.h>

static char *mode = "";
module_param(mode, charp, 0);

static void spin_forever(void *unused)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

static int __init broken_init(void)
{
	char *memory = kmalloc(64, GFP_KERNEL);

	if (!memory)
		return -ENOMEM;
	OPTIMIZER_HIDE_VAR(memory);
	if (!strcmp(mode, "kasan")) {
		kfree(memory);
		WRITE_ONCE(*memory, 1);
	} else if (!strcmp(mode, "leak")) {
		memory = NULL;
	} else if (!strcmp(mode, "panic")) {
		panic("broken.ko: on purpose\n");
	} else if (!strcmp(mode, "hang")) {
		smp_call_function(spin_forever, NULL, 0);
		spin_forever(NULL);
	} else {
		kfree(memory);
	}
	return 0;
}
module_init(broken_init);

MODULE_DESCRIPTION("Deliberate mistakes that the test loop of rust_uring must notice");
MODULE_LICENSE("GPL");
