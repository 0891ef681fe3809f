// SPDX-License-Identifier: GPL-2.0
/* Reads and writes that wait until their file is ready, without a thread for each of them. */
#include "cqes.h"
#include <dirent.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define MANY	64
#define TTYS	16

PIPE_FIXTURE(pollretry, MANY, O_CLOEXEC);

/* Threads of this process, but for the one that asks. */
static int threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int nr = -1;

	while (dir && (entry = readdir(dir)))
		nr += entry->d_name[0] != '.';
	closedir(dir);
	return nr;
}

#define EXPECT_CQE(data, result) do {					\
	struct io_uring_cqe __cqe;					\
									\
	ASSERT_TRUE(next_cqe_unattended(self->r, &__cqe));				\
	EXPECT_EQ(data, __cqe.user_data);				\
	EXPECT_EQ(result, __cqe.res);					\
	EXPECT_EQ(0, __cqe.flags);					\
} while (0)

static struct io_uring_sqe *rw(struct io *io, int op, int fd, void *buf, unsigned int len,
			       uint64_t user_data)
{
	struct io_uring_sqe *sqe = prep(io, op, fd, buf, len, 0);

	sqe->user_data = user_data;
	return sqe;
}

TEST_F(pollretry, features)
{
	EXPECT_TRUE(self->r->p.features & IORING_FEAT_FAST_POLL);
	EXPECT_TRUE(self->r->p.features & IORING_FEAT_POLL_32BITS);
}

TEST_F(pollretry, pipe_read)
{
	int before = threads();
	char c = 0;

	rw(&self->io, IORING_OP_READ, self->p[0], &c, 1, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	EXPECT_EQ(before, threads());
	ASSERT_EQ(1, write(self->p[1], "y", 1));
	EXPECT_CQE(1, 1);
	EXPECT_EQ('y', c);
	EXPECT_EQ(before, threads());
}

/* The same with a wait in progress: the waiting task does it. */
TEST_F(pollretry, pipe_read_while_waiting)
{
	int status;
	pid_t pid;
	char c = 0;

	pid = fork();
	if (!pid) {
		usleep(50000);
		_exit(write(self->p[1], "z", 1) != 1);
	}
	rw(&self->io, IORING_OP_READ, self->p[0], &c, 1, 1);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(1, 1);
	EXPECT_EQ('z', c);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(pollretry, pipe_write)
{
	int before = threads(), size = fcntl(self->p[1], F_GETPIPE_SZ);
	char *junk = pages(2 * size), *in = pages(2 * size);

	fill(junk, size, 1);
	fill(junk + size, size, 2);
	ASSERT_EQ(size, write(self->p[1], junk, size));
	rw(&self->io, IORING_OP_WRITE, self->p[1], junk + size, size, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	ASSERT_EQ(size, read(self->p[0], in, size));
	EXPECT_CQE(1, size);
	ASSERT_EQ(size, read(self->p[0], in + size, size));
	EXPECT_EQ(0, memcmp(in, junk, 2 * size));
	EXPECT_EQ(before, threads());
	/* It blocks again, until nobody is there to read. */
	ASSERT_EQ(size, write(self->p[1], junk, size));
	rw(&self->io, IORING_OP_WRITE, self->p[1], junk, 1, 2);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	close(self->p[0]);
	EXPECT_CQE(2, -EPIPE);
}

/* A pipe with a name is none that can be told not to block. */
TEST_F(pollretry, fifo)
{
	char path[64], c = 0;
	int fd, before = threads();

	snprintf(path, sizeof(path), "%s/retry.%d", files_dir, getpid());
	ASSERT_EQ(0, mkfifo(path, 0600));
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	rw(&self->io, IORING_OP_READ, fd, &c, 1, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	EXPECT_EQ(before, threads());
	ASSERT_EQ(1, write(fd, "f", 1));
	EXPECT_CQE(1, 1);
	EXPECT_EQ('f', c);
	EXPECT_EQ(before, threads());
	unlink(path);
	close(fd);
}

TEST_F(pollretry, end_of_file)
{
	char c;

	rw(&self->io, IORING_OP_READ, self->p[0], &c, 1, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	close(self->p[1]);
	EXPECT_CQE(1, 0);
}

TEST_F(pollretry, socket)
{
	int sk[2], before = threads();
	char in[4096], junk[4096] = {};
	ssize_t n, total = 0;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sk));
	rw(&self->io, IORING_OP_READ, sk[0], in, sizeof(in), 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	EXPECT_EQ(before, threads());
	ASSERT_EQ(5, write(sk[1], "hello", 5));
	EXPECT_CQE(1, 5);
	EXPECT_EQ(0, memcmp(in, "hello", 5));
	EXPECT_EQ(before, threads());
	/* Writing: the credentials are those of the process, which may take a thread of it. */
	while ((n = send(sk[0], junk, sizeof(junk), MSG_DONTWAIT)) > 0)
		total += n;
	rw(&self->io, IORING_OP_WRITE, sk[0], junk, 1000, 2);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	EXPECT_GE(before + 1, threads());
	while (total > 0) {
		n = read(sk[1], in, sizeof(in));
		ASSERT_LT(0, n);
		total -= n;
	}
	EXPECT_CQE(2, 1000);
	close(sk[0]);
	close(sk[1]);
}

/* With SO_PASSCRED the reader sees who wrote, whoever did it in the end. */
TEST_F(pollretry, credentials)
{
	char control[CMSG_SPACE(sizeof(struct ucred))], junk[1024] = {};
	struct iovec iov = { junk, sizeof(junk) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	int sk[2], one = 1, i, filled = 0;
	struct cmsghdr *cmsg;
	struct ucred cred;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sk));
	ASSERT_EQ(0, setsockopt(sk[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)));
	while (send(sk[0], "a", 1, MSG_DONTWAIT) == 1)
		filled++;
	rw(&self->io, IORING_OP_WRITE, sk[0], "b", 1, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	for (i = 0; i < filled; i++)
		ASSERT_EQ(1, read(sk[1], junk, sizeof(junk)));
	EXPECT_CQE(1, 1);
	msg.msg_controllen = sizeof(control);
	ASSERT_EQ(1, recvmsg(sk[1], &msg, 0));
	EXPECT_EQ('b', junk[0]);
	cmsg = CMSG_FIRSTHDR(&msg);
	ASSERT_NE(NULL, cmsg);
	memcpy(&cred, CMSG_DATA(cmsg), sizeof(cred));
	EXPECT_EQ(getpid(), cred.pid);
	EXPECT_EQ(getuid(), cred.uid);
	close(sk[0]);
	close(sk[1]);
}

TEST_F(pollretry, tcp)
{
	struct sockaddr_storage addr = { .ss_family = AF_INET };
	int before = threads(), listener, a, b;
	socklen_t len = sizeof(addr);
	char in[16];

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || listen(listener, 1))
		SKIP(return, "no network");
	ASSERT_EQ(0, getsockname(listener, (void *)&addr, &len));
	a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ASSERT_LE(0, a);
	if (connect(a, (void *)&addr, len))
		SKIP(return, "no loopback device");
	b = accept(listener, NULL, NULL);
	ASSERT_LE(0, b);
	rw(&self->io, IORING_OP_READ, a, in, sizeof(in), 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	ASSERT_EQ(3, write(b, "tcp", 3));
	EXPECT_CQE(1, 3);
	rw(&self->io, IORING_OP_READ, a, in, sizeof(in), 2);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	shutdown(b, SHUT_WR);
	EXPECT_CQE(2, 0);
	EXPECT_EQ(before, threads());
	close(a);
	close(b);
	close(listener);
}

TEST_F(pollretry, event)
{
	int before = threads(), fd = eventfd(0, EFD_CLOEXEC);
	uint64_t value = 0, big = UINT64_MAX - 1, five = 5;

	ASSERT_LE(0, fd);
	rw(&self->io, IORING_OP_READ, fd, &value, 8, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	ASSERT_EQ(8, write(fd, &five, 8));
	EXPECT_CQE(1, 8);
	EXPECT_EQ(5, value);
	EXPECT_EQ(before, threads());
	/* Room for a little, which poll calls ready, and not for all of it. */
	ASSERT_EQ(8, write(fd, &five, 8));
	rw(&self->io, IORING_OP_WRITE, fd, &big, 8, 2);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	ASSERT_EQ(8, read(fd, &value, 8));
	EXPECT_EQ(5, value);
	EXPECT_CQE(2, 8);
	ASSERT_EQ(8, read(fd, &value, 8));
	EXPECT_EQ(big, value);
	close(fd);
}

TEST_F(pollretry, timer)
{
	struct itimerspec in = { .it_value.tv_nsec = 30000000 };
	int before = threads(), fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t expired = 0;

	ASSERT_LE(0, fd);
	rw(&self->io, IORING_OP_READ, fd, &expired, 8, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	ASSERT_EQ(0, timerfd_settime(fd, 0, &in, NULL));
	EXPECT_CQE(1, 8);
	EXPECT_EQ(1, expired);
	EXPECT_EQ(before, threads());
	close(fd);
}

/* The signals are those of the process, whoever reads them. */
TEST_F(pollretry, signal)
{
	struct signalfd_siginfo info = {};
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ASSERT_EQ(0, sigprocmask(SIG_BLOCK, &set, NULL));
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	ASSERT_LE(0, fd);
	rw(&self->io, IORING_OP_READ, fd, &info, sizeof(info), 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	ASSERT_EQ(0, kill(getpid(), SIGUSR1));
	EXPECT_CQE(1, sizeof(info));
	EXPECT_EQ(SIGUSR1, info.ssi_signo);
	EXPECT_EQ(getpid(), info.ssi_pid);
	close(fd);
}

/* A terminal cannot be told not to block. It may take a thread, not one for each. */
TEST_F(pollretry, terminal)
{
	int ptm, pts[TTYS], before = threads(), i;
	char name[64], in[TTYS][16] = {};

	for (i = 0; i < TTYS; i++) {
		ptm = open("/dev/ptmx", O_RDWR | O_CLOEXEC | O_NOCTTY);
		if (ptm < 0)
			SKIP(return, "no terminals");
		ASSERT_EQ(0, unlockpt(ptm));
		ASSERT_EQ(0, ptsname_r(ptm, name, sizeof(name)));
		pts[i] = open(name, O_RDWR | O_CLOEXEC | O_NOCTTY);
		ASSERT_LE(0, pts[i]);
		rw(&self->io, IORING_OP_READ, ptm, in[i], sizeof(in[i]), i);
	}
	ASSERT_EQ(TTYS, ring_submit(self->r, 0));
	EXPECT_QUIET();
	EXPECT_GE(before + 1, threads());
	for (i = TTYS - 1; i >= 0; i--) {
		ASSERT_EQ(3, write(pts[i], "tty", 3));
		EXPECT_CQE(i, 3);
		EXPECT_EQ(0, memcmp(in[i], "tty", 3));
	}
	EXPECT_GE(before + 4, threads());
}

/* Many at one pipe: each gets one byte, none is lost, and it takes no thread. */
TEST_F(pollretry, many)
{
	bool seen[MANY] = {};
	struct io_uring_cqe cqe;
	int i, before = threads();
	char in[MANY] = {};

	for (i = 0; i < MANY; i++)
		rw(&self->io, IORING_OP_READ, self->p[0], in + i, 1, i);
	ASSERT_EQ(MANY, ring_submit(self->r, 0));
	EXPECT_QUIET();
	EXPECT_EQ(before, threads());
	for (i = 0; i < MANY; i++) {
		ASSERT_EQ(1, write(self->p[1], "m", 1));
		ASSERT_TRUE(next_cqe_unattended(self->r, &cqe));
		EXPECT_EQ(1, cqe.res);
		ASSERT_GT(MANY, cqe.user_data);
		EXPECT_FALSE(seen[cqe.user_data]);
		seen[cqe.user_data] = true;
		EXPECT_EQ('m', in[cqe.user_data]);
	}
}

/* Somebody else is quicker, again and again. */
TEST_F(pollretry, in_vain)
{
	char c, in = 0;
	struct iovec iov = { &c, 1 };
	int i;

	rw(&self->io, IORING_OP_READ, self->p[0], &in, 1, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	for (i = 0; i < 300; i++) {
		ASSERT_EQ(1, write(self->p[1], "a", 1));
		/* Without O_NONBLOCK, which the request would see as well. */
		if (preadv2(self->p[0], &iov, 1, -1, RWF_NOWAIT) < 0)
			break;
		if (i & 1)
			ring_enter(self->r, 0, 0, IORING_ENTER_GETEVENTS);
	}
	if (i == 300)
		ASSERT_EQ(1, write(self->p[1], "a", 1));
	EXPECT_CQE(1, 1);
	EXPECT_EQ('a', in);
}

/* What is not to block does not wait. */
TEST_F(pollretry, nowait)
{
	char c;

	rw(&self->io, IORING_OP_READ, self->p[0], &c, 1, 1)->rw_flags = RWF_NOWAIT;
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(1, -EAGAIN);
}

/* Forced into a worker, it waits without it. */
TEST_F(pollretry, async)
{
	char c = 0;

	rw(&self->io, IORING_OP_READ, self->p[0], &c, 1, 1)->flags |= IOSQE_ASYNC;
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	ASSERT_EQ(1, write(self->p[1], "w", 1));
	EXPECT_CQE(1, 1);
	EXPECT_EQ('w', c);
}

TEST_F(pollretry, fixed_buffer)
{
	char *buf = pages(4096);
	struct iovec iov = { buf, 4096 };

	ASSERT_EQ(0, ring_register(self->r, IORING_REGISTER_BUFFERS, &iov, 1));
	rw(&self->io, IORING_OP_READ_FIXED, self->p[0], buf + 100, 10, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	/* The request holds it. */
	ASSERT_EQ(0, ring_register(self->r, IORING_UNREGISTER_BUFFERS, NULL, 0));
	ASSERT_EQ(5, write(self->p[1], "fixed", 5));
	EXPECT_CQE(1, 5);
	EXPECT_EQ(0, memcmp(buf + 100, "fixed", 5));
}

TEST_F(pollretry, vector)
{
	char a[3] = {}, b[8] = {};
	struct iovec iov[2] = { { a, 2 }, { b, 8 } };

	rw(&self->io, IORING_OP_READV, self->p[0], iov, 2, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	memset(iov, 0, sizeof(iov));
	EXPECT_QUIET();
	ASSERT_EQ(6, write(self->p[1], "vector", 6));
	EXPECT_CQE(1, 6);
	EXPECT_STREQ("ve", a);
	EXPECT_EQ(0, memcmp(b, "ctor", 4));
}

/* Another process finds it in the completion list: it is still done in the one that asked. */
TEST_F(pollretry, found_by_another_process)
{
	int status, go[2];
	pid_t pid;
	char c = 0, *shared;

	if (variant->flags)
		SKIP(return, "another process enters");
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_EQ(0, pipe(go));
	rw(&self->io, IORING_OP_READ, self->p[0], &c, 1, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	pid = fork();
	if (!pid) {
		/* The same address means something else here. */
		c = 'c';
		if (write(self->p[1], "p", 1) != 1)
			_exit(1);
		if (variant->backend == DEVICE)
			ring_enter(self->r, 0, 1, IORING_ENTER_GETEVENTS);
		*shared = c;
		_exit(0);
	}
	/* It waits for the CQE to be there: that stays until it has seen it. */
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ('c', *shared);
	EXPECT_CQE(1, 1);
	EXPECT_EQ('p', c);
}

/* Who asked is gone when it is ready; the ring is not. */
TEST_F(pollretry, nobody_to_read_for)
{
	struct io_uring_cqe cqe;
	int status;
	pid_t pid;

	if (variant->flags)
		SKIP(return, "another process submits");
	pid = fork();
	if (!pid) {
		char c;

		rw(&self->io, IORING_OP_READ, self->p[0], &c, 1, 1);
		_exit(ring_submit(self->r, 0) != 1);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	self->r->sqe_tail = *self->r->sq_tail;
	ASSERT_EQ(1, write(self->p[1], "n", 1));
	ASSERT_TRUE(next_cqe_unattended(self->r, &cqe));
	EXPECT_EQ(-ECANCELED, cqe.res);
}

static void cancel(struct io *io, uint64_t user_data, int fd, unsigned int flags)
{
	struct io_uring_sqe *sqe = prep(io, IORING_OP_ASYNC_CANCEL, fd, NULL, 0, 0);

	sqe->addr = user_data;
	sqe->cancel_flags = flags;
	sqe->user_data = 100;
}

/* What waits can be taken out, by all that can be said about it. */
TEST_F(pollretry, cancelled)
{
	struct io_uring_cqe cqe;
	int p[2], i, how, found;
	char c;

	ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
	for (how = 0; how < 6; how++) {
		rw(&self->io, IORING_OP_READ, self->p[0], &c, 1, 1);
		rw(&self->io, IORING_OP_READ, p[0], &c, 1, 2);
		prep(&self->io, IORING_OP_POLL_ADD, self->p[0], NULL, how & 1, 0)->poll32_events =
			POLLIN;
		ASSERT_EQ(3, ring_submit(self->r, 0));
		switch (how) {
		case 0:
			cancel(&self->io, 1, -1, 0);
			break;
		case 1:
			cancel(&self->io, 0, self->p[0],
			       IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL);
			break;
		case 2:
			cancel(&self->io, 0, -1, IORING_ASYNC_CANCEL_ANY);
			break;
		case 3:
			cancel(&self->io, 2, -1, IORING_ASYNC_CANCEL_ALL);
			break;
		case 4:
			cancel(&self->io, 4711, -1, 0);
			break;
		}
		ASSERT_EQ(how < 5, ring_submit(self->r, 0));
		found = how == 5 ? 0 : how == 1 ? 2 : how == 2 ? 3 : 1;
		for (i = 0; i < found + (how < 5); i++) {
			ASSERT_TRUE(next_cqe_unattended(self->r, &cqe));
			EXPECT_EQ(cqe.user_data != 100 ? -ECANCELED : how % 4 ? found : 0,
				  cqe.res);
		}
		EXPECT_QUIET();
		/* All the others are still there; natively none is no error then. */
		cancel(&self->io, 0, -1, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
		ASSERT_EQ(1, ring_submit(self->r, 0));
		for (i = 0; i < 4 - found; i++) {
			ASSERT_TRUE(next_cqe_unattended(self->r, &cqe));
			EXPECT_EQ(cqe.user_data == 100 ? 3 - found : -ECANCELED, cqe.res);
		}
		EXPECT_QUIET();
	}
	close(p[0]);
	close(p[1]);
}

/* Nothing waits for what it waited for, however it ends. */
TEST_F(pollretry, ends)
{
	struct pollfd pfd = {};
	int how, status, go[2], p[2], i;
	pid_t pid;
	char c;

	for (how = 0; how < 4; how++) {
		ASSERT_EQ(0, pipe2(go, O_CLOEXEC));
		ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
		pid = fork();
		if (!pid) {
			char in[MANY];
			struct io io;

			ring_exit(self->r);
			if (io_init(&io, variant->backend, MANY, variant->flags, 0))
				_exit(1);
			for (i = 0; i < MANY; i++)
				rw(&io, IORING_OP_READ, p[0], in + i, 1, i)->flags |=
					i & 1 ? IOSQE_ASYNC : 0;
			if (ring_submit(&io.r, 0) != MANY)
				_exit(2);
			if (how == 2)
				ring_exit(&io.r);
			close(p[0]);
			if (write(go[1], "x", 1) != 1)
				_exit(3);
			if (how == 0)
				_exit(0);
			if (how == 1)
				execl("/bin/true", "true", NULL);
			pause();
		}
		close(p[0]);
		ASSERT_EQ(1, read(go[0], &c, 1));
		if (how >= 2) {
			usleep(20000);
			kill(pid, SIGKILL);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(how >= 2 ? SIGKILL : 0, status);
		/* Nobody reads any more. */
		pfd.fd = p[1];
		EXPECT_EQ(1, poll(&pfd, 1, 30000));
		EXPECT_EQ(POLLERR, pfd.revents);
		close(p[1]);
		close(go[0]);
		close(go[1]);
	}
}

FILES_MAIN
