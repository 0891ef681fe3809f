// SPDX-License-Identifier: GPL-2.0
/*
 * Threads of the kernel that work for a process: what they take over from it,
 * and how they get to know that it is gone.
 */
#include <linux/cgroup.h>
#include <linux/kthread.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include "helpers.h"

/* The first thread of the current process, counted. It stays the key to what the process has. */
struct task_struct *uring_get_leader(void)
{
	return get_task_struct(current->group_leader);
}

/* Is there a thread of the process left that has this memory? */
bool uring_process_has_mm(struct task_struct *leader, struct mm_struct *mm)
{
	struct task_struct *t;
	bool has = false;

	rcu_read_lock();
	for_each_thread(leader, t)
		if (READ_ONCE(t->mm) == mm)
			has = true;
	rcu_read_unlock();
	return has;
}

/* Makes a thread that is yet to be woken for the first time, counted. */
struct task_struct *uring_kthread_create(int (*fn)(void *data), void *data,
					 struct task_struct *leader)
{
	struct task_struct *task;

	task = kthread_create(fn, data, "rust_uring/%d", task_pid_nr(leader));
	return IS_ERR(task) ? task : get_task_struct(task);
}

/* Waits until the thread is gone. */
void uring_kthread_stop(struct task_struct *task)
{
	kthread_stop_put(task);
}

void uring_kthread_wake(struct task_struct *task)
{
	wake_up_process(task);
}

bool uring_kthread_should_stop(void)
{
	return kthread_should_stop();
}

/* Ends whatever the thread waits for that a deadly signal ends. */
void uring_kthread_kill(struct task_struct *task)
{
	send_sig(SIGKILL, task, 1);
}

static bool same_cgroups(struct task_struct *leader)
{
	bool same;

	rcu_read_lock();
	same = rcu_access_pointer(leader->cgroups) == rcu_access_pointer(current->cgroups);
	rcu_read_unlock();
	return same;
}

/* The current thread begins: it has the control groups and the niceness of the process. */
int uring_kthread_begin(struct task_struct *leader)
{
	allow_kernel_signal(SIGKILL);
	set_user_nice(current, task_nice(leader));
	return same_cgroups(leader) ? 0 : cgroup_attach_task_all(leader, current);
}

/* The limits of the process, which it may have changed. They are not shared with other threads. */
void uring_kthread_limits(struct task_struct *leader)
{
	unsigned int i;

	task_lock(current);
	for (i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit *limit = &current->signal->rlim[i];

		WRITE_ONCE(limit->rlim_max, READ_ONCE(leader->signal->rlim[i].rlim_max));
		WRITE_ONCE(limit->rlim_cur, READ_ONCE(leader->signal->rlim[i].rlim_cur));
	}
	task_unlock(current);
}

/* Sleeps until somebody wakes the thread, whatever signal it has; not if it is to stop. */
void uring_kthread_wait_for_stop(void)
{
	set_current_state(TASK_IDLE);
	if (!kthread_should_stop())
		schedule();
	__set_current_state(TASK_RUNNING);
}
