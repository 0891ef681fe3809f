// SPDX-License-Identifier: GPL-2.0
/* The rows: what is done, with which ring, and how good it is to be. */
#include "bench.h"
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <linux/aio_abi.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#define DEFER	(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | \
		 IORING_SETUP_NO_SQARRAY)

/* Rings and files */

static unsigned int power_of_two(unsigned int n)
{
	unsigned int p = 1;

	while (p < n)
		p *= 2;
	return p;
}

static int register_file(struct job *j)
{
	int ret = ring_register(&j->r, IORING_REGISTER_FILES, &j->fd, 1);

	j->sqe.fd = 0;
	j->sqe.flags |= IOSQE_FIXED_FILE;
	return ret;
}

static int register_buffer(struct job *j)
{
	struct iovec iov = { .iov_base = j->buffer, .iov_len = PAGES * PAGE };

	return ring_register(&j->r, IORING_REGISTER_BUFFERS, &iov, 1);
}

static int register_ring(struct job *j)
{
	struct io_uring_rsrc_update update = { .offset = -1U, .data = j->r.fd };
	int ret = ring_register(&j->r, IORING_REGISTER_RING_FDS, &update, 1);

	if (ret != 1)
		return ret < 0 ? ret : -EIO;
	if (j->backend == DEVICE) {
		j->device = open(RUST_URING_DEVICE, O_RDWR | O_CLOEXEC);
		if (j->device < 0)
			return -errno;
	}
	j->ring_fd = update.offset;
	j->enter_flags = IORING_ENTER_REGISTERED_RING;
	return 0;
}

static int start_ring(struct job *j, unsigned int sq, unsigned int cq)
{
	unsigned int i;
	int ret;

	j->r.p.flags = j->row->setup;
	if (cq) {
		j->r.p.flags |= IORING_SETUP_CQSIZE;
		j->r.p.cq_entries = cq;
	}
	ret = ring_init_params(&j->r, j->backend, sq);
	if (ret)
		return ret;
	/* Each entry of the array names its own SQE, for good. */
	for (i = 0; j->r.sq_array && i < j->r.p.sq_entries; i++)
		j->r.sq_array[i] = i;
	j->ring_fd = j->r.fd;
	j->sqe.opcode = j->row->opcode;
	j->sqe.flags = j->row->sqe_flags;
	return 0;
}

static int open_file(struct job *j, int flags)
{
	char path[128];
	void *p;

	snprintf(path, sizeof(path), "%s/%s", files_dir, j->row->file);
	j->fd = open(path, O_RDWR | O_CLOEXEC | flags);
	if (j->fd < 0)
		return -errno;
	p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	j->buffer = p;
	return 0;
}

static void stop_ring(struct job *j)
{
	struct io_uring_rsrc_update update = { .offset = j->ring_fd };

	if (j->enter_flags & IORING_ENTER_REGISTERED_RING)
		ring_register(&j->r, IORING_UNREGISTER_RING_FDS, &update, 1);
	if (j->r.rings)
		ring_unmap(&j->r);
	if (j->r.fd >= 0)
		close(j->r.fd);
	if (j->device >= 0)
		close(j->device);
	if (j->fd >= 0)
		close(j->fd);
	if (j->event >= 0)
		close(j->event);
	if (j->quiet >= 0)
		close(j->quiet);
	if (j->buffer)
		munmap(j->buffer, PAGES * PAGE);
}

static int start_batch(struct job *j)
{
	int ret = start_ring(j, power_of_two(j->row->batch), 0);

	if (!ret && (j->row->what & REGISTERED_RING))
		ret = register_ring(j);
	return ret;
}

static int start_transfer(struct job *j)
{
	bool direct = !strncmp(j->row->file, "null", 4);
	int ret = start_batch(j);

	if (!ret)
		ret = open_file(j, direct ? O_DIRECT : 0);
	if (ret)
		return ret;
	j->sqe.fd = j->fd;
	j->sqe.addr = (unsigned long)j->buffer;
	j->sqe.len = PAGE;
	j->stride = PAGE;
	j->expect = PAGE;
	if (j->row->what & FIXED_FILE)
		ret = register_file(j);
	if (!ret && (j->row->what & FIXED_BUFFER))
		ret = register_buffer(j);
	return ret;
}

/* A batch is submitted and waited for with one call. */
static void turns_batch(struct job *j, unsigned long n)
{
	const unsigned int batch = j->row->batch;

	while (n-- && !j->wrong) {
		fill(j, batch);
		flush(j);
		enter(j, batch, batch, IORING_ENTER_GETEVENTS);
		reap(j, batch);
	}
}

/* The kernel's thread submits; this one looks until everything is there. */
static void turns_sqpoll(struct job *j, unsigned long n)
{
	const unsigned int batch = j->row->batch;
	struct ring *r = &j->r;

	while (n-- && !j->wrong) {
		fill(j, batch);
		flush(j);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (__atomic_load_n(r->sq_flags, __ATOMIC_RELAXED) & IORING_SQ_NEED_WAKEUP)
			enter(j, batch, 0, IORING_ENTER_SQ_WAKEUP);
		while (load_acquire(r->cq_tail) - *r->cq_head < batch)
			;
		reap(j, batch);
	}
}

static int start_sqpoll(struct job *j)
{
	j->r.p.sq_thread_idle = 1000;
	return start_batch(j);
}

/* All but the last of a batch are linked to the next one. */
static void turns_links(struct job *j, unsigned long n)
{
	const unsigned int batch = j->row->batch;
	unsigned int i;

	while (n-- && !j->wrong) {
		for (i = 0; i < batch; i++)
			fill_one(j, i)->flags |= i + 1 < batch ? IOSQE_IO_LINK : 0;
		flush(j);
		enter(j, batch, batch, IORING_ENTER_GETEVENTS);
		reap(j, batch);
	}
}

/* Half of the CQEs find the CQ full, and are fetched with a second call. */
static int start_overflow(struct job *j)
{
	return start_ring(j, j->row->batch / 2, j->row->batch / 2);
}

static void turns_overflow(struct job *j, unsigned long n)
{
	const unsigned int half = j->row->batch / 2;
	unsigned int i;

	while (n-- && !j->wrong) {
		for (i = 0; i < 2; i++) {
			fill(j, half);
			flush(j);
			enter(j, half, 0, 0);
		}
		reap(j, half);
		enter(j, 0, 0, IORING_ENTER_GETEVENTS);
		reap(j, half);
	}
}

/* Poll: armed, fired by a write, and the event taken away again. */
static int start_poll(struct job *j)
{
	int ret = start_ring(j, 8, 0);

	if (ret)
		return ret;
	j->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (j->event < 0)
		return -errno;
	j->sqe.fd = j->event;
	j->sqe.poll32_events = POLLIN;
	j->expect = POLLIN;
	return 0;
}

static void turns_poll(struct job *j, unsigned long n)
{
	uint64_t one = 1;

	while (n-- && !j->wrong) {
		fill(j, 1);
		flush(j);
		enter(j, 1, 0, 0);
		counted(j, raw3(__NR_write, j->event, (long)&one, sizeof(one)));
		reap(j, 1);
		counted(j, raw3(__NR_read, j->event, (long)&one, sizeof(one)));
	}
}

/* Requests for what does not happen: one less than the name says, each with its own user data. */
static int arm_others(struct job *j)
{
	unsigned int in_flight = strtoul(strrchr(j->row->name, ' '), NULL, 10), i, nr;

	for (i = 1; i < in_flight; i += nr) {
		for (nr = 0; nr < 8 && i + nr < in_flight; nr++)
			fill_one(j, 0)->user_data = 1000 + i + nr;
		flush(j);
		enter(j, nr, 0, 0);
		if (j->wrong)
			return j->wrong;
		/* An opcode that is not there completes at once. */
		if (ring_ready(&j->r))
			return -EINVAL;
	}
	return 0;
}

/* The same while so many others wait. */
static int start_in_flight(struct job *j)
{
	int ret = start_poll(j);

	if (ret)
		return ret;
	j->quiet = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (j->quiet < 0)
		return -errno;
	j->sqe.fd = j->quiet;
	ret = arm_others(j);
	j->sqe.fd = j->event;
	return ret;
}

/* A timeout far away, and what cancels it. */
static int start_timeout(struct job *j)
{
	int ret = start_ring(j, 8, 0);
	struct __kernel_timespec *ts;

	if (ret)
		return ret;
	ts = calloc(1, sizeof(*ts));
	if (!ts)
		return -ENOMEM;
	ts->tv_sec = 3600;
	j->own = ts;
	j->sqe.addr = (unsigned long)ts;
	j->sqe.len = 1;
	return 0;
}

/* Armed and cancelled: a timeout, or a poll. */
static void turns_cancel(struct job *j, unsigned long n)
{
	bool poll = j->row->opcode == IORING_OP_POLL_ADD;
	struct ring *r = &j->r;
	struct io_uring_sqe *sqe;

	while (n-- && !j->wrong) {
		unsigned int head = *r->cq_head, mask = r->p.cq_entries - 1;
		int a, b;

		fill_one(j, 1);
		sqe = fill_one(j, 2);
		sqe->opcode = poll ? IORING_OP_POLL_REMOVE : IORING_OP_TIMEOUT_REMOVE;
		sqe->addr = 1;
		sqe->len = 0;
		sqe->poll32_events = 0;
		flush(j);
		enter(j, 2, 2, IORING_ENTER_GETEVENTS);
		if (j->wrong)
			return;
		a = r->cqes[head & mask].res;
		b = r->cqes[(head + 1) & mask].res;
		if (a + b != -ECANCELED)
			j->wrong = a < 0 ? a : b;
		store_release(r->cq_head, head + 2);
	}
}

static int start_timeouts(struct job *j)
{
	return start_timeout(j) ?: arm_others(j);
}

/* Those that are armed from now on are over at once. */
static int start_short_timeouts(struct job *j)
{
	struct __kernel_timespec *ts;
	int ret = start_timeouts(j);

	if (ret)
		return ret;
	ts = j->own;
	ts->tv_sec = 0;
	ts->tv_nsec = 1;
	return 0;
}

/* Armed and fired. */
static void turns_timeout(struct job *j, unsigned long n)
{
	struct ring *r = &j->r;

	while (n-- && !j->wrong) {
		unsigned int head = *r->cq_head;

		fill(j, 1);
		flush(j);
		enter(j, 1, 1, IORING_ENTER_GETEVENTS);
		if (!j->wrong && r->cqes[head & (r->p.cq_entries - 1)].res != -ETIME)
			j->wrong = -EIO;
		store_release(r->cq_head, head + 1);
	}
}

static void stop_timeout(struct job *j)
{
	stop_ring(j);
	free(j->own);
}

/* Rings come and go; the device is open all the time, as in a client that has many rings. */
static int start_setup(struct job *j)
{
	if (j->backend == NATIVE)
		return 0;
	j->device = open(RUST_URING_DEVICE, O_RDWR | O_CLOEXEC);
	return j->device < 0 ? -errno : 0;
}

static void turns_setup(struct job *j, unsigned long n)
{
	struct ring *r = &j->r;

	while (n-- && !j->wrong) {
		struct io_uring_params *p = &r->p;
		struct rust_uring_setup arg = { .entries = 8, .params = (unsigned long)p };

		memset(p, 0, sizeof(*p));
		p->flags = j->row->setup;
		if (j->backend == NATIVE)
			r->fd = counted(j, raw3(__NR_io_uring_setup, 8, (long)p, 0));
		else
			r->fd = counted(j, raw3(__NR_ioctl, j->device, RUST_URING_SETUP,
						(long)&arg));
		if (r->fd < 0) {
			j->wrong = r->fd;
			return;
		}
		if (ring_map(r)) {
			j->wrong = -errno;
			return;
		}
		ring_exit(r);
		j->calls += 5;
		r->rings = NULL;
		r->fd = -1;
	}
}

#define BUFFERS	1024

static int start_buffers(struct job *j)
{
	int ret = start_ring(j, 8, 0);
	struct iovec *iov;
	unsigned int i;
	char *p;

	if (ret)
		return ret;
	p = mmap(NULL, BUFFERS * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	iov = calloc(BUFFERS, sizeof(*iov));
	if (p == MAP_FAILED || !iov)
		return -ENOMEM;
	/* Pages that have nothing to do with each other. */
	madvise(p, BUFFERS * PAGE, MADV_NOHUGEPAGE);
	memset(p, 1, BUFFERS * PAGE);
	for (i = 0; i < BUFFERS; i++)
		iov[i] = (struct iovec){ .iov_base = p + i * PAGE, .iov_len = PAGE };
	j->own = iov;
	return 0;
}

static void turns_buffers(struct job *j, unsigned long n)
{
	int ret = 0;

	while (n-- && !ret) {
		ret = counted(j, ring_register(&j->r, IORING_REGISTER_BUFFERS, j->own, BUFFERS));
		if (!ret)
			ret = counted(j, ring_register(&j->r, IORING_UNREGISTER_BUFFERS, NULL, 0));
	}
	j->wrong = ret;
}

static void stop_buffers(struct job *j)
{
	struct iovec *iov = j->own;

	if (iov)
		munmap(iov->iov_base, BUFFERS * PAGE);
	free(iov);
	stop_ring(j);
}

/* Several rings, one after the other; the number is at the end of the name. */
static int start_rings(struct job *j)
{
	unsigned int i;
	int ret;

	j->nr_sub = strtoul(strrchr(j->row->name, ' '), NULL, 10);
	j->sub = calloc(j->nr_sub, sizeof(*j->sub));
	if (!j->sub)
		return -ENOMEM;
	for (i = 0; i < j->nr_sub; i++) {
		struct job *sub = &j->sub[i];

		job_init(sub, j->row, j->backend);
		ret = start_ring(sub, 64, 0);
		if (ret)
			return ret;
	}
	return 0;
}

static void stop_rings(struct job *j)
{
	unsigned int i;

	for (i = 0; i < j->nr_sub; i++)
		stop_ring(&j->sub[i]);
	free(j->sub);
}

static void turns_rings(struct job *j, unsigned long n)
{
	unsigned int next = 0;

	while (n-- && !j->wrong) {
		struct job *sub = &j->sub[next];

		turns_batch(sub, 1);
		j->calls++;
		j->wrong = sub->wrong;
		next = next + 1 < j->nr_sub ? next + 1 : 0;
	}
}

/* Two threads, on a ring each or on one. The SQ of one ring belongs to one thread at a time. */
struct thread {
	pthread_t thread;
	struct job *job;
	unsigned int cpu;
	unsigned long n;
	pthread_mutex_t *lock;
};

static void *run_thread(void *arg)
{
	struct thread *t = arg;
	struct job *j = t->job;
	const unsigned int batch = j->row->batch;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(t->cpu, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	if (!t->lock) {
		turns_batch(j, t->n);
		return NULL;
	}
	while (t->n-- && !j->wrong) {
		pthread_mutex_lock(t->lock);
		fill(j, batch);
		flush(j);
		pthread_mutex_unlock(t->lock);
		/* It may be the other one's SQEs that are submitted with this. */
		enter(j, batch, 0, 0);
		pthread_mutex_lock(t->lock);
		reap(j, ring_ready(&j->r));
		pthread_mutex_unlock(t->lock);
	}
	return NULL;
}

static void turns_threads(struct job *j, unsigned long n)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct thread t[2];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		t[i] = (struct thread){
			.job = &j->sub[j->nr_sub > 1 ? i : 0],
			.cpu = i,
			.n = n / 2,
			.lock = j->nr_sub > 1 ? NULL : &lock,
		};
		if (pthread_create(&t[i].thread, NULL, run_thread, &t[i]))
			abort();
	}
	for (i = 0; i < 2; i++) {
		pthread_join(t[i].thread, NULL);
		if (t[i].job->wrong)
			j->wrong = t[i].job->wrong;
	}
	j->calls += n;
}

/* Controls */

static void turns_getppid(struct job *j, unsigned long n)
{
	while (n--)
		counted(j, raw3(__NR_getppid, 0, 0, 0));
}

static int start_null(struct job *j)
{
	j->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return j->fd < 0 ? -errno : 0;
}

static void turns_ioctl(struct job *j, unsigned long n)
{
	while (n--)
		counted(j, raw3(__NR_ioctl, j->fd, RUST_URING_ENTER_PACKED, 0));
}

static int start_file(struct job *j)
{
	return open_file(j, strncmp(j->row->file, "null", 4) ? 0 : O_DIRECT);
}

static void turns_pread(struct job *j, unsigned long n)
{
	while (n-- && !j->wrong)
		if (counted(j, raw6(__NR_pread64, j->fd, (long)j->buffer, PAGE, 0, 0, 0)) != PAGE)
			j->wrong = -EIO;
}

static void turns_preadv2(struct job *j, unsigned long n)
{
	struct iovec iov = { .iov_base = j->buffer, .iov_len = PAGE };

	while (n-- && !j->wrong)
		if (counted(j, raw6(__NR_preadv2, j->fd, (long)&iov, 1, 0, 0, 0)) != PAGE)
			j->wrong = -EIO;
}

struct aio {
	aio_context_t context;
	struct iocb cb[PAGES], *list[PAGES];
	struct io_event events[PAGES];
};

static int start_aio(struct job *j)
{
	struct aio *aio = calloc(1, sizeof(*aio));
	unsigned int i;

	j->own = aio;
	if (!aio)
		return -ENOMEM;
	if (syscall(__NR_io_setup, PAGES, &aio->context))
		return -errno;
	for (i = 0; i < PAGES; i++)
		aio->list[i] = &aio->cb[i];
	return start_file(j);
}

static void turns_aio(struct job *j, unsigned long n)
{
	const unsigned int batch = j->row->batch;
	struct aio *aio = j->own;
	unsigned int submitted, done, i;

	while (n-- && !j->wrong) {
		for (i = 0; i < batch; i++)
			aio->cb[i] = (struct iocb){
				.aio_lio_opcode = IOCB_CMD_PREAD,
				.aio_fildes = j->fd,
				.aio_buf = (unsigned long)j->buffer + i * PAGE,
				.aio_nbytes = PAGE,
				.aio_offset = i * PAGE,
			};
		submitted = counted(j, raw3(__NR_io_submit, aio->context, batch, (long)aio->list));
		done = counted(j, raw6(__NR_io_getevents, aio->context, batch, batch,
				       (long)aio->events, 0, 0));
		if (submitted != batch || done != batch)
			j->wrong = -EIO;
		for (i = 0; i < batch && !j->wrong; i++)
			if (aio->events[i].res != PAGE)
				j->wrong = -EIO;
	}
}

static void stop_aio(struct job *j)
{
	struct aio *aio = j->own;

	if (aio && aio->context)
		syscall(__NR_io_destroy, aio->context);
	free(aio);
	stop_ring(j);
}

/* The table */

#define NOP(label, number, most, flags, special) {			\
	.name = label, .batch = number, .bar = most, .setup = flags,	\
	.runs = COUNT | TIME, .what = special, .opcode = IORING_OP_NOP,	\
	.start = start_batch, .turns = turns_batch, .stop = stop_ring }

#define TRANSFER(label, number, most, op, where, special, ...) {	\
	.name = label, .batch = number, .bar = most, .opcode = op,	\
	.runs = COUNT | TIME, .what = special, .file = where,		\
	.start = start_transfer, .turns = turns_batch,			\
	.stop = stop_ring, __VA_ARGS__ }

#define SQPOLL(label, number) {						\
	.name = label, .batch = number, .setup = IORING_SETUP_SQPOLL,	\
	.runs = SCALE | TIME, .opcode = IORING_OP_NOP,			\
	.start = start_sqpoll, .turns = turns_sqpoll, .stop = stop_ring }

#define IN_FLIGHT(number) {						\
	.name = "poll arm+fire in flight: " #number, .batch = 1,	\
	.runs = SCALE, .opcode = IORING_OP_POLL_ADD,			\
	.start = start_in_flight, .turns = turns_poll, .stop = stop_ring }

/* What the one costs while so many are armed. */
#define ARMED(label, number, op, begin, run, end) {			\
	.name = label " defer in flight: " #number, .batch = 1,		\
	.runs = COUNT | SCALE, .opcode = op, .setup = DEFER,		\
	.start = begin, .turns = run, .stop = end }

#define POLLS_FIRE(number)						\
	ARMED("poll arm+fire", number, IORING_OP_POLL_ADD,		\
	      start_in_flight, turns_poll, stop_ring)
#define POLLS_CANCEL(number)						\
	ARMED("poll arm+cancel", number, IORING_OP_POLL_ADD,		\
	      start_in_flight, turns_cancel, stop_ring)
#define TIMEOUTS_FIRE(number)						\
	ARMED("timeout arm+fire", number, IORING_OP_TIMEOUT,		\
	      start_short_timeouts, turns_timeout, stop_timeout)
#define TIMEOUTS_CANCEL(number)						\
	ARMED("timeout arm+cancel", number, IORING_OP_TIMEOUT,		\
	      start_timeouts, turns_cancel, stop_timeout)

#define RINGS(number) {							\
	.name = "NOP 8 rings: " #number, .batch = 8, .runs = SCALE,	\
	.opcode = IORING_OP_NOP,					\
	.start = start_rings, .turns = turns_rings, .stop = stop_rings }

#define THREADS(label, number) {					\
	.name = label " on two CPUs rings: " #number, .batch = 32,	\
	.runs = SCALE, .opcode = IORING_OP_NOP,				\
	.start = start_rings, .turns = turns_threads, .stop = stop_rings }

#define PLAIN_CONTROL(label, number, where, begin, run, end) {		\
	.name = label, .batch = number, .runs = COUNT | TIME,		\
	.what = CONTROL, .file = where,					\
	.start = begin, .turns = run, .stop = end }

const struct row rows[] = {
	PLAIN_CONTROL("getppid", 1, NULL, NULL, turns_getppid, NULL),
	PLAIN_CONTROL("ioctl refused by /dev/null", 1, NULL, start_null, turns_ioctl, stop_ring),
	PLAIN_CONTROL("pread 4K tmpfs", 1, "tmpfs", start_file, turns_pread, stop_ring),
	PLAIN_CONTROL("pread 4K ext4", 1, "ext4/file", start_file, turns_pread, stop_ring),
	PLAIN_CONTROL("preadv2 4K tmpfs", 1, "tmpfs", start_file, turns_preadv2, stop_ring),
	PLAIN_CONTROL("libaio 4K direct null_blk 1", 1, "null", start_aio, turns_aio, stop_aio),
	PLAIN_CONTROL("libaio 4K direct null_blk 32", 32, "null", start_aio, turns_aio, stop_aio),

	NOP("NOP 1", 1, 1.00, 0, 0),
	NOP("NOP 8", 8, 0.80, 0, 0),
	NOP("NOP 32", 32, 0.60, 0, 0),
	NOP("NOP 128", 128, 0.55, 0, 0),
	NOP("NOP 1 defer", 1, 0, DEFER, 0),
	NOP("NOP 8 defer", 8, 0, DEFER, 0),
	NOP("NOP 32 defer", 32, 0, DEFER, 0),
	NOP("NOP 128 defer", 128, 0, DEFER, 0),
	NOP("NOP 1 registered ring", 1, 0, 0, REGISTERED_RING),
	NOP("NOP 8 registered ring", 8, 0, 0, REGISTERED_RING),
	NOP("NOP 32 registered ring", 32, 0, 0, REGISTERED_RING),
	NOP("NOP 128 registered ring", 128, 0, 0, REGISTERED_RING),
	SQPOLL("NOP 1 SQPOLL", 1),
	SQPOLL("NOP 8 SQPOLL", 8),
	SQPOLL("NOP 32 SQPOLL", 32),
	SQPOLL("NOP 128 SQPOLL", 128),

	TRANSFER("READ 4K tmpfs 1", 1, 1.00, IORING_OP_READ, "tmpfs", 0),
	TRANSFER("READ 4K tmpfs 32", 32, 0.92, IORING_OP_READ, "tmpfs", 0),
	TRANSFER("READ 4K ext4 1", 1, 1.00, IORING_OP_READ, "ext4/file", 0),
	TRANSFER("READ 4K ext4 32", 32, 0.92, IORING_OP_READ, "ext4/file", 0),
	TRANSFER("READ 4K tmpfs 32 fixed file", 32, 0, IORING_OP_READ, "tmpfs", FIXED_FILE),
	TRANSFER("READ 4K tmpfs 32 fixed buffer", 32, 0, IORING_OP_READ_FIXED, "tmpfs",
		 FIXED_BUFFER),
	TRANSFER("READ 4K tmpfs 32 fixed both", 32, 0.88, IORING_OP_READ_FIXED, "tmpfs",
		 FIXED_FILE | FIXED_BUFFER),
	TRANSFER("READ 4K ext4 32 fixed both", 32, 0.88, IORING_OP_READ_FIXED, "ext4/file",
		 FIXED_FILE | FIXED_BUFFER),
	TRANSFER("WRITE 4K tmpfs 1", 1, 0, IORING_OP_WRITE, "tmpfs", 0),
	TRANSFER("WRITE 4K tmpfs 32", 32, 0, IORING_OP_WRITE, "tmpfs", 0),
	TRANSFER("WRITE 4K ext4 1", 1, 0, IORING_OP_WRITE, "ext4/file", 0),
	TRANSFER("WRITE 4K ext4 32", 32, 0, IORING_OP_WRITE, "ext4/file", 0),
	TRANSFER("WRITE 4K tmpfs 32 fixed both", 32, 0, IORING_OP_WRITE_FIXED, "tmpfs",
		 FIXED_FILE | FIXED_BUFFER),
	TRANSFER("READ 4K direct null_blk 1", 1, 0, IORING_OP_READ, "null", 0),
	TRANSFER("READ 4K direct null_blk 32", 32, 0.95, IORING_OP_READ, "null", 0),
	TRANSFER("READ 4K direct null_blk 32 fixed both", 32, 0, IORING_OP_READ_FIXED, "null",
		 FIXED_FILE | FIXED_BUFFER),
	TRANSFER("READ 4K direct null_blk 1 IOPOLL", 1, 0, IORING_OP_READ, "null_poll", 0,
		 .setup = IORING_SETUP_IOPOLL),
	TRANSFER("READ 4K direct null_blk 32 IOPOLL", 32, 0.95, IORING_OP_READ, "null_poll", 0,
		 .setup = IORING_SETUP_IOPOLL),
	TRANSFER("READ 4K tmpfs 1 punted", 1, 0.90, IORING_OP_READ, "tmpfs", 0,
		 .sqe_flags = IOSQE_ASYNC),
	TRANSFER("READ 4K tmpfs 32 punted", 32, 0.90, IORING_OP_READ, "tmpfs", 0,
		 .sqe_flags = IOSQE_ASYNC),

	{ .name = "NOP link of 8", .batch = 8, .bar = 0.90, .runs = COUNT | TIME,
	  .opcode = IORING_OP_NOP,
	  .start = start_batch, .turns = turns_links, .stop = stop_ring },
	{ .name = "NOP overflow 64 of 128", .batch = 128, .runs = COUNT | TIME,
	  .opcode = IORING_OP_NOP,
	  .start = start_overflow, .turns = turns_overflow, .stop = stop_ring },
	{ .name = "poll arm+fire", .batch = 1, .bar = 0.90, .runs = COUNT | TIME,
	  .opcode = IORING_OP_POLL_ADD,
	  .start = start_poll, .turns = turns_poll, .stop = stop_ring },
	{ .name = "poll arm+fire defer", .batch = 1, .bar = 0.90, .runs = COUNT | TIME,
	  .opcode = IORING_OP_POLL_ADD, .setup = DEFER,
	  .start = start_poll, .turns = turns_poll, .stop = stop_ring },
	{ .name = "timeout arm+cancel", .batch = 1, .bar = 0.90, .runs = COUNT | TIME,
	  .opcode = IORING_OP_TIMEOUT,
	  .start = start_timeout, .turns = turns_cancel, .stop = stop_timeout },
	{ .name = "ring setup+teardown", .batch = 1, .bar = 1.00, .runs = COUNT | TIME,
	  .times = 10, .what = LASTING,
	  .start = start_setup, .turns = turns_setup, .stop = stop_ring },
	{ .name = "register+unregister 1024 buffers", .batch = 1, .bar = 1.00,
	  .runs = COUNT | TIME,
	  .start = start_buffers, .turns = turns_buffers, .stop = stop_buffers },

	IN_FLIGHT(1), IN_FLIGHT(10), IN_FLIGHT(100), IN_FLIGHT(1000), IN_FLIGHT(10000),
	IN_FLIGHT(100000),
	POLLS_FIRE(1000), POLLS_FIRE(100000), POLLS_CANCEL(1000), POLLS_CANCEL(100000),
	TIMEOUTS_FIRE(1000), TIMEOUTS_FIRE(100000),
	TIMEOUTS_CANCEL(1000), TIMEOUTS_CANCEL(100000),
	RINGS(1), RINGS(4), RINGS(16), RINGS(64), RINGS(256),
	THREADS("NOP 32", 1), THREADS("NOP 32", 2),
};

const unsigned int nr_rows = sizeof(rows) / sizeof(*rows);
