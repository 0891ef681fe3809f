// SPDX-License-Identifier: GPL-2.0
/*
 * Work that a task does when it leaves the kernel. Mainline has that for built-in
 * code only; some distributions export it (for binder), and then it is used.
 */
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/task_work.h>
#include "helpers.h"

static int (*add)(struct task_struct *task, struct callback_head *work,
		  enum task_work_notify_mode notify);
static bool added;

/*
 * Looks for it. What waits until nobody is in the last instructions of a callback
 * has to be there as well: without preemption that is any grace period.
 */
void uring_task_work_get(void)
{
	if (IS_ENABLED(CONFIG_TASKS_RCU) || !IS_ENABLED(CONFIG_PREEMPTION))
		add = symbol_get(task_work_add);
}

/* Nothing is added any more, and all callbacks have done what they had to do. May sleep. */
void uring_task_work_put(void)
{
	if (!add)
		return;
	if (added)
		synchronize_rcu_tasks();
	symbol_put(task_work_add);
}

/*
 * False if there is no such thing, or the task is past it. Context: any but NMI.
 *
 * The module is in use until uring_task_work_done(): who unloads it may be the very
 * task that has yet to do something here, and must not wait for itself.
 */
bool uring_task_work_add(struct task_struct *task, struct callback_head *work,
			 void (*func)(struct callback_head *work), bool interrupt)
{
	if (!add || !try_module_get(THIS_MODULE))
		return false;
	if (!READ_ONCE(added))
		WRITE_ONCE(added, true);
	init_task_work(work, func);
	if (!add(task, work, interrupt ? TWA_SIGNAL : TWA_SIGNAL_NO_IPI))
		return true;
	module_put(THIS_MODULE);
	return false;
}

/* A callback has done what it had to do; the rest of it is waited for. */
void uring_task_work_done(void)
{
	module_put(THIS_MODULE);
}

/*
 * What is to be done by the current task will be when it leaves the kernel, but
 * signal_pending() is not true for that any more.
 */
void uring_task_work_calm(void)
{
	clear_notify_signal();
	set_thread_flag(TIF_NOTIFY_RESUME);
}

/* Whether the current task is on its way out. */
bool uring_is_exiting(void)
{
	return current->flags & PF_EXITING;
}
