// SPDX-License-Identifier: GPL-2.0
/* See helpers.h. */
#include <linux/bitmap.h>
#include <linux/compat.h>
#include <linux/hrtimer.h>
#include <linux/io_uring_types.h>
#include <linux/mman.h>
#include <linux/net.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/signal.h>
#include <linux/time_namespace.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/fsnotify.h>
#include <linux/ioprio.h>
#include "helpers.h"

void uring_percpu_ref_get(struct percpu_ref *ref)
{
	percpu_ref_get(ref);
}

void uring_percpu_ref_put(struct percpu_ref *ref)
{
	percpu_ref_put(ref);
}

bool uring_in_execve(void)
{
	return current->in_execve;
}

bool uring_in_compat_syscall(void)
{
	return in_compat_syscall();
}

bool uring_sigpending(void)
{
	return task_sigpending(current);
}

/* Work of somebody else (task_work with TWA_SIGNAL) wants to run in this task. */
bool uring_notify_signal(void)
{
	return test_thread_flag(TIF_NOTIFY_SIGNAL);
}

bool uring_need_resched(void)
{
	return need_resched();
}

bool uring_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

bool uring_swap_iowait(bool on)
{
	bool old = current->in_iowait;

	current->in_iowait = on;
	return old;
}

void uring_cond_resched(void)
{
	cond_resched();
}

void uring_set_task_interruptible(void)
{
	set_current_state(TASK_INTERRUPTIBLE);
}

void uring_set_task_running(void)
{
	__set_current_state(TASK_RUNNING);
}

/* set_user_sigmask() and its compat twin, which are not exported. */
int uring_set_sigmask(u64 umask, size_t size)
{
	sigset_t mask;

	if (!umask)
		return 0;
	if (in_compat_syscall()) {
#ifdef CONFIG_COMPAT
		if (size != sizeof(compat_sigset_t))
			return -EINVAL;
		if (get_compat_sigset(&mask, u64_to_user_ptr(umask)))
			return -EFAULT;
#endif
	} else {
		if (size != sizeof(sigset_t))
			return -EINVAL;
		if (copy_from_user(&mask, u64_to_user_ptr(umask), sizeof(mask)))
			return -EFAULT;
	}
	sigdelsetmask(&mask, sigmask(SIGKILL) | sigmask(SIGSTOP));
	current->saved_sigmask = current->blocked;
	set_restore_sigmask();
	return sigprocmask(SIG_SETMASK, &mask, NULL);
}

/* restore_saved_sigmask_unless(): a signal that interrupted us is delivered first. */
void uring_restore_sigmask(bool interrupted)
{
	if (!interrupted && test_and_clear_restore_sigmask())
		sigprocmask(SIG_SETMASK, &current->saved_sigmask, NULL);
}

bool uring_capable_noaudit(int cap)
{
	return ns_capable_noaudit(&init_user_ns, cap);
}

bool uring_capable(int cap)
{
	return capable(cap);
}

bool uring_in_group(int gid)
{
	kgid_t kgid = make_kgid(&init_user_ns, gid);

	return gid_valid(kgid) && in_group_p(kgid);
}

/* Sleep in the state that was set; 0 when the deadline passed, else -EINTR. */
int uring_schedule(bool timed, s64 deadline, int clockid)
{
	ktime_t t = deadline;

	return schedule_hrtimeout_range_clock(timed ? &t : NULL, 0,
					      HRTIMER_MODE_ABS, clockid);
}

s64 uring_ktime_get(int clockid)
{
	return clockid == CLOCK_BOOTTIME ? ktime_get_boottime() : ktime_get();
}

s64 uring_timens_to_host(int clockid, s64 t)
{
	return timens_ktime_to_host(clockid, t);
}

struct user_struct *uring_get_user(void)
{
	return get_uid(current_user());
}

/* Charge RLIMIT_MEMLOCK of the user; the limit is that of the calling task. */
int uring_account_pages(struct user_struct *user, unsigned long nr)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	long cur = atomic_long_read(&user->locked_vm);

	do {
		if (nr > limit || cur > limit - nr)
			return -ENOMEM;
	} while (!atomic_long_try_cmpxchg(&user->locked_vm, &cur, cur + nr));
	return 0;
}

void uring_unaccount_pages(struct user_struct *user, unsigned long nr)
{
	atomic_long_sub(nr, &user->locked_vm);
}

void uring_account_pinned(struct mm_struct *mm, long nr)
{
	atomic64_add(nr, &mm->pinned_vm);
}

const struct cred *uring_get_cred(void)
{
	return get_current_cred();
}

struct page *uring_alloc_pages(unsigned int order)
{
	if (order > MAX_PAGE_ORDER)
		return NULL;
	return alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN |
			   (order ? __GFP_COMP : 0), order);
}

void uring_put_page(struct page *page)
{
	put_page(page);
}

void *uring_page_address(struct page *page)
{
	return page_address(page);
}

struct page *uring_page_at(struct page *page, unsigned long nr)
{
	return page + nr;
}

/* Do these pages follow each other in one folio that is mapped by the kernel? */
bool uring_pages_linear(struct page **pages, unsigned int nr)
{
	struct folio *folio = page_folio(pages[0]);
	unsigned int i;

	if (folio_test_highmem(folio))
		return false;
	for (i = 1; i < nr; i++) {
		if (page_folio(pages[i]) != folio || pages[i] != pages[0] + i)
			return false;
	}
	return true;
}

/*
 * Are these pages contiguous within folios that all have one size, and are
 * those but the first and the last in it as a whole? Tells the size, and the
 * index of the first page in its folio.
 */
bool uring_pages_in_folios(struct page **pages, unsigned int nr, unsigned int *shift,
			   unsigned long *first)
{
	struct folio *folio = page_folio(pages[0]);
	unsigned long per_folio = folio_nr_pages(folio);
	unsigned int i;

	*shift = folio_shift(folio);
	*first = folio_page_idx(folio, pages[0]);
	for (i = 1; i < nr; i++) {
		if (page_folio(pages[i]) == folio && pages[i] == pages[i - 1] + 1)
			continue;
		/* The next folio: this one ends at its end, that one begins at its beginning. */
		if (folio_page_idx(folio, pages[i - 1]) != per_folio - 1)
			return false;
		folio = page_folio(pages[i]);
		if (folio_nr_pages(folio) != per_folio || folio_page_idx(folio, pages[i]))
			return false;
	}
	return true;
}

struct folio *uring_page_folio(struct page *page, unsigned long *pages)
{
	struct folio *folio = page_folio(page);

	*pages = folio_nr_pages(folio);
	return folio;
}

/* Takes back pins of pages that are all in the folio of this one. */
void uring_unpin_in_folio(struct page *page, unsigned long nr)
{
	unpin_user_folio(page_folio(page), nr);
}

void *uring_vmap(struct page **pages, unsigned int nr)
{
	return vmap(pages, nr, VM_MAP, PAGE_KERNEL);
}

void uring_vunmap(void *addr)
{
	vunmap(addr);
}

void uring_vma_set_flags(struct vm_area_struct *vma, unsigned long flags)
{
	vm_flags_set(vma, flags);
}

bool uring_wq_has_sleeper(struct wait_queue_head *wq)
{
	return wq_has_sleeper(wq);
}

struct wait_queue_head *uring_exit_queue(struct pid *pid)
{
	return &pid->wait_pidfd;
}

struct pid *uring_current_pid(void)
{
	return get_pid(task_pid(current));
}

bool uring_is_current_pid(const struct pid *pid)
{
	return task_pid(current) == pid;
}

struct pid *uring_current_tgid(void)
{
	return get_pid(task_tgid(current));
}

bool uring_is_current_tgid(const struct pid *pid)
{
	return task_tgid(current) == pid;
}

/* Whether no thread of this process is left. */
bool uring_process_gone(struct pid *pid)
{
	struct task_struct *leader;
	bool gone;

	rcu_read_lock();
	leader = pid_task(pid, PIDTYPE_TGID);
	gone = !leader || (READ_ONCE(leader->exit_state) && thread_group_empty(leader));
	rcu_read_unlock();
	return gone;
}

unsigned long uring_get_unmapped_area(unsigned long len, unsigned long flags)
{
	return mm_get_unmapped_area(NULL, 0, len, 0, flags | MAP_SHARED);
}

/* The core offers io_is_uring_fops() to itself only; the name is in the dentry. */
bool uring_file_is_native_ring(struct file *file)
{
	return uring_file_is_anon(file, "[io_uring]");
}

bool uring_file_is_unix_socket(struct file *file)
{
	struct socket *sock = sock_from_file(file);

	return sock && sock->ops && sock->ops->family == AF_UNIX;
}

unsigned long uring_nofile_limit(void)
{
	return rlimit(RLIMIT_NOFILE);
}

bool uring_task_restricted(void)
{
	return current->io_uring_restrict;
}

bool uring_task_may_restrict(void)
{
	return task_no_new_privs(current) ||
	       ns_capable_noaudit(current_user_ns(), CAP_SYS_ADMIN);
}

/* Copies them, if there are any. */
bool uring_task_restrictions(struct uring_restrictions *out)
{
	const struct io_restriction *res = current->io_uring_restrict;

	BUILD_BUG_ON(IORING_REGISTER_LAST > 64);
	BUILD_BUG_ON(IORING_OP_LAST > 128);

	if (!res)
		return false;
	bitmap_to_arr64(&out->register_op, res->register_op, IORING_REGISTER_LAST);
	bitmap_to_arr64(out->sqe_op, res->sqe_op, IORING_OP_LAST);
	out->flags_allowed = res->sqe_flags_allowed;
	out->flags_required = res->sqe_flags_required;
	out->op_registered = res->op_registered;
	out->reg_registered = res->reg_registered;
	out->filters = !!res->bpf_filters;
	return true;
}

/* The core copies it on fork and frees it with the task. */
int uring_restrict_task(const struct uring_restrictions *in)
{
	struct io_restriction *res;

	res = kzalloc_obj(*res, GFP_KERNEL_ACCOUNT);
	if (!res)
		return -ENOMEM;
	bitmap_from_arr64(res->register_op, &in->register_op, IORING_REGISTER_LAST);
	bitmap_from_arr64(res->sqe_op, in->sqe_op, IORING_OP_LAST);
	res->sqe_flags_allowed = in->flags_allowed;
	res->sqe_flags_required = in->flags_required;
	res->op_registered = in->op_registered;
	res->reg_registered = in->reg_registered;
	current->io_uring_restrict = res;
	return 0;
}

u32 uring_exec_id(void)
{
	return current->self_exec_id;
}

bool uring_eventfd_signal_allowed(void)
{
	return eventfd_signal_allowed();
}

bool uring_file_can_poll(struct file *file)
{
	return file_can_poll(file);
}

/* Is the file ready for this now? */
bool uring_file_polls(struct file *file, unsigned int mask)
{
	struct poll_table_struct pt = { ._key = (__force __poll_t)mask };

	return (__force unsigned int)vfs_poll(file, &pt) & mask;
}

/* Waits until the file is ready, or has failed. -EINTR if something else came up. */
int uring_file_wait_ready(struct file *file, unsigned int mask)
{
	const __poll_t wanted = (__force __poll_t)mask | EPOLLERR | EPOLLHUP;
	struct poll_wqueues table;
	int ret = 0;

	poll_initwait(&table);
	table.pt._key = wanted;
	while (!(vfs_poll(file, &table.pt) & wanted)) {
		/* It is in the queues now. */
		table.pt._qproc = NULL;
		if (table.error) {
			ret = table.error;
			break;
		}
		set_current_state(TASK_INTERRUPTIBLE);
		if (signal_pending(current))
			ret = -EINTR;
		else if (!READ_ONCE(table.triggered))
			schedule();
		__set_current_state(TASK_RUNNING);
		if (ret)
			break;
		/* Pairs with the barrier in the core's pollwake(). */
		smp_store_mb(table.triggered, 0);
	}
	poll_freewait(&table);
	return ret;
}

bool uring_file_async_write(struct file *file)
{
	return file->f_op->fop_flags & FOP_BUFFER_WASYNC;
}

bool uring_file_parallel_dio(struct file *file)
{
	return (file->f_flags & O_DIRECT) && (file->f_op->fop_flags & FOP_DIO_PARALLEL_WRITE);
}

void uring_fsnotify_access(struct file *file)
{
	fsnotify_access(file);
}

void uring_fsnotify_modify(struct file *file)
{
	fsnotify_modify(file);
}

/* sync_file_range(), which is not exported. */
int uring_sync_file_range(struct file *file, s64 offset, s64 len, unsigned int flags)
{
	const unsigned int both = SYNC_FILE_RANGE_WRITE_AND_WAIT;
	const umode_t mode = file_inode(file)->i_mode;
	s64 end;
	int ret = 0;

	if (flags & ~(both | SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER))
		return -EINVAL;
	if (offset < 0 || check_add_overflow(offset, len, &end) || end < offset)
		return -EINVAL;
	end = len ? end - 1 : LLONG_MAX;
	if (!S_ISREG(mode) && !S_ISBLK(mode) && !S_ISDIR(mode))
		return -ESPIPE;
	if (flags & SYNC_FILE_RANGE_WAIT_BEFORE)
		ret = file_fdatawait_range(file, offset, end);
	if (ret >= 0 && (flags & SYNC_FILE_RANGE_WRITE)) {
		if ((flags & both) == both)
			ret = filemap_fdatawrite_range(file->f_mapping, offset, end);
		else
			ret = filemap_flush_range(file->f_mapping, offset, end);
	}
	if (ret >= 0 && (flags & SYNC_FILE_RANGE_WAIT_AFTER))
		ret = file_fdatawait_range(file, offset, end);
	return ret;
}

/*
 * do_ftruncate() is not exported. This is truncate(2) on the file's path, whose
 * checks (permissions now, security modules) are the stricter ones.
 */
int uring_ftruncate(struct file *file, s64 len)
{
	if (!S_ISREG(file_inode(file)->i_mode) || !(file->f_mode & FMODE_WRITE) || len < 0)
		return -EINVAL;
	if (len > MAX_NON_LFS && !(file->f_flags & O_LARGEFILE))
		return -EINVAL;
	return vfs_truncate(&file->f_path, len);
}

int uring_kiocb_set_flags(struct kiocb *kiocb, int rwf, bool write)
{
	return kiocb_set_rw_flags(kiocb, (__force rwf_t)rwf, write ? WRITE : READ);
}

int uring_kiocb_iopoll(struct kiocb *kiocb, struct io_comp_batch *batch, unsigned int flags)
{
	return kiocb->ki_filp->f_op->iopoll(kiocb, batch, flags);
}

/* Whether a read can be told when a page that it needs is unlocked. */
bool uring_kiocb_waits_for_page(struct kiocb *kiocb)
{
	struct file *file = kiocb->ki_filp;

	return !(kiocb->ki_flags & (IOCB_DIRECT | IOCB_HIPRI | IOCB_WRITE)) &&
	       !file_can_poll(file) && (file->f_op->fop_flags & FOP_BUFFER_RASYNC);
}

/* The page is unlocked: the wait is over. Context: any, under the lock of the page's queue. */
static int uring_page_unlocked(struct wait_queue_entry *entry, unsigned int mode, int sync,
			       void *arg)
{
	struct wait_page_queue *queue = container_of(entry, struct wait_page_queue, wait);
	struct uring_page_wait *wait = container_of(queue, struct uring_page_wait, queue);

	if (!wake_page_match(queue, arg))
		return 0;
	wait->kiocb->ki_flags &= ~IOCB_WAITQ;
	list_del_init(&entry->entry);
	wait->unlocked(wait->kiocb);
	return 1;
}

void uring_kiocb_wait_for_page(struct kiocb *kiocb, struct uring_page_wait *wait,
			       void (*unlocked)(struct kiocb *kiocb))
{
	wait->unlocked = unlocked;
	wait->kiocb = kiocb;
	init_waitqueue_func_entry(&wait->queue.wait, uring_page_unlocked);
	INIT_LIST_HEAD(&wait->queue.wait.entry);
	kiocb->ki_flags |= IOCB_WAITQ;
	kiocb->ki_flags &= ~IOCB_NOWAIT;
	kiocb->ki_waitq = &wait->queue;
}

/* Protection against freezing, held until the write is done; false if it would block. */
static bool uring_kiocb_start_write(struct kiocb *kiocb)
{
	struct inode *inode = file_inode(kiocb->ki_filp);

	kiocb->ki_flags |= IOCB_WRITE;
	if (!S_ISREG(inode->i_mode))
		return true;
	if (!(kiocb->ki_flags & IOCB_NOWAIT)) {
		kiocb_start_write(kiocb);
		return true;
	}
	if (!sb_start_write_trylock(inode->i_sb))
		return false;
	__sb_writers_release(inode->i_sb, SB_FREEZE_WRITE);
	return true;
}

void uring_kiocb_end_write(struct kiocb *kiocb)
{
	if (S_ISREG(file_inode(kiocb->ki_filp)->i_mode))
		kiocb_end_write(kiocb);
}

/* For files that have read and write only; addr is that of a pinned buffer. */
static long uring_loop_rw(struct kiocb *kiocb, struct iov_iter *iter, u64 addr, bool write)
{
	struct file *file = kiocb->ki_filp;
	loff_t *ppos = (file->f_mode & FMODE_STREAM) ? NULL : &kiocb->ki_pos;
	long done = 0;

	if (kiocb->ki_flags & IOCB_HIPRI)
		return -EOPNOTSUPP;
	if ((kiocb->ki_flags & IOCB_NOWAIT) && !(file->f_flags & O_NONBLOCK))
		return -EAGAIN;
	while (iov_iter_count(iter)) {
		size_t len = iov_iter_count(iter);
		void __user *base;
		ssize_t nr;

		if (iov_iter_is_bvec(iter)) {
			base = u64_to_user_ptr(addr + done);
		} else if (iter_is_ubuf(iter)) {
			base = iter->ubuf + iter->iov_offset;
		} else {
			base = iter_iov_addr(iter);
			len = iter_iov_len(iter);
		}
		if (write)
			nr = file->f_op->write(file, base, len, ppos);
		else
			nr = file->f_op->read(file, base, len, ppos);
		if (nr < 0)
			return done ? done : nr;
		done += nr;
		iov_iter_advance(iter, nr);
		if (nr != len)
			break;
	}
	return done;
}

/* Protection information at a user address; meta is used until the transfer has been started. */
int uring_kiocb_set_meta(struct kiocb *kiocb, struct uio_meta *meta, u16 flags, u16 app_tag,
			 u64 seed, u64 addr, size_t len, bool write)
{
	meta->flags = flags;
	meta->app_tag = app_tag;
	meta->seed = seed;
	kiocb->ki_flags |= IOCB_HAS_METADATA;
	kiocb->private = meta;
	return import_ubuf(write ? ITER_SOURCE : ITER_DEST, u64_to_user_ptr(addr), len,
			   &meta->iter);
}

/* For files that have no read_iter. */
long uring_kiocb_read_by_pieces(struct kiocb *kiocb, struct iov_iter *iter, u64 addr)
{
	if (!kiocb->ki_filp->f_op->read)
		return -EINVAL;
	return uring_loop_rw(kiocb, iter, addr, false);
}

static long uring_kiocb_write_any(struct kiocb *kiocb, struct iov_iter *iter, u64 addr)
{
	struct file *file = kiocb->ki_filp;

	if (likely(file->f_op->write_iter))
		return file->f_op->write_iter(kiocb, iter);
	if (file->f_op->write)
		return uring_loop_rw(kiocb, iter, addr, true);
	return -EINVAL;
}

/* If it goes on in the background, uring_kiocb_end_write() is left to its completion. */
long uring_kiocb_write(struct kiocb *kiocb, struct iov_iter *iter, u64 addr)
{
	long ret;

	if (!uring_kiocb_start_write(kiocb))
		return -EAGAIN;
	ret = uring_kiocb_write_any(kiocb, iter, addr);
	if (ret != -EIOCBQUEUED)
		uring_kiocb_end_write(kiocb);
	return ret;
}

int uring_iter_iovec(struct iov_iter *iter, bool write, const struct iovec *iov,
		     unsigned long nr, size_t len)
{
	iov_iter_init(iter, write ? ITER_SOURCE : ITER_DEST, iov, nr, len);
	return 0;
}

bool uring_access_ok(u64 addr, size_t len)
{
	return access_ok(u64_to_user_ptr(addr), len);
}

/* blk_start_plug_nr_ios(), which is not exported. */
void uring_plug_start(struct blk_plug *plug, unsigned int nr)
{
	blk_start_plug(plug);
	/* As many as the core takes for what is started together (BLK_MAX_REQUEST_COUNT). */
	plug->nr_ios = min(nr, 32U);
}

/* ioprio_check_cap(), which is not exported. */
int uring_check_ioprio(int ioprio)
{
	int class = IOPRIO_PRIO_CLASS(ioprio);
	int level = IOPRIO_PRIO_LEVEL(ioprio);

	switch (class) {
	case IOPRIO_CLASS_RT:
		if (!capable(CAP_SYS_ADMIN) && !capable(CAP_SYS_NICE))
			return -EPERM;
		fallthrough;
	case IOPRIO_CLASS_BE:
		if (level >= IOPRIO_NR_LEVELS)
			return -EINVAL;
		break;
	case IOPRIO_CLASS_IDLE:
		break;
	case IOPRIO_CLASS_NONE:
		if (level)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	return 0;
}

u16 uring_current_ioprio(void)
{
	return get_current_ioprio();
}

const struct cred *uring_override_creds(const struct cred *cred)
{
	return override_creds(cred);
}

void uring_revert_creds(const struct cred *old)
{
	revert_creds(old);
}

const struct cred *uring_peek_cred(void)
{
	return current_cred();
}

bool uring_is_user_worker(void)
{
	return current->flags & PF_USER_WORKER;
}

int uring_cpumask_from_user(struct cpumask *mask, u64 addr, u32 len)
{
	len = min_t(u32, len, cpumask_size());
	if (copy_from_user(cpumask_bits(mask), u64_to_user_ptr(addr), len))
		return -EFAULT;
	return 0;
}

void uring_cpumask_of_current(struct cpumask *mask)
{
	cpumask_copy(mask, &current->cpus_mask);
}

bool uring_cpumask_subset(const struct cpumask *mask, const struct cpumask *of)
{
	return cpumask_subset(mask, of);
}

bool uring_have_user_workers(void)
{
	return IS_ENABLED(CONFIG_VHOST_TASK);
}

#if IS_ENABLED(CONFIG_VHOST_TASK)
struct vhost_task *uring_worker_create(bool (*fn)(void *data), void (*killed)(void *data),
				       void *data, const char *name)
{
	struct vhost_task *worker;
	sigset_t all, old;

	/*
	 * A signal would be delivered before clone(2) goes on. Here is no way
	 * back to user space, so it has to wait, but for a deadly one.
	 */
	siginitsetinv(&all, sigmask(SIGKILL));
	sigprocmask(SIG_BLOCK, &all, &old);
	worker = vhost_task_create(fn, killed, data, name);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return worker;
}

void uring_worker_start(struct vhost_task *worker)
{
	vhost_task_start(worker);
}

void uring_worker_wake(struct vhost_task *worker)
{
	vhost_task_wake(worker);
}

void uring_worker_stop(struct vhost_task *worker)
{
	vhost_task_stop(worker);
}
#else
struct vhost_task *uring_worker_create(bool (*fn)(void *data), void (*killed)(void *data),
				       void *data, const char *name)
{
	return ERR_PTR(-EOPNOTSUPP);
}

void uring_worker_start(struct vhost_task *worker) {}
void uring_worker_wake(struct vhost_task *worker) {}
void uring_worker_stop(struct vhost_task *worker) {}
#endif

/* Makes signal_pending() true in a thread of ours, and ends its interruptible sleep. */
void uring_interrupt_task(struct task_struct *task)
{
	set_tsk_thread_flag(task, TIF_NOTIFY_SIGNAL);
	if (READ_ONCE(task->__state) & TASK_INTERRUPTIBLE)
		wake_up_process(task);
}

/* What an interruption left behind must not interrupt the next piece of work. */
void uring_clear_notify(void)
{
	clear_notify_signal();
}
