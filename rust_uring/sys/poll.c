// SPDX-License-Identifier: GPL-2.0
/* Polling files: see poll.rs. */
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/net.h>
#include <linux/poll.h>
#include <linux/sched/mm.h>

#include "helpers.h"

unsigned int uring_poll_file(struct file *file, struct poll_table_struct *pt)
{
	return (__force unsigned int)vfs_poll(file, pt);
}

/* Adds the entry to a queue whose wakeups are for @func. */
void uring_poll_enqueue(struct wait_queue_head *head, struct wait_queue_entry *entry,
			int (*func)(struct wait_queue_entry *entry, unsigned int mode, int flags,
				    void *key),
			void *private, bool exclusive)
{
	init_waitqueue_func_entry(entry, func);
	INIT_LIST_HEAD(&entry->entry);
	entry->private = private;
	if (exclusive)
		add_wait_queue_exclusive(head, entry);
	else
		add_wait_queue(head, entry);
}

/* With the queue's lock held. */
void uring_poll_unlink(struct wait_queue_entry *entry)
{
	list_del_init(&entry->entry);
}

/*
 * Takes the entry off the queue that *@head points to, if any.
 *
 * A queue can go away while the file is open. Whoever frees it wakes those in it with POLLFREE
 * first, which makes *@head NULL, and frees it only after a grace period.
 */
void uring_poll_dequeue(struct wait_queue_head **head, struct wait_queue_entry *entry)
{
	struct wait_queue_head *queue;
	unsigned long flags;

	rcu_read_lock();
	/* Pairs with the release that makes it NULL, after which nothing of the entry is used. */
	queue = smp_load_acquire(head);
	if (queue) {
		spin_lock_irqsave(&queue->lock, flags);
		list_del_init(&entry->entry);
		WRITE_ONCE(*head, NULL);
		spin_unlock_irqrestore(&queue->lock, flags);
	}
	rcu_read_unlock();
}

unsigned int uring_mangle_poll(unsigned int events)
{
	return mangle_poll((__force __poll_t)events);
}

unsigned int uring_demangle_poll(unsigned int events)
{
	return (__force unsigned int)demangle_poll(events);
}

/* What a signalfd tells depends on who asks. */
bool uring_file_is_signalfd(struct file *file)
{
	return uring_file_is_anon(file, "[signalfd]");
}

/* Both questions that a poll asks, for the price of one: the names have the same length. */
bool uring_file_is_native_ring_or_signalfd(struct file *file)
{
	return uring_file_is_anon(file, "[io_uring]") || uring_file_is_anon(file, "[signalfd]");
}

/*
 * Does a transfer depend on who does it? A signalfd has that one's signals, a
 * userfaultfd may give that one a descriptor, and sockets of two families
 * tell the other side its number.
 */
bool uring_file_asks_who(struct file *file, bool write)
{
	struct socket *sock = sock_from_file(file);

	if (sock)
		return write && sock->ops &&
		       (sock->ops->family == AF_UNIX || sock->ops->family == AF_NETLINK);
	return uring_file_is_anon(file, "[signalfd]") || uring_file_is_anon(file, "[userfaultfd]");
}

/* Does it have no more than numbers and events, which are anybody's? */
bool uring_file_is_counter(struct file *file)
{
	return uring_file_is_anon(file, "[eventfd]") || uring_file_is_anon(file, "inotify");
}

/*
 * Is it memory or a device that stores, seen as a file or as itself? Then who
 * reads and writes it is nothing to it but credentials. Regular files of other
 * filesystems may be a view of the task that looks.
 */
bool uring_file_is_storage(struct file *file)
{
	const struct inode *inode = file_inode(file);

	if (S_ISBLK(inode->i_mode))
		return true;
	if (!S_ISREG(inode->i_mode))
		return false;
	if ((file->f_mode & FMODE_NOWAIT) || inode->i_sb->s_bdev)
		return true;
	switch (inode->i_sb->s_magic) {
	case TMPFS_MAGIC:
	case RAMFS_MAGIC:
	case HUGETLBFS_MAGIC:
	case OVERLAYFS_SUPER_MAGIC:
	case FUSE_SUPER_MAGIC:
	case NFS_SUPER_MAGIC:
	case CIFS_SUPER_MAGIC:
	case SMB2_SUPER_MAGIC:
	case CEPH_SUPER_MAGIC:
	case AFS_FS_MAGIC:
	case V9FS_MAGIC:
		return true;
	default:
		return false;
	}
}

bool uring_file_is_fifo(struct file *file)
{
	return S_ISFIFO(file_inode(file)->i_mode);
}

bool uring_file_has_iter(struct file *file, bool write)
{
	return write ? file->f_op->write_iter : file->f_op->read_iter;
}

/* Lets a kernel thread use a process' memory, and charge to it. False if the process is gone. */
bool uring_borrow_mm(struct mm_struct *mm, struct mem_cgroup **memcg)
{
	if (!mmget_not_zero(mm))
		return false;
	kthread_use_mm(mm);
	*memcg = get_mem_cgroup_from_mm(mm);
	set_active_memcg(*memcg);
	return true;
}

void uring_return_mm(struct mm_struct *mm, struct mem_cgroup *memcg)
{
	set_active_memcg(NULL);
	mem_cgroup_put(memcg);
	kthread_unuse_mm(mm);
	/* What is left of the process may take long. */
	mmput_async(mm);
}

bool uring_is_kthread(void)
{
	return current->flags & PF_KTHREAD;
}

/* Whether the current task has a user side: what it does was asked for by a system call. */
bool uring_is_user_thread(void)
{
	return !(current->flags & (PF_KTHREAD | PF_USER_WORKER));
}
