// SPDX-License-Identifier: GPL-2.0
/*
 * Threads of a process that stay for long: the descriptors that they share with
 * it, where they run, and what they have used.
 */
#include <linux/cgroup.h>
#include <linux/cpumask.h>
#include <linux/fdtable.h>
#include <linux/jiffies.h>
#include <linux/proc_fs.h>
#include <linux/sched/cputime.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/seq_file.h>
#include <linux/task_work.h>
#include "helpers.h"

/* The descriptors of the current task, which are shared from now on, as clone(2) does it. */
struct files_struct *uring_share_files(void)
{
	struct files_struct *files = current->files;

	if (files)
		atomic_inc(&files->count);
	return files;
}

/* Tells the table of the current task from others that there are. */
unsigned long uring_files_id(void)
{
	return (unsigned long)current->files;
}

/*
 * Are there only threads left in the process of @task that run kernel code and
 * do nothing by themselves?
 */
bool uring_only_workers_left(struct task_struct *task)
{
	struct task_struct *t;
	bool only = true;

	rcu_read_lock();
	for_each_thread(task, t)
		if (!(t->flags & (PF_USER_WORKER | PF_EXITING)))
			only = false;
	rcu_read_unlock();
	return only;
}

/* Gives them back. The one who shares them is still there: only a task's exit closes them. */
void uring_unshare_files(struct files_struct *files)
{
	WARN_ON_ONCE(!atomic_add_unless(&files->count, -1, 1));
}

/* They are those of the current thread, which has none, until it exits. */
bool uring_keep_files(struct files_struct *files)
{
	if (WARN_ON_ONCE(current->files))
		return false;
	/* Others look at it with the lock held, in /proc for one. */
	task_lock(current);
	current->files = files;
	task_unlock(current);
	return true;
}

#ifdef CONFIG_CPUSETS
static const struct cgroup_subsys_state *cpuset_of(struct task_struct *task)
{
	return task_css(task, cpuset_cgrp_id);
}

/* The CPUs of the root, which has no parent, or those of a task that has all of its cpuset. */
static void cpuset_cpus(struct cpumask *mask)
{
	const struct cgroup_subsys_state *css;
	struct task_struct *process, *task;

	rcu_read_lock();
	css = cpuset_of(current);
	if (!css->parent) {
		cpumask_copy(mask, cpu_online_mask);
		goto out;
	}
	for_each_process_thread(process, task) {
		if (task->flags & (PF_KTHREAD | PF_USER_WORKER))
			continue;
		if (READ_ONCE(task->user_cpus_ptr) || cpuset_of(task) != css)
			continue;
		cpumask_copy(mask, task->cpus_ptr);
		goto out;
	}
	/* All have chosen for themselves. */
	cpumask_copy(mask, current->cpus_ptr);
out:
	rcu_read_unlock();
}
#else
static void cpuset_cpus(struct cpumask *mask)
{
	cpumask_copy(mask, cpu_online_mask);
}
#endif

/*
 * cpuset_cpus_allowed() of the current task, which is not exported. A task that
 * did not choose has them all; one that did may choose again.
 */
static void allowed_cpus(struct cpumask *mask)
{
	if (READ_ONCE(current->user_cpus_ptr))
		cpuset_cpus(mask);
	else
		cpumask_copy(mask, current->cpus_ptr);
	cpumask_and(mask, mask, cpu_online_mask);
}

/* May the current task run on this CPU, if it chooses to? */
int uring_cpu_allowed(unsigned int cpu)
{
	cpumask_var_t mask;
	int ret;

	if (cpu >= nr_cpu_ids || !cpu_online(cpu))
		return -EINVAL;
	if (!alloc_cpumask_var(&mask, GFP_KERNEL))
		return -ENOMEM;
	allowed_cpus(mask);
	ret = cpumask_test_cpu(cpu, mask) ? 0 : -EINVAL;
	free_cpumask_var(mask);
	return ret;
}

/* The current thread runs on this CPU from now on. */
int uring_bind_cpu(unsigned int cpu)
{
	return cpu < nr_cpu_ids ? set_cpus_allowed_ptr(current, cpumask_of(cpu)) : -EINVAL;
}

/* A thread that was made by one that is bound: it runs wherever their process may. */
void uring_unbind_cpu(void)
{
	cpumask_var_t mask;

	if (cpumask_weight(current->cpus_ptr) > 1 || !alloc_cpumask_var(&mask, GFP_KERNEL))
		return;
	cpuset_cpus(mask);
	/* What the process has chosen for itself is looked at in there. */
	set_cpus_allowed_ptr(current, mask);
	free_cpumask_var(mask);
}

unsigned int uring_task_cpu(struct task_struct *task)
{
	return task_cpu(task);
}

/* CPU time that a task has spent in the kernel, in microseconds. */
u64 uring_stime_us(struct task_struct *task)
{
	u64 utime, stime;

	task_cputime_adjusted(task, &utime, &stime);
	return div_u64(stime, NSEC_PER_USEC);
}

/* The number of a task for those who read this file of /proc. */
pid_t uring_pid_shown(struct seq_file *m, struct task_struct *task)
{
	return task_pid_nr_ns(task, proc_pid_ns(file_inode(m->file)->i_sb));
}

unsigned long uring_jiffies(void)
{
	return jiffies;
}

/* Is there work that was put off until the current task leaves the kernel? */
bool uring_task_work_pending(void)
{
	return task_work_pending(current);
}

/* Lets the loop around a thread of ours do it: get_signal() does, and the loop calls that. */
void uring_notify_self(void)
{
	set_thread_flag(TIF_NOTIFY_SIGNAL);
}
