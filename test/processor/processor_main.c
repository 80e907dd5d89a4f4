/* A stand-in for the payment processors of the challenge: the same interface,
 * to the letter, and the power to misbehave on command.
 *
 * It shares no code with the gateway that it judges. What it offers is in the
 * manual below, which is also what --help prints; in short:
 *
 *   PUT /admin/misbehave, header X-Rinha-Token, one JSON object per call:
 *     {"kind":K, "count":N|null, "percent":P, "seed":S, "correlationId":"...",
 *      "ms":M, "status":5xx}         K = one of the faults in the manual
 *     {"kind":"capacity", "concurrent":C, "service_ms":S}
 *     {"kind":"close-idle", "after_ms":M}
 *     {"kind":"none"}                behave again
 *   GET /admin/misbehave, /admin/payments, /admin/seen/{id}, /admin/stats;
 *   POST /admin/stats/reset
 *
 * Nothing is kept on disk: when it ends, its books are gone.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "test/processor/processor.h"

static const char version[] = "processor (stand-in payment processor) 1\n";

static const char manual[] =
    "Usage: processor [options]\n"
    "A stand-in payment processor. Prints one line when it is ready, for instance\n"
    "  processor default ready tcp=127.0.0.1:8001\n"
    "and runs until SIGTERM or SIGINT.\n"
    "\n"
    "  --listen HOST:PORT  TCP address; port 0 takes a free one (see the ready line)\n"
    "  --unix PATH         unix socket; may be given besides --listen, one is needed\n"
    "  --name NAME         name in the ready line and the statistics (default)\n"
    "  --fee F             fee per transaction (0.05)\n"
    "  --token T           first X-Rinha-Token (123)\n"
    "  --max-running N     requests that run at the same time (800)\n"
    "  --max-queued N      requests that wait for that, more get a 429 (500)\n"
    "  --health-window MS  window of the service-health limit (5000)\n"
    "  --help, --version\n"
    "\n"
    "Calls of the real processor\n"
    "  POST /payments {\"correlationId\":UUID,\"amount\":number,\"requestedAt\":ISO time}\n"
    "       200, 422 known id, 500 empty: simulated failure, 429 full, 400 malformed\n"
    "  GET  /payments/{id}             200 or 404; 429 full\n"
    "  GET  /payments/service-health   200 {\"failing\":bool,\"minResponseTime\":ms}, 429\n"
    "  With header X-Rinha-Token, else 401:\n"
    "  GET  /admin/payments-summary?from=T&to=T\n"
    "  PUT  /admin/configurations/token {\"token\":\"...\"}\n"
    "  PUT  /admin/configurations/delay {\"delay\":ms}\n"
    "  PUT  /admin/configurations/failure {\"failure\":bool}\n"
    "  POST /admin/purge-payments\n"
    "\n"
    "Calls of this stand-in, with the token\n"
    "  GET  /admin/payments     every payment in the books, one a line, by insertion:\n"
    "       id TAB cents TAB requestedAt us TAB inserted at us TAB requestedAt as sent\n"
    "       (a purge meanwhile breaks the answer off)\n"
    "  GET  /admin/seen/{id}    how often this id was POSTed, refused ones included\n"
    "  GET  /admin/stats        one JSON object: running, queued, max_running, payments,\n"
    "       posts, statuses of the answers (\"broken\": reset or raw), health calls...\n"
    "  POST /admin/stats/reset  204; forgets the counts above, those of ids included\n"
    "  GET  /admin/misbehave    what is commanded, and how often it hit\n"
    "  PUT  /admin/misbehave    command it; answers like the GET\n"
    "\n"
    "Misbehaviour: {\"kind\":K} and\n"
    "  \"count\":N          for the next N payments; left out or null: for ever\n"
    "  \"percent\":P        for that share of them, decided by chance (100)\n"
    "  \"seed\":S           where chance begins (1)\n"
    "  \"correlationId\":I  for this id only\n"
    "  A rule takes the place of one with the same kind and id; \"count\":0 ends it.\n"
    "  Several kinds may stand; the first that applies is used. Only well-formed POSTs\n"
    "  that are not over the limit count. Kinds K:\n"
    "  reset-before         reset (RST), not executed\n"
    "  reset-after          executed, then reset instead of an answer\n"
    "  reset-then-insert    reset at once; \"ms\":M later it is executed, the failure flag\n"
    "                       is looked at then, the configured delay is not waited\n"
    "  late                 executed, answered \"ms\":M after that\n"
    "  garbage-body         executed; the usual status with a body that is not JSON\n"
    "  garbage-http         executed; bytes that are not HTTP, then closed\n"
    "  short                executed; 200 with less than its Content-Length, then closed\n"
    "  error-after          executed; \"status\":S (500) with a body\n"
    "  error-before         after the delay \"status\":S (500) with a body, not executed\n"
    "  refuse-429           429 at once, not executed\n"
    "  refuse-400           400 at once, not executed\n"
    "  While the failure flag is on, payments that come to it get their empty 500\n"
    "  whatever their fault was.\n"
    "  And of the whole processor, until changed:\n"
    "  {\"kind\":\"capacity\",\"concurrent\":C,\"service_ms\":S}  after the delay only C at once\n"
    "                       are executed, look-ups too, S ms each; the others queue; 0 = no limit\n"
    "  {\"kind\":\"close-idle\",\"after_ms\":M}  close connections idle for M ms; 0 = at once\n"
    "                       after an answer that promised keep-alive; -1 = never\n"
    "  {\"kind\":\"none\"}      end all of it\n"
    "  On a unix socket there is no reset: the connection is closed.\n";

struct options {
    const char *listen;
    const char *unix_path;
    const char *name;
    const char *fee;
    const char *token;
    const char *max_running;
    const char *max_queued;
    const char *health_window;
};

__attribute__((noreturn)) static void fail(const char *option, const char *what)
{
    fprintf(stderr, "processor: %s: %s\n", option, what);
    exit(2);
}

static void read_options(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {
        {"listen", required_argument, NULL, 'l'},
        {"unix", required_argument, NULL, 'u'},
        {"name", required_argument, NULL, 'n'},
        {"fee", required_argument, NULL, 'f'},
        {"token", required_argument, NULL, 't'},
        {"max-running", required_argument, NULL, 'r'},
        {"max-queued", required_argument, NULL, 'q'},
        {"health-window", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    const char **slots[128] = {
        ['l'] = &o->listen,     ['u'] = &o->unix_path,    ['n'] = &o->name,
        ['f'] = &o->fee,        ['t'] = &o->token,        ['r'] = &o->max_running,
        ['q'] = &o->max_queued, ['w'] = &o->health_window};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'h' || option == 'v') {
            fputs(option == 'h' ? manual : version, stdout);
            exit(0);
        }
        if (option == '?')
            exit(2);
        *slots[option] = optarg;
    }
    if (optind < argc)
        fail(argv[optind], "is not an option");
    if (o->listen == NULL && o->unix_path == NULL)
        fail("--listen", "is missing, and so is --unix");
}

static int64_t whole_number(const char *option, const char *text, int64_t lowest, int64_t highest)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < lowest || value > highest)
        fail(option, "is not a number that makes sense here");
    return value;
}

static void configure(struct processor *processor, const struct options *o)
{
    if (o->name[strcspn(o->name, "\"\\ \t\r\n")] != '\0')
        fail("--name", "may not contain quotes, backslashes or spaces");
    if (o->token[0] == '\0' || strlen(o->token) >= TOKEN_SIZE)
        fail("--token", "is empty or too long");
    if (fee_parse(o->fee, &processor->fee) != 0)
        fail("--fee", "is a fraction of one, such as 0.05");
    processor->name = o->name;
    strcpy(processor->token, o->token);
    processor->concurrency.running_max = whole_number("--max-running", o->max_running, 1, 1000000);
    processor->concurrency.queued_max = whole_number("--max-queued", o->max_queued, 0, 1000000);
    processor->health.window_ms = whole_number("--health-window", o->health_window, 1, 3600000);
    processor->close_idle_ms = -1;
}

/* Every connection is a descriptor; benchmarks and floods want many. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void listen_tcp(struct processor *processor, const char *address, char *ready, size_t size)
{
    char host[256];
    const char *colon = strrchr(address, ':');
    if (colon == NULL || (size_t)(colon - address) >= sizeof(host))
        fail("--listen", "is not HOST:PORT");
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = '\0';
    uint16_t port = (uint16_t)whole_number("--listen", colon + 1, 0, 65535);
    if (server_listen_tcp(processor->server, host, &port) != 0)
        fail("--listen", strerror(errno));
    snprintf(ready, size, " tcp=%s:%u", host, (unsigned)port);
}

static void listen_unix(struct processor *processor, const char *path)
{
    if (server_listen_unix(processor->server, path) != 0)
        fail("--unix", strerror(errno));
}

int main(int argc, char **argv)
{
    static struct processor processor;
    struct options o = {.name = "default",
                        .fee = "0.05",
                        .token = "123",
                        .max_running = "800",
                        .max_queued = "500",
                        .health_window = "5000"};
    char tcp[300] = "";

    read_options(argc, argv, &o);
    configure(&processor, &o);
    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);

    processor.books = books_create();
    processor.server = server_create(&processor.timers, routes_handle, &processor);
    if (o.listen != NULL)
        listen_tcp(&processor, o.listen, tcp, sizeof(tcp));
    if (o.unix_path != NULL)
        listen_unix(&processor, o.unix_path);

    printf("processor %s ready%s%s%s\n", processor.name, tcp, o.unix_path != NULL ? " unix=" : "",
           o.unix_path != NULL ? o.unix_path : "");
    fflush(stdout);
    server_run(processor.server);

    /* Clients see their connections closed; what was still waiting is lost, as in a crash. */
    if (o.unix_path != NULL)
        unlink(o.unix_path);
    books_destroy(processor.books);
    return 0;
}
