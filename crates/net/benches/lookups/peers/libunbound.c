/* The other side of the benches: libunbound, driven over stdin and stdout like byrnie's own side.
 *
 *     libunbound PORT ANCHORS QUESTIONS
 *
 * See peers.rs for the commands. All questions go through ub_resolve_async, whose work is done by one
 * thread of libunbound's own: ub_resolve would set up a worker anew for each, which takes several times
 * as long, even one at a time. For the same reason outgoing-range is left as it is: more ports make
 * libunbound slower. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unbound.h>

struct question {
	char *name;
	int type;
};

static struct question *questions;
static const char *port, *anchors;
static struct ub_ctx *context;
static long first, span, count, started, ended, secure;

static void fail(const char *what)
{
	fprintf(stderr, "libunbound: %s\n", what);
	exit(1);
}

static void set(const char *option, const char *value)
{
	if (ub_ctx_set_option(context, option, value) != 0)
		fail(option);
}

/* A context that knows nothing but the anchors. */
static void fresh(void)
{
	char forward[64];

	if (context)
		ub_ctx_delete(context);
	context = ub_ctx_create();
	if (!context)
		fail("no context");
	set("msg-cache-size:", "1g");
	set("rrset-cache-size:", "1g");
	set("key-cache-size:", "256m");
	set("neg-cache-size:", "64m");
	set("verbosity:", "0");
	set("qname-minimisation:", "no");
	set("do-not-query-localhost:", "no");
	set("edns-buffer-size:", "1232");
	set("do-ip6:", "no");
	set("do-tcp:", "yes");
	/* Names that the real root does not have are not answered from the built-in zones. */
	set("unblock-lan-zones:", "yes");
	set("local-zone:", "test. transparent");
	snprintf(forward, sizeof(forward), "127.0.0.1@%s", port);
	if (ub_ctx_set_fwd(context, forward) != 0)
		fail("no forwarder");
	if (ub_ctx_add_ta_file(context, anchors) != 0)
		fail("no anchors");
	ub_ctx_async(context, 1);
}

static void judge(int error, struct ub_result *result)
{
	if (error == 0 && result->secure && result->havedata)
		secure++;
	ub_resolve_free(result);
}

static const struct question *next(void)
{
	return &questions[first + started++ % span];
}

static void answered(void *unused, int error, struct ub_result *result)
{
	int id;
	const struct question *asked;

	(void)unused;
	judge(error, result);
	ended++;
	if (started < count) {
		asked = next();
		ub_resolve_async(context, asked->name, asked->type, 1, NULL, answered, &id);
	}
}

/* Keeps so many questions under way. */
static void run(long concurrent)
{
	struct pollfd descriptor = {.fd = ub_fd(context), .events = POLLIN};
	const struct question *asked;
	int id;

	while (started < count && started < concurrent) {
		asked = next();
		ub_resolve_async(context, asked->name, asked->type, 1, NULL, answered, &id);
	}
	while (ended < count) {
		if (poll(&descriptor, 1, 10000) <= 0)
			fail("nothing came for ten seconds");
		ub_process(context);
	}
}

static void read_questions(const char *path)
{
	FILE *file = fopen(path, "r");
	char name[256];
	long number = 0;
	int type;

	if (!file)
		fail("no questions");
	while (fscanf(file, "%255s %d", name, &type) == 2) {
		if ((number & (number - 1)) == 0)
			questions = realloc(questions, (number ? 2 * number : 1) * sizeof(*questions));
		questions[number].name = strdup(name);
		questions[number++].type = type;
	}
	fclose(file);
}

int main(int argc, char **argv)
{
	struct timespec before, after;
	char line[128];
	long concurrent;

	if (argc != 4)
		fail("usage: libunbound PORT ANCHORS QUESTIONS");
	port = argv[1];
	anchors = argv[2];
	read_questions(argv[3]);
	while (fgets(line, sizeof(line), stdin)) {
		if (strcmp(line, "fresh\n") == 0) {
			fresh();
			puts("0 0");
		} else if (sscanf(line, "run %ld %ld %ld %ld", &concurrent, &first, &span, &count) == 4) {
			started = ended = secure = 0;
			clock_gettime(CLOCK_MONOTONIC, &before);
			run(concurrent);
			clock_gettime(CLOCK_MONOTONIC, &after);
			printf("%ld %lld\n", secure,
			       (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec);
		} else {
			fail("no such command");
		}
		fflush(stdout);
	}
	return 0;
}
