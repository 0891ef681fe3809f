// SPDX-License-Identifier: GPL-2.0
/*
 * Measures the device beside native io_uring: each row on both, in turn, a
 * number of times.
 *
 *   bench [-m count|time|scale] [-r REPEATS] [-t TIME] [-d FOLDER] [-o CSV] [-p SIDE] [-l] [ROW...]
 *
 * The clock is CLOCK_MONOTONIC: nanoseconds, or instructions in a guest that
 * counts them. Each measurement takes about TIME of these. FOLDER has the files
 * that rows are about; what is not there is shown as that. ROWs are parts of
 * names. -p device|native marks what is measured there for bench/profile.c.
 */
#include "bench.h"
#include <err.h>
#include <getopt.h>
#include <sched.h>
#include <linux/perf_event.h>
#include <sys/wait.h>

#define MAX_REPEATS	64
#define MAX_EVENTS	64
/* Microseconds after which everything is done that was put off. */
#define SETTLE		100000

const char *files_dir = "/tmp/bench";

static unsigned int kind = COUNT;
static const char *kind_name = "count";
static unsigned int repeats = 5;
static unsigned long target = 1000000;
static const char *marked;
static FILE *csv;

/* Allocations, everywhere on this machine: a request may be done by another thread. */
static const char *const allocations[] = {
	"kmalloc", "kmem_cache_alloc", "mm_page_alloc",
};

static int event_id(const char *name)
{
	char path[128];
	int id = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/kernel/tracing/events/kmem/%s/id", name);
	file = fopen(path, "r");
	if (!file)
		return -1;
	if (fscanf(file, "%d", &id) != 1)
		id = -1;
	fclose(file);
	return id;
}

static int open_events(int *fds)
{
	int cpus = sysconf(_SC_NPROCESSORS_ONLN), nr = 0, cpu;
	unsigned int i;

	for (i = 0; i < sizeof(allocations) / sizeof(*allocations); i++) {
		struct perf_event_attr attr = {
			.type = PERF_TYPE_TRACEPOINT,
			.size = sizeof(attr),
			.config = event_id(allocations[i]),
			.sample_period = 0,
		};

		for (cpu = 0; cpu < cpus && nr < MAX_EVENTS; cpu++) {
			fds[nr] = syscall(__NR_perf_event_open, &attr, -1, cpu, -1, 0);
			if (fds[nr] < 0)
				return -1;
			nr++;
		}
	}
	return nr;
}

static uint64_t read_events(const int *fds, int nr)
{
	uint64_t sum = 0, one;
	int i;

	for (i = 0; i < nr; i++)
		if (read(fds[i], &one, sizeof(one)) == sizeof(one))
			sum += one;
	return sum;
}

/* Allocations of one turn: the fewest that were seen, as others allocate too. -1 if unknown. */
static double count_allocations(struct job *j, unsigned long n)
{
	int fds[MAX_EVENTS], nr = open_events(fds), i;
	uint64_t best = UINT64_MAX;

	if (nr <= 0)
		return -1;
	for (i = 0; i < 3; i++) {
		uint64_t begin = read_events(fds, nr), seen;

		j->row->turns(j, n);
		seen = read_events(fds, nr) - begin;
		if (seen < best)
			best = seen;
	}
	while (nr--)
		close(fds[nr]);
	return (double)best / n;
}

static const char *backend_name(const struct row *row, enum backend backend)
{
	if (row->what & CONTROL)
		return "control";
	return backend == DEVICE ? "device" : "native";
}

/* Nothing to the machine; bench/profile.c counts what is between the two. */
static void mark(bool begin)
{
#ifdef __x86_64__
	if (begin)
		asm volatile("nopl 0x62656731(%%rax,%%rax,1)" ::: "memory");
	else
		asm volatile("nopl 0x62656732(%%rax,%%rax,1)" ::: "memory");
#endif
}

/*
 * Whoever runs when there is nothing else to do: where the clock is that of the
 * one CPU, what others did is the time that this one did not get.
 */
static pid_t idler;
static clockid_t idle_clock;

static void start_idler(void)
{
	struct sched_param param = {};

	idler = fork();
	if (idler < 0)
		err(1, "fork");
	if (idler) {
		clock_getcpuclockid(idler, &idle_clock);
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sched_setscheduler(0, SCHED_IDLE, &param);
	for (;;)
		;
}

static void stop_idler(void)
{
	kill(idler, SIGKILL);
	waitpid(idler, NULL, 0);
	idler = 0;
}

static double measure(struct job *j, unsigned long n)
{
	bool lasting = kind == COUNT && j->row->what & LASTING;
	uint64_t begin, end, idle = 0;

	if (lasting) {
		start_idler();
		usleep(SETTLE);
		idle = now_ns(idle_clock);
	}
	begin = now_ns(CLOCK_MONOTONIC);
	j->row->turns(j, n);
	if (lasting)
		usleep(SETTLE);
	end = now_ns(CLOCK_MONOTONIC);
	if (lasting) {
		begin += now_ns(idle_clock) - idle;
		stop_idler();
	}
	return end - begin;
}

static double measure_marked(struct job *j, unsigned long n)
{
	bool wanted = marked && !strcmp(marked, backend_name(j->row, j->backend));
	double took;

	if (wanted)
		mark(true);
	took = measure(j, n);
	if (wanted)
		mark(false);
	return took;
}

/* How many turns take about as long as was asked for. */
static unsigned long calibrate(struct job *j)
{
	unsigned long n = 1;
	double took;

	for (;;) {
		took = measure(j, n);
		if (j->wrong || took > target / 4 || n >= 1 << 20)
			break;
		n *= 2;
	}
	n = target * (j->row->times ?: 1) / (took / n);
	return n < 4 ? 4 : n;
}

static int start(struct job *j, const struct row *row, enum backend backend)
{
	int ret;

	job_init(j, row, backend);
	ret = row->start ? row->start(j) : 0;
	if (ret)
		return ret;
	/* What is kept for later is made now. */
	row->turns(j, 4);
	return j->wrong;
}

static void stop(struct job *j)
{
	if (j->row->stop)
		j->row->stop(j);
}

static void report(const struct job *j, unsigned int repeat, double requests, double took,
		   double calls, double allocs)
{
	fprintf(csv, "%s,%s,%s,%.2f,%u,%.0f,%.3f,%.4f,%.4f,%u\n", kind_name, j->row->name,
		backend_name(j->row, j->backend), j->row->bar, repeat, requests, took / requests,
		calls, allocs, j->row->batch);
}

static void report_missing(const struct row *row, enum backend backend, int why)
{
	fprintf(csv, "%s,%s,%s,%.2f,-1,0,0,0,0,%u\n", kind_name, row->name,
		backend_name(row, backend), row->bar, row->batch);
	printf("%-44s %s: not there (%s)\n", row->name, backend_name(row, backend), strerror(-why));
}

static double median(double *values, unsigned int nr)
{
	unsigned int i, k;

	for (i = 1; i < nr; i++) {
		double v = values[i];

		for (k = i; k && values[k - 1] > v; k--)
			values[k] = values[k - 1];
		values[k] = v;
	}
	return nr % 2 ? values[nr / 2] : (values[nr / 2 - 1] + values[nr / 2]) / 2;
}

/* Measures a row on those backends that have it. */
static void run_row(const struct row *row)
{
	enum backend first = row->what & CONTROL ? NATIVE : DEVICE, b;
	double took[2][MAX_REPEATS], allocs[2], calls[2], middle[2] = {};
	struct job jobs[2];
	unsigned long n = 0;
	bool there[2] = {};
	unsigned int i;
	int ret;

	for (b = first; b <= NATIVE; b++) {
		ret = start(&jobs[b], row, b);
		there[b] = !ret;
		if (!ret)
			continue;
		stop(&jobs[b]);
		if (ret != -EINVAL && ret != -EOPNOTSUPP && ret != -ENOENT)
			errx(1, "%s, %s: %s", row->name, backend_name(row, b), strerror(-ret));
		report_missing(row, b, ret);
	}
	for (b = NATIVE + 1; b-- > first; )
		if (there[b] && !n)
			n = calibrate(&jobs[b]);
	for (i = 0; i < repeats; i++)
		for (b = first; b <= NATIVE; b++)
			if (there[b])
				took[b][i] = measure_marked(&jobs[b], n);
	for (b = first; b <= NATIVE; b++) {
		struct job *j = &jobs[b];

		if (!there[b])
			continue;
		j->calls = 0;
		j->row->turns(j, n);
		calls[b] = (double)j->calls / n / row->batch;
		allocs[b] = count_allocations(j, n);
		if (allocs[b] >= 0)
			allocs[b] /= row->batch;
		if (j->wrong)
			errx(1, "%s, %s: %s", row->name, backend_name(row, b), strerror(-j->wrong));
		for (i = 0; i < repeats; i++)
			report(j, i, (double)n * row->batch, took[b][i], calls[b], allocs[b]);
		middle[b] = median(took[b], repeats) / n / row->batch;
		stop(j);
	}
	if (row->what & CONTROL)
		printf("%-44s %10.1f\n", row->name, middle[NATIVE]);
	else if (there[DEVICE] && there[NATIVE])
		printf("%-44s %10.1f %10.1f  %.3f\n", row->name, middle[DEVICE], middle[NATIVE],
		       middle[DEVICE] / middle[NATIVE]);
	fflush(stdout);
	fflush(csv);
}

static bool is_a_row(const char *name)
{
	unsigned int i;

	for (i = 0; i < nr_rows; i++)
		if (!strcmp(rows[i].name, name))
			return true;
	return false;
}

/* A whole name means that row alone; else it is a part of names. */
static bool wanted(const struct row *row, char **names)
{
	if (!(row->runs & kind))
		return false;
	if (!*names)
		return true;
	for (; *names; names++)
		if (is_a_row(*names) ? !strcmp(row->name, *names) : !!strstr(row->name, *names))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	bool list = false;
	unsigned int i;
	int opt;

	csv = fopen("/dev/null", "w");
	while ((opt = getopt(argc, argv, "m:r:t:d:o:p:l")) != -1) {
		switch (opt) {
		case 'm':
			kind_name = optarg;
			kind = !strcmp(optarg, "time") ? TIME :
				!strcmp(optarg, "scale") ? SCALE : COUNT;
			break;
		case 'r':
			repeats = atoi(optarg);
			break;
		case 't':
			target = strtoul(optarg, NULL, 0);
			break;
		case 'd':
			files_dir = optarg;
			break;
		case 'o':
			csv = fopen(optarg, "w");
			break;
		case 'p':
			marked = optarg;
			break;
		case 'l':
			list = true;
			break;
		default:
			return 2;
		}
	}
	if (!csv || !repeats || repeats > MAX_REPEATS || !target)
		errx(2, "bad arguments");
	fprintf(csv, "run,row,backend,bar,repeat,requests,cost,calls,allocations,batch\n");
	for (i = 0; i < nr_rows; i++) {
		if (!wanted(&rows[i], argv + optind))
			continue;
		if (list)
			printf("%s\n", rows[i].name);
		else
			run_row(&rows[i]);
	}
	return 0;
}
