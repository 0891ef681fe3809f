/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is inline or a macro in the kernel's headers, as functions for Rust.
 * One thing each, no policy. Bindgen reads this file; the types are those of
 * kernel::bindings.
 */
#ifndef _RUST_URING_HELPERS_H
#define _RUST_URING_HELPERS_H

#include <linux/anon_inodes.h>
#include <linux/blkdev.h>
#include <linux/cred.h>
#include <linux/eventfd.h>
#include <linux/fdtable.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/percpu-refcount.h>
#include <linux/pid.h>
#include <linux/poll.h>
#include <linux/sched/vhost_task.h>
#include <linux/uio.h>
#include <linux/sched.h>
#include <linux/sched/user.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <uapi/linux/eventpoll.h>

/* Constants that bindgen cannot see (casts, __force, __bitwise). */
static const unsigned int URING_EPOLLIN = (__force unsigned int)EPOLLIN;
static const unsigned int URING_EPOLLOUT = (__force unsigned int)EPOLLOUT;
static const unsigned int URING_EPOLLRDNORM = (__force unsigned int)EPOLLRDNORM;
static const unsigned int URING_EPOLLWRNORM = (__force unsigned int)EPOLLWRNORM;
static const unsigned int URING_EPOLL_WAKE = (__force unsigned int)EPOLL_URING_WAKE;
static const unsigned int URING_EPOLLPRI = (__force unsigned int)EPOLLPRI;
static const unsigned int URING_EPOLLERR = (__force unsigned int)EPOLLERR;
static const unsigned int URING_EPOLLHUP = (__force unsigned int)EPOLLHUP;
static const unsigned int URING_EPOLLRDHUP = (__force unsigned int)EPOLLRDHUP;
static const unsigned int URING_EPOLLNVAL = (__force unsigned int)EPOLLNVAL;
static const unsigned int URING_EPOLLET = (__force unsigned int)EPOLLET;
static const unsigned int URING_EPOLLONESHOT = (__force unsigned int)EPOLLONESHOT;
static const unsigned int URING_EPOLLEXCLUSIVE = (__force unsigned int)EPOLLEXCLUSIVE;

/*
 * The events that mangle_poll() and demangle_poll() let through, if that is all they
 * do; with one more bit if applications know one by another bit.
 */
#define URING_SAME(X) (POLL##X == (__force unsigned int)EPOLL##X ? POLL##X : (1U << 16))
static const unsigned int URING_POLL_SAME =
	URING_SAME(IN) | URING_SAME(OUT) | URING_SAME(PRI) | URING_SAME(ERR) |
	URING_SAME(NVAL) | URING_SAME(RDNORM) | URING_SAME(RDBAND) | URING_SAME(WRNORM) |
	URING_SAME(WRBAND) | URING_SAME(HUP) | URING_SAME(RDHUP) | URING_SAME(MSG);
#undef URING_SAME
static const unsigned int URING_POLLFREE = (__force unsigned int)POLLFREE;
static const unsigned int URING_TASK_NORMAL = TASK_NORMAL;
static const unsigned int URING_TASK_INTERRUPTIBLE = TASK_INTERRUPTIBLE;
static const unsigned int URING_WQ_UNBOUND = WQ_UNBOUND;
static const unsigned long URING_VM_DONTEXPAND = VM_DONTEXPAND;

/* percpu_ref */
void uring_percpu_ref_get(struct percpu_ref *ref);
void uring_percpu_ref_put(struct percpu_ref *ref);

/* The current task */
bool uring_in_execve(void);
bool uring_in_compat_syscall(void);
bool uring_sigpending(void);
bool uring_notify_signal(void);
bool uring_need_resched(void);
bool uring_fatal_signal_pending(void);
bool uring_swap_iowait(bool on);
void uring_cond_resched(void);
void uring_set_task_interruptible(void);
void uring_set_task_running(void);
int uring_set_sigmask(u64 umask, size_t size);
void uring_restore_sigmask(bool interrupted);
bool uring_capable_noaudit(int cap);
bool uring_capable(int cap);
bool uring_in_group(int gid);
int uring_schedule(bool timed, s64 deadline, int clockid);

/* Time */
s64 uring_ktime_get(int clockid);
s64 uring_timens_to_host(int clockid, s64 t);

/* Accounting of pinned and ring memory */
struct user_struct *uring_get_user(void);
int uring_account_pages(struct user_struct *user, unsigned long nr);
void uring_unaccount_pages(struct user_struct *user, unsigned long nr);

void uring_account_pinned(struct mm_struct *mm, long nr);

/* Credentials */
const struct cred *uring_get_cred(void);

/* Pages */
struct page *uring_alloc_pages(unsigned int order);
void uring_put_page(struct page *page);
void *uring_page_address(struct page *page);
struct page *uring_page_at(struct page *page, unsigned long nr);
bool uring_pages_linear(struct page **pages, unsigned int nr);
bool uring_pages_in_folios(struct page **pages, unsigned int nr, unsigned int *shift,
			   unsigned long *first);
struct folio *uring_page_folio(struct page *page, unsigned long *pages);
void uring_unpin_in_folio(struct page *page, unsigned long nr);
void *uring_vmap(struct page **pages, unsigned int nr);
void uring_vunmap(void *addr);
void uring_vma_set_flags(struct vm_area_struct *vma, unsigned long flags);

/* Wait queues */
bool uring_wq_has_sleeper(struct wait_queue_head *wq);
struct wait_queue_head *uring_exit_queue(struct pid *pid);
struct pid *uring_current_pid(void);
bool uring_is_current_pid(const struct pid *pid);
struct pid *uring_current_tgid(void);
bool uring_is_current_tgid(const struct pid *pid);
bool uring_process_gone(struct pid *pid);

/* Files */
unsigned long uring_get_unmapped_area(unsigned long len, unsigned long flags);

/* Restrictions of the task, in the core's own storage */
struct uring_restrictions {
	u64 register_op;
	u64 sqe_op[2];
	u8 flags_allowed;
	u8 flags_required;
	u8 op_registered;
	u8 reg_registered;
	u8 filters;	/* there are filter programs, too */
};

bool uring_task_restricted(void);
bool uring_task_may_restrict(void);
bool uring_task_restrictions(struct uring_restrictions *out);
int uring_restrict_task(const struct uring_restrictions *in);
u32 uring_exec_id(void);

/* Files */
bool uring_file_is_native_ring(struct file *file);
bool uring_file_is_unix_socket(struct file *file);
unsigned long uring_nofile_limit(void);

bool uring_file_can_poll(struct file *file);
bool uring_file_polls(struct file *file, unsigned int mask);
int uring_file_wait_ready(struct file *file, unsigned int mask);
bool uring_file_async_write(struct file *file);
bool uring_file_parallel_dio(struct file *file);
void uring_fsnotify_access(struct file *file);
void uring_fsnotify_modify(struct file *file);

int uring_sync_file_range(struct file *file, s64 offset, s64 len, unsigned int flags);
int uring_ftruncate(struct file *file, s64 len);

/* Paths, from a directory or (NULL) the current one; defined in path.c */
bool uring_path_cached(struct file *dir, const char *name, u64 resolve);
struct file *uring_open_at(struct file *dir, const char *name, u64 flags, umode_t mode,
			   u64 resolve);
struct file *uring_open_at_once(struct file *dir, const char *name, u64 flags, umode_t mode,
				u64 resolve);
int uring_statx_at(struct file *dir, const char *name, unsigned int flags, u32 mask,
		   struct statx *out);
struct file *uring_fget_path(unsigned int fd);

/* The descriptors of another thread of the process; defined in path.c */

/* kiocb and iov_iter */
struct uring_page_wait {
	struct wait_page_queue queue;
	void (*unlocked)(struct kiocb *kiocb);
	struct kiocb *kiocb;
};

int uring_kiocb_set_flags(struct kiocb *kiocb, int rwf, bool write);
void uring_kiocb_end_write(struct kiocb *kiocb);
int uring_kiocb_iopoll(struct kiocb *kiocb, struct io_comp_batch *batch, unsigned int flags);
bool uring_kiocb_waits_for_page(struct kiocb *kiocb);
void uring_kiocb_wait_for_page(struct kiocb *kiocb, struct uring_page_wait *wait,
			       void (*unlocked)(struct kiocb *kiocb));
int uring_kiocb_set_meta(struct kiocb *kiocb, struct uio_meta *meta, u16 flags, u16 app_tag,
			 u64 seed, u64 addr, size_t len, bool write);
long uring_kiocb_read_by_pieces(struct kiocb *kiocb, struct iov_iter *iter, u64 addr);
long uring_kiocb_write(struct kiocb *kiocb, struct iov_iter *iter, u64 addr);
int uring_iter_iovec(struct iov_iter *iter, bool write, const struct iovec *iov,
		     unsigned long nr, size_t len);
bool uring_access_ok(u64 addr, size_t len);
void uring_plug_start(struct blk_plug *plug, unsigned int nr);
int uring_check_ioprio(int ioprio);
u16 uring_current_ioprio(void);

static const int URING_IOCB_DIRECT = IOCB_DIRECT;
static const int URING_IOCB_NOWAIT = IOCB_NOWAIT;
static const int URING_IOCB_HIPRI = IOCB_HIPRI;
static const unsigned int URING_FMODE_HAS_METADATA = (__force unsigned int)FMODE_HAS_METADATA;
static const unsigned int URING_FMODE_READ = (__force unsigned int)FMODE_READ;
static const unsigned int URING_FMODE_WRITE = (__force unsigned int)FMODE_WRITE;
static const unsigned int URING_FMODE_STREAM = (__force unsigned int)FMODE_STREAM;
static const unsigned int URING_FMODE_NOWAIT = (__force unsigned int)FMODE_NOWAIT;
static const u64 URING_MAX_RW_COUNT = MAX_RW_COUNT;

#ifndef __BINDGEN__
/* Is it a file without a name of its own that is called this (with brackets)? */
static inline bool uring_file_is_anon(const struct file *file, const char *name)
{
	const struct dentry *dentry = file->f_path.dentry;

	return dentry->d_sb->s_magic == ANON_INODE_FS_MAGIC &&
	       dentry->d_name.len == strlen(name) && !strcmp(dentry->d_name.name, name);
}
#endif

/* Polling files; defined in poll.c */
unsigned int uring_poll_file(struct file *file, struct poll_table_struct *pt);
void uring_poll_enqueue(struct wait_queue_head *head, struct wait_queue_entry *entry,
			int (*func)(struct wait_queue_entry *entry, unsigned int mode, int flags,
				    void *key),
			void *private, bool exclusive);
void uring_poll_unlink(struct wait_queue_entry *entry);
void uring_poll_dequeue(struct wait_queue_head **head, struct wait_queue_entry *entry);
unsigned int uring_mangle_poll(unsigned int events);
unsigned int uring_demangle_poll(unsigned int events);
bool uring_file_is_signalfd(struct file *file);
bool uring_file_is_native_ring_or_signalfd(struct file *file);
bool uring_file_asks_who(struct file *file, bool write);
bool uring_file_is_counter(struct file *file);
bool uring_file_is_storage(struct file *file);
bool uring_file_is_fifo(struct file *file);
bool uring_file_has_iter(struct file *file, bool write);

/* A process' memory in a kernel thread; defined in poll.c */
bool uring_borrow_mm(struct mm_struct *mm, struct mem_cgroup **memcg);
void uring_return_mm(struct mm_struct *mm, struct mem_cgroup *memcg);
bool uring_is_kthread(void);
bool uring_is_user_thread(void);

/* Credentials of others */
const struct cred *uring_override_creds(const struct cred *cred);
void uring_revert_creds(const struct cred *old);
const struct cred *uring_peek_cred(void);

/* Threads of the calling process that run kernel code */
int uring_cpumask_from_user(struct cpumask *mask, u64 addr, u32 len);
void uring_cpumask_of_current(struct cpumask *mask);
bool uring_cpumask_subset(const struct cpumask *mask, const struct cpumask *of);

bool uring_have_user_workers(void);
bool uring_is_user_worker(void);
struct vhost_task *uring_worker_create(bool (*fn)(void *data), void (*killed)(void *data),
				       void *data, const char *name);
void uring_worker_start(struct vhost_task *worker);
void uring_worker_wake(struct vhost_task *worker);
void uring_worker_stop(struct vhost_task *worker);
void uring_interrupt_task(struct task_struct *task);
void uring_clear_notify(void);

/* Threads of the kernel that work for a process; defined in kthread.c */
struct task_struct *uring_get_leader(void);
bool uring_process_has_mm(struct task_struct *leader, struct mm_struct *mm);
struct task_struct *uring_kthread_create(int (*fn)(void *data), void *data,
					 struct task_struct *leader);
void uring_kthread_stop(struct task_struct *task);
void uring_kthread_wake(struct task_struct *task);
bool uring_kthread_should_stop(void);
void uring_kthread_kill(struct task_struct *task);
int uring_kthread_begin(struct task_struct *leader);
void uring_kthread_limits(struct task_struct *leader);
void uring_kthread_wait_for_stop(void);

/* Threads that stay; defined in thread.c */
struct files_struct *uring_share_files(void);
void uring_unshare_files(struct files_struct *files);
unsigned long uring_files_id(void);
bool uring_only_workers_left(struct task_struct *task);
bool uring_keep_files(struct files_struct *files);
int uring_cpu_allowed(unsigned int cpu);
int uring_bind_cpu(unsigned int cpu);
void uring_unbind_cpu(void);
unsigned int uring_task_cpu(struct task_struct *task);
u64 uring_stime_us(struct task_struct *task);
pid_t uring_pid_shown(struct seq_file *m, struct task_struct *task);
unsigned long uring_jiffies(void);
bool uring_task_work_pending(void);
void uring_notify_self(void);

/* Task work; defined in task_work.c */
void uring_task_work_get(void);
void uring_task_work_put(void);
bool uring_task_work_add(struct task_struct *task, struct callback_head *work,
			 void (*func)(struct callback_head *work), bool interrupt);
void uring_task_work_done(void);
void uring_task_work_calm(void);
bool uring_is_exiting(void);

/* eventfd */
bool uring_eventfd_signal_allowed(void);

#endif
