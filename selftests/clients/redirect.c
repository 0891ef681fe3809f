// SPDX-License-Identifier: GPL-2.0
/*
 * redirect: what programs do that could lose a redirect. It is run by "ruring
 * run", dynamically and statically linked, and knows nothing of the device: it
 * makes system calls, inline or through syscall(3).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include "kselftest_harness.h"

#ifndef SYS_SECCOMP
#define SYS_SECCOMP	1
#endif

#define LINK	"anon_inode:[rust_uring]"

/* As liburing and many others do it. Returns a negative errno. */
static long inline_call(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	register long r9 asm("r9") = f;
	long ret;

	asm volatile("syscall" : "=a"(ret)
		     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	return ret;
}

static long function_call(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret = syscall(nr, a, b, c, d, e, f);

	return ret == -1 ? -errno : ret;
}

struct ring {
	long (*call)(long nr, long a, long b, long c, long d, long e, long f);
	int fd;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	unsigned int *sq_tail, *cq_head, *cq_tail, sq_mask, cq_mask;
};

static bool is_redirected(int fd)
{
	char path[40], link[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, link, sizeof(link) - 1) > 0 && !strcmp(link, LINK);
}

static int ring_init(struct ring *r, bool function)
{
	struct io_uring_params p = { .flags = IORING_SETUP_NO_SQARRAY };
	const int prot = PROT_READ | PROT_WRITE;
	char *rings;

	r->call = function ? function_call : inline_call;
	r->fd = r->call(__NR_io_uring_setup, 4, (long)&p, 0, 0, 0, 0);
	if (r->fd < 0)
		return r->fd;
	rings = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(*r->cqes), prot, MAP_SHARED, r->fd,
		     IORING_OFF_SQ_RING);
	r->sqes = mmap(NULL, p.sq_entries * sizeof(*r->sqes), prot, MAP_SHARED, r->fd,
		       IORING_OFF_SQES);
	if (rings == MAP_FAILED || r->sqes == MAP_FAILED)
		return -errno;
	r->sq_tail = (void *)(rings + p.sq_off.tail);
	r->cq_head = (void *)(rings + p.cq_off.head);
	r->cq_tail = (void *)(rings + p.cq_off.tail);
	r->cqes = (void *)(rings + p.cq_off.cqes);
	r->sq_mask = p.sq_entries - 1;
	r->cq_mask = p.cq_entries - 1;
	return 0;
}

static int ring_enter(struct ring *r, unsigned int nr, unsigned int wait)
{
	return r->call(__NR_io_uring_enter, r->fd, nr, wait, wait ? IORING_ENTER_GETEVENTS : 0, 0,
		       0);
}

/* One NOP, there and back. 0, or what went wrong. */
static int ring_nop(struct ring *r)
{
	struct io_uring_sqe *sqe = &r->sqes[*r->sq_tail & r->sq_mask];
	struct io_uring_cqe *cqe = &r->cqes[*r->cq_head & r->cq_mask];
	int ret;

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_NOP;
	sqe->user_data = 77;
	__atomic_store_n(r->sq_tail, *r->sq_tail + 1, __ATOMIC_RELEASE);
	ret = ring_enter(r, 1, 1);
	if (ret != 1)
		return ret < 0 ? ret : -EIO;
	if (*r->cq_head == __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE) || cqe->user_data != 77)
		return -ENODATA;
	__atomic_store_n(r->cq_head, *r->cq_head + 1, __ATOMIC_RELEASE);
	return cqe->res;
}

/* Everything works, and is redirected. */
static int works(bool function)
{
	struct ring r;
	int ret = ring_init(&r, function);

	if (ret)
		return ret;
	ret = is_redirected(r.fd) ? ring_nop(&r) : -ENODEV;
	close(r.fd);
	return ret;
}

/* The same as a process: this program does it when it is executed so. */
#define WORKS_AND_EXITS	"--works"
#define FINE		42

TEST(inline_assembly)
{
	EXPECT_EQ(0, works(false));
}

TEST(syscall_function)
{
	EXPECT_EQ(0, works(true));
}

TEST(errors_are_those_of_the_system_calls)
{
	struct io_uring_params p = { .flags = ~0U };
	int i, fd;

	fd = open("/dev/null", O_RDONLY);
	ASSERT_LE(0, fd);
	for (i = 0; i < 2; i++) {
		long (*call)(long nr, long a, long b, long c, long d, long e, long f) =
			i ? function_call : inline_call;

		EXPECT_EQ(-EINVAL, call(__NR_io_uring_setup, 4, (long)&p, 0, 0, 0, 0));
		EXPECT_EQ(-EFAULT, call(__NR_io_uring_setup, 4, 0, 0, 0, 0, 0));
		EXPECT_EQ(-EOPNOTSUPP, call(__NR_io_uring_enter, fd, 0, 0, 0, 0, 0));
		EXPECT_EQ(-EBADF, call(__NR_io_uring_enter, 9999, 0, 0, 0, 0, 0));
		EXPECT_EQ(-EBADF, call(__NR_io_uring_enter, -1, 0, 0, 0, 0, 0));
		EXPECT_EQ(-EOPNOTSUPP, call(__NR_io_uring_register, fd, IORING_REGISTER_PROBE, 0,
					    0, 0, 0));
		EXPECT_EQ(-EBADF, call(__NR_io_uring_register, 9999, IORING_REGISTER_PROBE, 0, 0,
				       0, 0));
		/* No ring at all: an empty list of queries. */
		EXPECT_EQ(0, call(__NR_io_uring_register, -1, IORING_REGISTER_QUERY, 0, 0, 0, 0));
	}
	/* Other calls go through syscall(3) as ever. */
	EXPECT_EQ(getpid(), syscall(__NR_getpid));
	EXPECT_EQ(-1, syscall(__NR_close, 9999));
	EXPECT_EQ(EBADF, errno);
}

TEST(a_number_that_was_a_ring)
{
	struct ring r;
	int fd;

	ASSERT_EQ(0, ring_init(&r, false));
	ASSERT_EQ(0, ring_nop(&r));
	fd = open("/dev/null", O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(r.fd, dup2(fd, r.fd));
	EXPECT_EQ(-EOPNOTSUPP, ring_enter(&r, 0, 0));
	close(r.fd);
	EXPECT_EQ(-EBADF, ring_enter(&r, 0, 0));
}

TEST(everything_is_closed)
{
	/* Daemons do that. What the redirect keeps open is closed as well. */
	EXPECT_EQ(0, works(false));
	ASSERT_EQ(0, close_range(3, ~0U, 0));
	EXPECT_EQ(0, works(false));
	EXPECT_EQ(0, works(true));
}

TEST(registered_ring)
{
	struct io_uring_rsrc_update up = { .offset = ~0U };
	struct ring r;
	long ret;

	ASSERT_EQ(0, ring_init(&r, false));
	up.data = r.fd;
	ASSERT_EQ(1, inline_call(__NR_io_uring_register, r.fd, IORING_REGISTER_RING_FDS, (long)&up,
				 1, 0, 0));
	ret = inline_call(__NR_io_uring_enter, up.offset, 0, 0, IORING_ENTER_REGISTERED_RING, 0, 0);
	EXPECT_EQ(0, ret);
	ret = function_call(__NR_io_uring_register, up.offset,
			    IORING_REGISTER_PROBE | IORING_REGISTER_USE_REGISTERED_RING, 0, 0, 0,
			    0);
	EXPECT_EQ(-EINVAL, ret);
}

static void *thread(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	return (void *)(long)works(arg);
}

TEST(threads_that_block_everything)
{
	pthread_t threads[4];
	void *ret;
	long i;

	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, thread, (void *)(i & 1)));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, pthread_join(threads[i], &ret));
		EXPECT_EQ(NULL, ret);
	}
}

TEST(masks)
{
	unsigned long all = ~0UL, old = 0, none = 0;
	sigset_t set;

	/* By the C library, and past it. */
	sigfillset(&set);
	ASSERT_EQ(0, sigprocmask(SIG_BLOCK, &set, NULL));
	EXPECT_EQ(0, works(false));
	ASSERT_EQ(0, inline_call(__NR_rt_sigprocmask, SIG_SETMASK, (long)&none, (long)&old, 8, 0,
				 0));
	EXPECT_EQ(1UL << (SIGUSR1 - 1), old & 1UL << (SIGUSR1 - 1));
	ASSERT_EQ(0, inline_call(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&old, 8, 0,
				 0));
	EXPECT_EQ(0, old);
	EXPECT_EQ(0, works(false));
	/* The mask is what was asked for, but for one bit. */
	ASSERT_EQ(0, inline_call(__NR_rt_sigprocmask, SIG_BLOCK, 0, (long)&old, 8, 0, 0));
	EXPECT_EQ(0, ~old & ~(1UL << (SIGKILL - 1) | 1UL << (SIGSTOP - 1) | 1UL << (SIGSYS - 1)));
	EXPECT_EQ(-EINVAL, inline_call(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, 4, 0, 0));
	EXPECT_EQ(-EINVAL, inline_call(__NR_rt_sigprocmask, 99, (long)&all, 0, 8, 0, 0));
	EXPECT_EQ(-EFAULT, inline_call(__NR_rt_sigprocmask, SIG_SETMASK, 8, 0, 8, 0, 0));
}

static volatile int seen, in_handler;

static void note(int sig)
{
	seen = sig;
}

static void work(int sig)
{
	seen = sig;
	in_handler = works(false);
}

TEST(a_handler_that_blocks_everything)
{
	struct sigaction sa = { .sa_handler = work };

	sigfillset(&sa.sa_mask);
	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	in_handler = 1;
	ASSERT_EQ(0, raise(SIGUSR1));
	EXPECT_EQ(SIGUSR1, seen);
	EXPECT_EQ(0, in_handler);
}

TEST(a_handler_of_its_own)
{
	struct sigaction sa = { .sa_handler = note, .sa_flags = SA_RESTART }, old;

	/* Nobody is told of ours. */
	ASSERT_EQ(0, sigaction(SIGSYS, NULL, &old));
	EXPECT_TRUE(old.sa_handler == SIG_DFL);
	ASSERT_EQ(0, sigaction(SIGSYS, &sa, &old));
	EXPECT_TRUE(old.sa_handler == SIG_DFL);
	EXPECT_EQ(0, works(false));
	EXPECT_EQ(0, seen);
	ASSERT_EQ(0, kill(getpid(), SIGSYS));
	EXPECT_EQ(SIGSYS, seen);
	EXPECT_EQ(0, works(false));
	ASSERT_EQ(0, sigaction(SIGSYS, NULL, &old));
	EXPECT_TRUE(old.sa_handler == note);

	seen = 0;
	ASSERT_TRUE(signal(SIGSYS, SIG_IGN) != SIG_ERR);
	ASSERT_EQ(0, kill(getpid(), SIGSYS));
	EXPECT_EQ(0, works(false));
	EXPECT_EQ(0, seen);
}

TEST(sigsys_ends_it_if_nothing_else_is_wanted)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		kill(getpid(), SIGSYS);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static void trapped(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	if (info->si_code == SYS_SECCOMP && info->si_syscall == __NR_getppid)
		uc->uc_mcontext.gregs[REG_RAX] = 4711;
}

/* getppid(2) is trapped, uname(2) is refused. */
static int install_filter(void)
{
	struct sock_filter insns[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_uname, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = sizeof(insns) / sizeof(insns[0]), .filter = insns };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) ? -errno : 0;
}

TEST(a_filter_of_its_own)
{
	struct sigaction sa = { .sa_sigaction = trapped, .sa_flags = SA_SIGINFO };

	ASSERT_EQ(0, sigaction(SIGSYS, &sa, NULL));
	ASSERT_EQ(0, install_filter());
	EXPECT_EQ(4711, inline_call(__NR_getppid, 0, 0, 0, 0, 0, 0));
	EXPECT_EQ(-EPERM, inline_call(__NR_uname, 0, 0, 0, 0, 0, 0));
	EXPECT_EQ(0, works(false));
	EXPECT_EQ(0, works(true));
}

TEST(alternate_stack)
{
	static char memory[64 << 10];
	stack_t stack = { .ss_sp = memory, .ss_size = sizeof(memory) }, old;
	struct sigaction sa = { .sa_handler = work, .sa_flags = SA_ONSTACK };

	ASSERT_EQ(0, sigaltstack(&stack, NULL));
	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	EXPECT_EQ(0, works(false));
	in_handler = 1;
	ASSERT_EQ(0, raise(SIGUSR1));
	EXPECT_EQ(0, in_handler);
	ASSERT_EQ(0, sigaltstack(NULL, &old));
	EXPECT_EQ((void *)memory, old.ss_sp);
}

TEST(a_wait_is_interrupted)
{
	struct itimerval soon = { .it_value.tv_usec = 200000 };
	struct sigaction sa = { .sa_handler = note, .sa_flags = SA_RESTART };
	struct ring r;
	int i;

	ASSERT_EQ(0, sigaction(SIGALRM, &sa, NULL));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, ring_init(&r, i));
		seen = 0;
		ASSERT_EQ(0, setitimer(ITIMER_REAL, &soon, NULL));
		EXPECT_EQ(-EINTR, ring_enter(&r, 0, 1));
		EXPECT_EQ(SIGALRM, seen);
		EXPECT_EQ(0, ring_nop(&r));
	}
}

TEST(fork_and_both_go_on)
{
	struct ring r;
	int status;
	pid_t pid;

	ASSERT_EQ(0, ring_init(&r, false));
	pid = fork();
	if (!pid)
		_exit(ring_nop(&r) ? 1 : works(false) ? 2 : FINE);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(FINE, WEXITSTATUS(status));
	EXPECT_EQ(0, works(false));
}

static int exit_of(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* The other one of the two programs, which are in one folder. */
static const char *other(void)
{
	static char path[PATH_MAX];
	static const char end[] = "-static";
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - sizeof(end));

	if (len < 0)
		return NULL;
	path[len] = 0;
	if (len > (ssize_t)strlen(end) && !strcmp(path + len - strlen(end), end))
		path[len - strlen(end)] = 0;
	else
		strcat(path, end);
	return path;
}

/* Executes this program and the other one, with the environment as it is and without any. */
static int executes(const char *path, bool empty)
{
	char *const argv[] = { "redirect", WORKS_AND_EXITS, NULL };
	char *const none[] = { NULL };
	pid_t pid = fork();

	if (!pid) {
		execve(path, argv, empty ? none : environ);
		_exit(1);
	}
	return exit_of(pid);
}

TEST(exec)
{
	ASSERT_NE(NULL, other());
	EXPECT_EQ(FINE, executes("/proc/self/exe", false));
	EXPECT_EQ(FINE, executes("/proc/self/exe", true));
	EXPECT_EQ(FINE, executes(other(), false));
	EXPECT_EQ(FINE, executes(other(), true));
}

TEST(exec_by_descriptor)
{
	char *const argv[] = { "redirect", WORKS_AND_EXITS, NULL };
	char *const none[] = { NULL };
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	pid_t pid;

	ASSERT_LE(0, fd);
	pid = fork();
	if (!pid) {
		fexecve(fd, argv, none);
		_exit(1);
	}
	/* A static program is not redirected in this way, and ends with a signal. */
	EXPECT_EQ(strstr(other(), "-static") ? FINE : -SIGSYS, exit_of(pid));
}

TEST(exec_that_fails)
{
	char *const argv[] = { "redirect", NULL };
	char *const none[] = { NULL };

	EXPECT_EQ(-1, execve("/nonexistent", argv, none));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(-1, execve("/dev/null", argv, none));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(0, works(false));
}

TEST(spawn)
{
	char *const argv[] = { "redirect", WORKS_AND_EXITS, NULL };
	posix_spawnattr_t attr;
	const char *path[2];
	sigset_t all;
	pid_t pid;
	int i;

	path[0] = "/proc/self/exe";
	path[1] = other();
	/* Every signal blocked, and every handler taken away. */
	sigfillset(&all);
	ASSERT_EQ(0, posix_spawnattr_init(&attr));
	ASSERT_EQ(0, posix_spawnattr_setsigmask(&attr, &all));
	ASSERT_EQ(0, posix_spawnattr_setsigdefault(&attr, &all));
	ASSERT_EQ(0, posix_spawnattr_setflags(&attr,
					      POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, posix_spawn(&pid, path[i & 1], NULL, i & 2 ? &attr : NULL, argv,
					 environ));
		EXPECT_EQ(FINE, exit_of(pid));
	}
	EXPECT_EQ(0, works(false));
}

TEST(shell)
{
	char command[PATH_MAX + 100];
	FILE *pipe;

	EXPECT_EQ(0, system("exit 0"));
	snprintf(command, sizeof(command), "%s " WORKS_AND_EXITS "; echo $?", other());
	pipe = popen(command, "r");
	ASSERT_NE(NULL, pipe);
	ASSERT_TRUE(!!fgets(command, sizeof(command), pipe));
	EXPECT_STREQ("42\n", command);
	EXPECT_EQ(0, pclose(pipe));
}

TEST(vfork_and_exec)
{
	char *const argv[] = { "redirect", WORKS_AND_EXITS, NULL };
	int i;

	for (i = 0; i < 5; i++) {
		pid_t pid = vfork();

		if (!pid) {
			execve("/proc/self/exe", argv, environ);
			_exit(1);
		}
		ASSERT_EQ(FINE, exit_of(pid));
	}
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], WORKS_AND_EXITS))
		return works(false) || works(true) ? 1 : FINE;
	return test_harness_run(argc, argv);
}
