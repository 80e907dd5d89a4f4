/* Settings: every one by flag and by variable, its limits, and the sentence that refuses it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/config.h"
#include "common/version.h"

#define API    CONFIG_PROGRAM_API
#define WORKER CONFIG_PROGRAM_WORKER
#define CTL    CONFIG_PROGRAM_CTL

static char program_word[] = "program";
static char *no_environment[] = {NULL};

static bool force_given;
static const struct config_flag flags[] = {
    {.name = "force-discard", .help = "discard payments", .given = &force_given},
    {.name = NULL},
};

/* The command line is the rest of the arguments, up to NULL; it must not change them. */
#define LINE(...)      ((char *[]){program_word, __VA_ARGS__ __VA_OPT__(, ) NULL})
#define VARIABLES(...) ((char *[]){__VA_ARGS__, NULL})

static struct config_invocation invoke(enum config_program program, char **line, char **environment)
{
    int argc = 0;

    while (line[argc] != NULL)
        argc++;
    return (struct config_invocation){.program = program,
                                      .argc = argc,
                                      .argv = line,
                                      .environment = environment,
                                      .flags = flags,
                                      .usage = ""};
}

static enum status load(struct config *config, enum config_program program, char **line,
                        char **environment, struct explain *why)
{
    struct config_invocation invocation = invoke(program, line, environment);

    return config_load(config, &invocation, why);
}

static struct config loaded(enum config_program program, char **line, char **environment)
{
    struct config config;
    struct explain why = {.text = ""};

    if (load(&config, program, line, environment, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    return config;
}

static void expect_refusal(enum config_program program, char **line, char **environment,
                           const char *sentence)
{
    struct config config;
    struct explain why = {.text = ""};

    assert_int_equal(load(&config, program, line, environment, &why), STATUS_INVALID);
    assert_string_equal(why.text, sentence);
}

/* ---- the table, as it was agreed upon ---- */

static void the_defaults_are_these(void **state)
{
    struct config c = loaded(API, LINE(), no_environment);

    (void)state;
    assert_int_equal(c.action, CONFIG_RUN);
    assert_int_equal(c.word_count, 0);
    assert_string_equal(c.region, "payring");
    assert_int_equal(c.log_level, LOG_LEVEL_INFO);
    assert_int_equal(c.attach_timeout_ms, 10000);
    assert_int_equal(c.api_slots, 2);
    assert_int_equal(c.lanes, 2);
    assert_int_equal(c.ring_slots, 16384);
    assert_int_equal(c.payment_slots, 65536);
    assert_int_equal(c.ledger_rows, 4194304);
    assert_int_equal(c.horizon_payments, 1048576);
    assert_int_equal(c.ledger_segment_rows, CONFIG_SEGMENT_ROWS_AUTO);
    assert_string_equal(c.state_dir, "");
    assert_int_equal(c.horizon_s, 60);
    assert_int_equal(c.api_slot, CONFIG_API_SLOT_AUTO);
    assert_string_equal(c.api_socket, "/run/payring/api.sock");
    assert_int_equal(c.api_socket_mode, 0660);
    assert_string_equal(c.api_tcp.host, "");
    assert_false(c.purge);
    assert_int_equal(c.body_limit, 4096);
    assert_int_equal(c.max_connections, 4096);
    assert_int_equal(c.request_timeout_ms, 60000);
    assert_int_equal(c.connection_age_s, 60);
    assert_int_equal(c.retry_after_s, 1);
    assert_int_equal(c.stop_timeout_ms, 5000);
    assert_int_equal(c.peer_count, 0);
    assert_int_equal(c.peer_timeout_ms, 200);
    assert_string_equal(c.peer_listen.path, "");
    assert_string_equal(c.peer_listen.tcp.host, "");
    assert_string_equal(c.peer_secret, "");
    assert_string_equal(c.peer_secret_file, "");
    assert_string_equal(c.default_url, "http://payment-processor-default:8080");
    assert_string_equal(c.fallback_url, "http://payment-processor-fallback:8080");
    assert_int_equal(c.policy, CONFIG_POLICY_DEADLINE);
    assert_int_equal(c.deadline_ms, 60000);
    assert_int_equal(c.worker_lanes, 1);
    assert_int_equal(c.takeover_ms, 500);
    assert_int_equal(c.post_timeout_ms, 35000);
    assert_int_equal(c.lookup_timeout_ms, 5000);
    assert_int_equal(c.health_interval_ms, 5050);
    assert_int_equal(c.in_flight_max, 256);
    assert_int_equal(c.lookup_young_s, 0);
    assert_int_equal(c.durability, CONFIG_DURABILITY_MEMORY);
    assert_string_equal(c.state_dir, "");
    assert_int_equal(c.durable_timeout_ms, 2000);
    assert_int_equal(c.journal_interval_ms, 20);
    assert_int_equal(c.journal_max_bytes, 256 * 1024 * 1024);
    assert_int_equal(c.quarantine_ms, 60000);
}

/* Names of the flags, whose they are, and the limits of the numbers. */
static const struct {
    const char *name;
    unsigned programs;
    size_t field;
    const char *lowest, *highest, *below, *above;
} numbers[] = {
#define NUMBER(name, programs, field, ...)                                                         \
    {                                                                                              \
        name, programs, offsetof(struct config, field), __VA_ARGS__                                \
    }
    NUMBER("attach-timeout-ms", API | WORKER, attach_timeout_ms, "0", "600000", "", "600001"),
    NUMBER("api-slots", CTL, api_slots, "1", "16", "0", "17"),
    NUMBER("lanes", CTL, lanes, "1", "16", "0", "17"),
    NUMBER("ring-slots", CTL, ring_slots, "64", "1048576", "32", "2097152"),
    NUMBER("payment-slots", CTL, payment_slots, "64", "4194304", "63", "4194305"),
    NUMBER("ledger-rows", CTL, ledger_rows, "4096", "2147483648", "4095", "2147487744"),
    NUMBER("horizon-payments", CTL, horizon_payments, "64", "268435456", "63", "268435457"),
    NUMBER("ledger-segment-rows", CTL, ledger_segment_rows, "4096", "1048576", "4095", "1052672"),
    NUMBER("api-slot", API, api_slot, "0", "15", "-1", "16"),
    NUMBER("body-limit", API, body_limit, "128", "1048576", "127", "1048577"),
    NUMBER("max-connections", API, max_connections, "1", "1048576", "0", "1048577"),
    NUMBER("request-timeout-ms", API, request_timeout_ms, "100", "3600000", "99", "3600001"),
    NUMBER("connection-age-s", API, connection_age_s, "0", "86400", "", "86401"),
    NUMBER("retry-after-s", API, retry_after_s, "1", "3600", "0", "3601"),
    NUMBER("stop-timeout-ms", API | WORKER, stop_timeout_ms, "0", "600000", "", "600001"),
    NUMBER("peer-timeout-ms", API, peer_timeout_ms, "10", "10000", "9", "10001"),
    NUMBER("deadline-ms", WORKER, deadline_ms, "1", "86400000", "0", "86400001"),
    NUMBER("horizon-s", WORKER, horizon_s, "0", "86400", "", "86401"),
    NUMBER("worker-lanes", WORKER, worker_lanes, "0", "16", "", "17"),
    NUMBER("takeover-ms", WORKER, takeover_ms, "10", "600000", "9", "600001"),
    NUMBER("post-timeout-ms", WORKER, post_timeout_ms, "30000", "3600000", "29999", "3600001"),
    NUMBER("lookup-timeout-ms", WORKER | CTL, lookup_timeout_ms, "100", "600000", "99", "600001"),
    NUMBER("health-interval-ms", WORKER, health_interval_ms, "5000", "3600000", "4999", "3600001"),
    NUMBER("in-flight-max", WORKER, in_flight_max, "1", "1024", "0", "1025"),
    NUMBER("lookup-young-s", WORKER, lookup_young_s, "0", "604800", "", "604801"),
    NUMBER("durable-timeout-ms", API, durable_timeout_ms, "10", "60000", "9", "60001"),
    NUMBER("journal-interval-ms", WORKER, journal_interval_ms, "1", "10000", "0", "10001"),
    NUMBER("journal-max-bytes", WORKER, journal_max_bytes, "8388608", "4294967295", "8388607",
           "4294967296"),
    NUMBER("quarantine-ms", WORKER, quarantine_ms, "0", "3600000", "", "3600001"),
#undef NUMBER
};
#define NUMBERS (sizeof numbers / sizeof numbers[0])

static const struct {
    const char *name;
    unsigned programs;
} others[] = {
    {"region", API | WORKER | CTL},
    {"log-level", API | WORKER | CTL},
    {"state-dir", API | WORKER | CTL},
    {"api-socket", API},
    {"api-socket-mode", API},
    {"api-tcp", API},
    {"purge", API},
    {"peers", API},
    {"peer-listen", API},
    {"peer-secret-file", API},
    {"default-url", WORKER | CTL},
    {"fallback-url", WORKER | CTL},
    {"policy", WORKER},
    {"durability", CTL},
};
#define OTHERS (sizeof others / sizeof others[0])

static const enum config_program programs[] = {API, WORKER, CTL};

static enum config_program any_of(unsigned mask)
{
    return mask & API ? API : mask & WORKER ? WORKER : CTL;
}

static void make_variable(char *variable, const char *name, const char *value)
{
    int length = sprintf(variable, "PAYRING_%s", name);

    for (int i = 0; i < length; i++)
        variable[i] = variable[i] == '-' ? '_' : (char)toupper((unsigned char)variable[i]);
    sprintf(variable + length, "=%s", value);
}

static bool number_is_taken(size_t i, const char *value)
{
    char flag[80], variable[128], both[128], value_word[80];
    struct config by_word, by_equals, by_variable;
    enum config_program program = any_of(numbers[i].programs);

    sprintf(flag, "--%s", numbers[i].name);
    sprintf(both, "--%s=%s", numbers[i].name, value);
    sprintf(value_word, "%s", value);
    make_variable(variable, numbers[i].name, value);
    enum status status = load(&by_word, program, LINE(flag, value_word), no_environment, NULL);
    assert_int_equal(load(&by_equals, program, LINE(both), no_environment, NULL), status);
    assert_int_equal(load(&by_variable, program, LINE(), VARIABLES(variable), NULL), status);
    if (status != STATUS_OK)
        return false;
    uint32_t expected = (uint32_t)strtoul(value, NULL, 10);
    assert_int_equal(*(uint32_t *)(void *)((char *)&by_word + numbers[i].field), expected);
    assert_int_equal(*(uint32_t *)(void *)((char *)&by_equals + numbers[i].field), expected);
    assert_int_equal(*(uint32_t *)(void *)((char *)&by_variable + numbers[i].field), expected);
    return true;
}

static void numbers_have_their_limits(void **state)
{
    static const char *const malformed[] = {"",
                                            " ",
                                            "x",
                                            "+64",
                                            "64 ",
                                            " 64",
                                            "0x40",
                                            "64.0",
                                            "1e2",
                                            "64k",
                                            "6 4",
                                            "-64",
                                            "४",
                                            "NaN",
                                            "64;",
                                            "4294967360", /* 2^32 + 64 */
                                            "18446744073709551680",
                                            "99999999999999999999999999999999999999999999"};

    (void)state;
    for (size_t i = 0; i < NUMBERS; i++) {
        if (!number_is_taken(i, numbers[i].lowest) || !number_is_taken(i, numbers[i].highest))
            fail_msg("%s does not take its limits", numbers[i].name);
        if (number_is_taken(i, numbers[i].below) || number_is_taken(i, numbers[i].above))
            fail_msg("%s takes what is beyond its limits", numbers[i].name);
        for (size_t j = 0; j < sizeof malformed / sizeof malformed[0]; j++)
            if (number_is_taken(i, malformed[j]))
                fail_msg("%s takes \"%s\"", numbers[i].name, malformed[j]);
    }
}

static bool takes(enum config_program program, const char *flag, const char *value)
{
    struct config config;
    char line[512];

    snprintf(line, sizeof line, "%s=%s", flag, value);
    return load(&config, program, LINE(line), no_environment, NULL) == STATUS_OK;
}

static void some_numbers_are_of_a_kind(void **state)
{
    (void)state;
    assert_true(takes(CTL, "--ring-slots", "128"));
    assert_false(takes(CTL, "--ring-slots", "100"));
    assert_false(takes(CTL, "--ring-slots", "16383"));
    assert_true(takes(CTL, "--ledger-rows", "12288"));
    assert_false(takes(CTL, "--ledger-rows", "12289"));
    assert_false(takes(CTL, "--ledger-rows", "auto"));
    assert_true(takes(CTL, "--ledger-segment-rows", "12288"));
    assert_false(takes(CTL, "--ledger-segment-rows", "12289"));
    assert_int_equal(loaded(CTL, LINE((char[]){"--ledger-segment-rows=auto"}), no_environment)
                         .ledger_segment_rows,
                     CONFIG_SEGMENT_ROWS_AUTO);
    assert_int_equal(loaded(API, LINE((char[]){"--api-slot=auto"}), no_environment).api_slot,
                     CONFIG_API_SLOT_AUTO);
    assert_false(takes(API, "--api-slot", "Auto"));
    assert_false(takes(API, "--body-limit", "auto"));
    assert_int_equal(
        loaded(API, LINE((char[]){"--api-socket-mode=600"}), no_environment).api_socket_mode, 0600);
    assert_true(takes(API, "--api-socket-mode", "0777"));
    assert_false(takes(API, "--api-socket-mode", "1000"));
    assert_false(takes(API, "--api-socket-mode", "0668"));
    assert_false(takes(API, "--api-socket-mode", "rw"));
}

static void switches_and_choices(void **state)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};

    (void)state;
    for (int i = 0; i < 4; i++) {
        char flag[40];
        sprintf(flag, "--log-level=%s", levels[i]);
        assert_int_equal(loaded(CTL, LINE(flag), no_environment).log_level, i);
    }
    assert_true(loaded(API, LINE((char[]){"--purge=on"}), no_environment).purge);
    assert_false(loaded(API, LINE((char[]){"--purge=off"}), no_environment).purge);
    assert_int_equal(loaded(WORKER, LINE((char[]){"--policy=default-only"}), no_environment).policy,
                     CONFIG_POLICY_DEFAULT_ONLY);
    assert_int_equal(loaded(WORKER, LINE((char[]){"--policy=deadline"}), no_environment).policy,
                     CONFIG_POLICY_DEADLINE);
    assert_false(takes(API, "--purge", ""));
    assert_false(takes(API, "--purge", "true"));
    assert_false(takes(API, "--purge", "ON"));
    assert_false(takes(API, "--purge", "o"));
    assert_false(takes(API, "--purge", "off, on"));
    assert_false(takes(WORKER, "--policy", "default"));
    assert_false(takes(WORKER, "--policy", "deadlines"));
    assert_false(takes(WORKER, "--policy", " deadline"));
    assert_false(takes(CTL, "--log-level", "warning"));
}

#define SIXTEEN "0123456789abcdef"

static void names_and_paths(void **state)
{
    (void)state;
    assert_true(takes(CTL, "--region", "a"));
    assert_true(takes(CTL, "--region", "Pay_ring.2-b"));
    assert_true(takes(CTL, "--region", SIXTEEN SIXTEEN SIXTEEN SIXTEEN));
    assert_false(takes(CTL, "--region", SIXTEEN SIXTEEN SIXTEEN SIXTEEN "x"));
    assert_false(takes(CTL, "--region", ""));
    assert_false(takes(CTL, "--region", "."));
    assert_false(takes(CTL, "--region", ".."));
    assert_false(takes(CTL, "--region", ".hidden"));
    assert_false(takes(CTL, "--region", "/payring"));
    assert_false(takes(CTL, "--region", "a/b"));
    assert_false(takes(CTL, "--region", "a b"));
    assert_false(takes(CTL, "--region", "p\xc3\xa9"));

    struct config c = loaded(API, LINE((char[]){"--api-socket=/tmp/x"}), no_environment);
    assert_string_equal(c.api_socket, "/tmp/x");
    c = loaded(API, LINE((char[]){"--api-socket=none"}, (char[]){"--api-tcp=h:1"}), no_environment);
    assert_string_equal(c.api_socket, "");
    const char *longest = "/" SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN "0123456789";
    assert_int_equal(strlen(longest), 107);
    assert_true(takes(API, "--api-socket", longest));
    assert_false(takes(API, "--api-socket",
                       "/" SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN "0123456789a"));
    assert_false(takes(API, "--api-socket", ""));
}

static void endpoints(void **state)
{
    static const struct {
        const char *text, *host, *port;
    } good[] = {
        {"127.0.0.1:9999", "127.0.0.1", "9999"}, {"localhost:1", "localhost", "1"},
        {"a-b.c_d:65535", "a-b.c_d", "65535"},   {"[::1]:80", "::1", "80"},
        {"[fe80::1]:080", "fe80::1", "080"},     {"none", "", ""},
    };
    static const char *const bad[] = {
        "",        ":80",         "host",   "host:",       "host:0", "host:65536", "host:80x",
        "host:-1", "host:000080", "::1:80", "[::1]",       "[::1",   "[]:80",      "ho st:80",
        "h/x:80",  "h:80/",       "h:8 0",  "http://h:80", "[h_]:80"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char flag[80];
        sprintf(flag, "--api-tcp=%s", good[i].text);
        struct config c = loaded(API, LINE(flag), no_environment);
        assert_string_equal(c.api_tcp.host, good[i].host);
        assert_string_equal(c.api_tcp.port, good[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (takes(API, "--api-tcp", bad[i]))
            fail_msg("\"%s\" is taken", bad[i]);
}

static void urls(void **state)
{
    static const struct {
        const char *text, *url;
    } good[] = {
        {"http://h", "http://h"},
        {"http://payment-processor-default:8080", "http://payment-processor-default:8080"},
        {"http://127.0.0.1:8001/", "http://127.0.0.1:8001"},
        {"http://[::1]:8001/base/path//", "http://[::1]:8001/base/path"},
        {"http://h/%7Ex", "http://h/%7Ex"},
    };
    static const char *const bad[] = {"",
                                      "h",
                                      "h:80",
                                      "https://h",
                                      "HTTP://h",
                                      "http://",
                                      "http:///x",
                                      "http://:80",
                                      "http://h:",
                                      "http://h:0",
                                      "http://h:x",
                                      "http://h:65536",
                                      "http://h?x",
                                      "http://h/?x",
                                      "http://h/#x",
                                      "http://u@h/",
                                      "http://u:p@h",
                                      "http://h/a b",
                                      "http://h/\n",
                                      "http://[::1",
                                      "http:/h",
                                      " http://h",
                                      "http://h\"",
                                      "none"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char flag[120];
        sprintf(flag, "--fallback-url=%s", good[i].text);
        assert_string_equal(loaded(WORKER, LINE(flag), no_environment).fallback_url, good[i].url);
        sprintf(flag, "--default-url=%s", good[i].text);
        assert_string_equal(loaded(WORKER, LINE(flag), no_environment).default_url, good[i].url);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (takes(WORKER, "--default-url", bad[i]))
            fail_msg("\"%s\" is taken", bad[i]);
    char url[300] = "http://h/";
    memset(url + 9, 'x', 246);
    assert_true(takes(WORKER, "--default-url", url));
    url[255] = 'x';
    assert_false(takes(WORKER, "--default-url", url));
}

/* ---- peers ---- */

#define SECRET "PAYRING_PEER_SECRET=0123456789abcdef"

static void peers_are_a_list(void **state)
{
    static const char *const bad[] = {
        "",
        ",",
        "http://h",
        "http://h:",
        "http://h:0",
        "http://h:1/",
        "http://h:1,",
        ",http://h:1",
        "http://h:1,,http://h:2",
        "http://h:1, http://h:2",
        "https://h:1",
        "h:1",
        "http://u@h:1",
        "http://h:1?x",
        "unix:",
        "unix:relative",
        "/path",
        "none,http://h:1",
        "unix:/" SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN};
    char list[] = "--peers=http://10.0.0.1:9998,unix:/run/b/peer.sock,http://[::1]:80", nine[200];

    (void)state;
    struct config c = loaded(API, LINE(list), VARIABLES((char[]){SECRET}));
    assert_int_equal(c.peer_count, 3);
    assert_string_equal(c.peers[0].name, "http://10.0.0.1:9998");
    assert_string_equal(c.peers[0].address.path, "");
    assert_string_equal(c.peers[0].address.tcp.host, "10.0.0.1");
    assert_string_equal(c.peers[0].address.tcp.port, "9998");
    assert_string_equal(c.peers[1].name, "unix:/run/b/peer.sock");
    assert_string_equal(c.peers[1].address.path, "/run/b/peer.sock");
    assert_string_equal(c.peers[2].name, "http://[::1]:80");
    assert_string_equal(c.peers[2].address.tcp.host, "::1");
    assert_int_equal(loaded(API, LINE((char[]){"--peers=none"}), no_environment).peer_count, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (takes(API, "--peers", bad[i]))
            fail_msg("\"%s\" is taken", bad[i]);

    strcpy(nine, "--peers=http://h:1");
    for (int i = 2; i <= 8; i++)
        sprintf(nine + strlen(nine), ",http://h:%d", i);
    assert_int_equal(loaded(API, LINE(nine), VARIABLES((char[]){SECRET})).peer_count, 8);
    strcat(nine, ",http://h:9");
    expect_refusal(API, LINE(nine), VARIABLES((char[]){SECRET}),
                   "--peers is \"http://h:1,http://h:2,http://h:3,http://h:4,http://h:5,http://h:6,"
                   "http://h:7,htt\" but must be none or at most 8 of http://HOST:PORT and "
                   "unix:/PATH with commas between them");
}

static void peers_have_a_listener_of_their_own(void **state)
{
    static const char *const bad[] = {"",      "h",      "h:",    "http://h:1",
                                      "unix:", "unix:x", "/path", "h:1,h:2"};

    (void)state;
    struct config c =
        loaded(API, LINE((char[]){"--peer-listen=[::]:9998"}), VARIABLES((char[]){SECRET}));
    assert_string_equal(c.peer_listen.tcp.host, "::");
    assert_string_equal(c.peer_listen.tcp.port, "9998");
    assert_string_equal(c.peer_listen.path, "");
    c = loaded(API, LINE((char[]){"--peer-listen=unix:/run/p"}), VARIABLES((char[]){SECRET}));
    assert_string_equal(c.peer_listen.path, "/run/p");
    assert_string_equal(c.peer_listen.tcp.host, "");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (takes(API, "--peer-listen", bad[i]))
            fail_msg("\"%s\" is taken", bad[i]);
}

static void peers_need_a_secret(void **state)
{
    const char *sentence = "PAYRING_PEERS and PAYRING_PEER_LISTEN need a secret but neither "
                           "PAYRING_PEER_SECRET nor PAYRING_PEER_SECRET_FILE is given";

    (void)state;
    expect_refusal(API, LINE((char[]){"--peers=http://h:1"}), no_environment, sentence);
    expect_refusal(API, LINE((char[]){"--peer-listen=h:1"}), no_environment, sentence);
    expect_refusal(API, LINE((char[]){"--peer-listen=unix:/x"}), no_environment, sentence);
    expect_refusal(API, LINE((char[]){"--peers=http://h:1"}),
                   VARIABLES((char[]){"PAYRING_PEER_SECRET=none"}), sentence);
    assert_string_equal(loaded(API, LINE(), VARIABLES((char[]){SECRET})).peer_secret,
                        "0123456789abcdef");
}

/* Where it is refused, it is not repeated. */
static void a_secret_is_never_shown(void **state)
{
    const char *sentence =
        "PAYRING_PEER_SECRET must be none or 16 to 256 printable characters without spaces";

    (void)state;
    expect_refusal(API, LINE(), VARIABLES((char[]){"PAYRING_PEER_SECRET=fifteen-letters"}),
                   sentence);
    expect_refusal(API, LINE(), VARIABLES((char[]){"PAYRING_PEER_SECRET="}), sentence);
    expect_refusal(API, LINE(),
                   VARIABLES((char[]){"PAYRING_PEER_SECRET=with spaces it is no header"}),
                   sentence);
    sentence =
        "--peer-secret is no flag, since every user can read command lines; it is a variable "
        "of the environment";
    expect_refusal(API, LINE((char[]){"--peer-secret=0123456789abcdef"}), no_environment, sentence);
    expect_refusal(API, LINE((char[]){"--peer-secret"}, (char[]){"0123456789abcdef"}),
                   no_environment, sentence);
}

static void a_secret_may_be_in_a_file(void **state)
{
    char path[] = "/tmp/payring-test-config-XXXXXX", flag[80], sentence[160];
    struct config c;
    struct explain why = {.text = ""};
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, SIXTEEN "\n", 17), 17);
    sprintf(flag, "--peer-secret-file=%s", path);
    assert_string_equal(loaded(API, LINE(flag), no_environment).peer_secret, SIXTEEN);
    assert_string_equal(loaded(API, LINE(flag, (char[]){"-n"}), no_environment).peer_secret,
                        SIXTEEN);
    expect_refusal(
        API, LINE(flag), VARIABLES((char[]){SECRET}),
        "PAYRING_PEER_SECRET and PAYRING_PEER_SECRET_FILE are both given but there is one "
        "secret");
    assert_int_equal(ftruncate(fd, 5), 0);
    sprintf(
        sentence,
        "PAYRING_PEER_SECRET_FILE: %s must hold 16 to 256 printable characters without spaces in "
        "one line",
        path);
    expect_refusal(API, LINE(flag), no_environment, sentence);
    close(fd);
    unlink(path);
    assert_int_equal(load(&c, API, LINE(flag), no_environment, &why), STATUS_SYSTEM);
    sprintf(sentence, "PAYRING_PEER_SECRET_FILE: %s cannot be read: No such file or directory",
            path);
    assert_string_equal(why.text, sentence);
}

/* ---- where a value comes from ---- */

static void the_flag_wins_over_the_variable(void **state)
{
    char variable[] = "PAYRING_LANES=3", bad_variable[] = "PAYRING_LANES=x";

    (void)state;
    assert_int_equal(loaded(CTL, LINE(), VARIABLES(variable)).lanes, 3);
    assert_int_equal(loaded(CTL, LINE((char[]){"--lanes=4"}), VARIABLES(variable)).lanes, 4);
    assert_int_equal(loaded(CTL, LINE((char[]){"--lanes=4"}), VARIABLES(bad_variable)).lanes, 4);
    assert_int_equal(
        loaded(CTL, LINE((char[]){"--lanes=4"}, (char[]){"--lanes"}, (char[]){"5"}), no_environment)
            .lanes,
        5);
}

static void similar_variables_are_others(void **state)
{
    struct config c = loaded(CTL, LINE(),
                             VARIABLES((char[]){"PAYRING_LANES_=3"}, (char[]){"payring_lanes=4"},
                                       (char[]){"LANES=5"}, (char[]){"XPAYRING_LANES=6"},
                                       (char[]){"PAYRING_LANES"}, (char[]){"PAYRING_LANE=7"}));

    (void)state;
    assert_int_equal(c.lanes, 2);
}

static void other_programs_settings_are_not_read(void **state)
{
    char bad[] = "PAYRING_LANES=nonsense";

    (void)state;
    assert_int_equal(loaded(API, LINE(), VARIABLES(bad)).lanes, 2);
    assert_int_equal(loaded(WORKER, LINE(), VARIABLES(bad)).lanes, 2);
    expect_refusal(CTL, LINE(), VARIABLES(bad),
                   "PAYRING_LANES is \"nonsense\" but must be a whole number from 1 to 16");
    expect_refusal(API, LINE((char[]){"--lanes=3"}), no_environment,
                   "payring-api has no flag --lanes; see --help");
}

static void a_refusal_keeps_secrets(void **state)
{
    (void)state;
    expect_refusal(WORKER, LINE(),
                   VARIABLES((char[]){"PAYRING_DEFAULT_URL=http://user:secret@host:8080"}),
                   "PAYRING_DEFAULT_URL must be a URL like http://HOST:PORT of at most 255 bytes, "
                   "without user and query");
    expect_refusal(WORKER, LINE((char[]){"--fallback-url=http://host?token=secret"}),
                   no_environment,
                   "--fallback-url must be a URL like http://HOST:PORT of at most 255 bytes, "
                   "without user and query");
    expect_refusal(API, LINE((char[]){"--api-tcp=user:secret@host:1"}), no_environment,
                   "--api-tcp must be none or HOST:PORT, with an IPv6 address in brackets");
    expect_refusal(API, LINE((char[]){"--misspelt-token=secret"}), no_environment,
                   "payring-api has no flag --misspelt-token; see --help");
}

static void a_refusal_names_setting_value_and_limits(void **state)
{
    (void)state;
    expect_refusal(
        WORKER, LINE((char[]){"--post-timeout-ms"}, (char[]){"5000"}), no_environment,
        "--post-timeout-ms is \"5000\" but must be a whole number from 30000 to 3600000");
    expect_refusal(API, LINE(), VARIABLES((char[]){"PAYRING_PURGE="}),
                   "PAYRING_PURGE is \"\" but must be one of off, on");
    expect_refusal(API, LINE((char[]){"--api-socket-mode=9"}), no_environment,
                   "--api-socket-mode is \"9\" but must be an octal number from 0000 to 0777");
    expect_refusal(CTL, LINE((char[]){"--region=/x"}), no_environment,
                   "--region is \"/x\" but must be 1 to 64 letters, digits, _, - and ., the first "
                   "not a .");
    expect_refusal(CTL, LINE((char[]){"--ring-slots=100"}), no_environment,
                   "--ring-slots is \"100\" but must be a power of two from 64 to 1048576");
    expect_refusal(CTL, LINE((char[]){"--lanes"}), no_environment,
                   "--lanes needs a value; it must be a whole number from 1 to 16");
    expect_refusal(API, LINE((char[]){"--api-socket=none"}), no_environment,
                   "PAYRING_API_SOCKET and PAYRING_API_TCP are both none but one of them must be "
                   "something to listen on");
}

/* ---- the command line ---- */

static void unknown_flags_are_refused(void **state)
{
    static const char *const unknown[] = {
        "--",     "-",         "-x",         "-h",
        "--lane", "--laness",  "-lanes=2",   "---lanes=2",
        "--=2",   "--Lanes=2", "--help=1",   "-nn",
        "--n",    "--force",   "--version=", "--force-discard=on"};

    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        char flag[40], sentence[120];
        sprintf(flag, "%s", unknown[i]);
        sprintf(sentence, "payringctl has no flag %.*s; see --help", (int)strcspn(flag, "="), flag);
        expect_refusal(CTL, LINE(flag), no_environment, sentence);
    }
}

static void the_callers_own_flags_are_reported(void **state)
{
    (void)state;
    force_given = false;
    loaded(CTL, LINE((char[]){"create"}), no_environment);
    assert_false(force_given);
    loaded(CTL, LINE((char[]){"create"}, (char[]){"--force-discard"}), no_environment);
    assert_true(force_given);
}

/* Their values are the caller's to read. */
static void the_callers_options_take_values(void **state)
{
    const char *since = NULL;
    const struct config_option options[] = {
        {.name = "since", .takes = "TIME", .help = "not before", .value = &since},
        {.name = NULL},
    };
    struct config config;
    struct explain why;
    char apart[] = "--since", value[] = "noon", joined[] = "--since=",
         *lines[][4] = {{program_word, apart, value, NULL},
                        {program_word, joined, NULL},
                        {program_word, apart}};
    struct config_invocation invocation = invoke(CTL, lines[0], no_environment);

    (void)state;
    invocation.options = options;
    assert_int_equal(config_load(&config, &invocation, &why), STATUS_OK);
    assert_string_equal(since, "noon");
    assert_int_equal(config.word_count, 0);
    invocation.argv = lines[1];
    invocation.argc = 2;
    assert_int_equal(config_load(&config, &invocation, &why), STATUS_OK);
    assert_string_equal(since, "");
    invocation.argv = lines[2];
    assert_int_equal(config_load(&config, &invocation, &why), STATUS_INVALID);
    assert_string_equal(why.text, "--since needs a value: TIME");
}

static void words_are_kept_in_order_for_the_keeper(void **state)
{
    char show[] = "show", lane[] = "lane", one[] = "1", *words[11] = {program_word};
    struct config c =
        loaded(CTL, LINE(show, (char[]){"--region"}, (char[]){"r"}, lane, one), no_environment);

    (void)state;
    assert_int_equal(c.word_count, 3);
    assert_ptr_equal(c.words[0], show);
    assert_ptr_equal(c.words[1], lane);
    assert_ptr_equal(c.words[2], one);
    assert_string_equal(c.region, "r");
    expect_refusal(API, LINE(show), no_environment,
                   "payring-api does not know what to do with show; see --help");
    expect_refusal(WORKER, LINE(show), no_environment,
                   "payring-worker does not know what to do with show; see --help");
    for (int i = 1; i <= CONFIG_WORDS_MAX; i++)
        words[i] = one;
    assert_int_equal(loaded(CTL, words, no_environment).word_count, CONFIG_WORDS_MAX);
    words[CONFIG_WORDS_MAX + 1] = lane;
    expect_refusal(CTL, words, no_environment,
                   "payringctl does not know what to do with lane; see --help");
}

/* ---- answers ---- */

static char answer_text[16384];

/* What a program prints when its settings are loaded; NULL when it is to run. */
static const char *answer(enum config_program program, char **line, char **environment)
{
    struct config_invocation invocation = invoke(program, line, environment);
    struct config config;
    FILE *out = tmpfile();

    assert_non_null(out);
    invocation.usage = "Verbs: create, show";
    assert_int_equal(config_load(&config, &invocation, NULL), STATUS_OK);
    bool answered = config_answer(&config, &invocation, out);
    rewind(out);
    size_t length = fread(answer_text, 1, sizeof answer_text - 1, out);
    answer_text[length] = '\0';
    fclose(out);
    assert_int_equal(answered, length > 0);
    return answered ? answer_text : NULL;
}

static void without_a_question_there_is_work(void **state)
{
    (void)state;
    assert_null(answer(API, LINE(), no_environment));
}

static void version_and_check(void **state)
{
    char bad[] = "PAYRING_LANES=x";

    (void)state;
    assert_string_equal(answer(API, LINE((char[]){"--version"}), no_environment),
                        "payring-api " PAYRING_VERSION "\n");
    assert_string_equal(answer(CTL, LINE((char[]){"--version"}), VARIABLES(bad)),
                        "payringctl " PAYRING_VERSION "\n");
    assert_string_equal(answer(WORKER, LINE((char[]){"-n"}), no_environment),
                        "payring-worker: the configuration is good\n");
    expect_refusal(CTL, LINE((char[]){"-n"}), VARIABLES(bad),
                   "PAYRING_LANES is \"x\" but must be a whole number from 1 to 16");
}

static void expect_help(const char *help, const char *name, bool expected)
{
    char line[120];

    make_variable(line, name, "");
    line[strlen(line) - 1] = '\0';
    char entry[200];
    snprintf(entry, sizeof entry, "\n  --%s  %s  [", name, line);
    if ((strstr(help, entry) != NULL) != expected)
        fail_msg("%s is %s in: %s", name, expected ? "not" : "", help);
}

static void help_tells_a_programs_settings_and_no_others(void **state)
{
    char bad[] = "PAYRING_REGION=/";

    (void)state;
    for (size_t p = 0; p < 3; p++) {
        const char *help = answer(programs[p], LINE((char[]){"--help"}), VARIABLES(bad));
        unsigned entries = 0, expected = 0;
        assert_non_null(strstr(help, config_program_name(programs[p])));
        assert_non_null(strstr(help, "\nVerbs: create, show\n"));
        assert_non_null(strstr(help, "\n  --force-discard\n      discard payments\n"));
        for (size_t i = 0; i < NUMBERS; i++) {
            expect_help(help, numbers[i].name, (numbers[i].programs & programs[p]) != 0);
            expected += (numbers[i].programs & programs[p]) != 0;
        }
        for (size_t i = 0; i < OTHERS; i++) {
            expect_help(help, others[i].name, (others[i].programs & programs[p]) != 0);
            expected += (others[i].programs & programs[p]) != 0;
        }
        if (programs[p] == API) {
            assert_non_null(strstr(help, "\n  PAYRING_PEER_SECRET  [none]\n"));
            assert_null(strstr(help, "--peer-secret "));
            expected++; /* a variable without a flag */
        }
        for (const char *c = help; (c = strstr(c, "  PAYRING_")) != NULL; c++)
            entries++;
        assert_int_equal(entries, expected); /* nothing that the lists above do not know */
    }
}

/* ---- variables that nobody knows ---- */

static void unknown_variables_are_warned_of(void **state)
{
    char text[4096];
    FILE *out = tmpfile();
    int saved = dup(STDERR_FILENO);

    (void)state;
    assert_non_null(out);
    assert_true(dup2(fileno(out), STDERR_FILENO) >= 0);
    config_warn_unknown(VARIABLES(
        (char[]){"PATH=/bin"}, (char[]){"PAYRING_LANES=3"}, (char[]){"PAYRING_DEFAULT_URL=x"},
        (char[]){"PAYRING_LANE=secret"}, (char[]){"PAYRING_=1"}, (char[]){"PAYRINGX=1"}));
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    rewind(out);
    size_t length = fread(text, 1, sizeof text - 1, out);
    text[length] = '\0';
    fclose(out);
    assert_non_null(strstr(text, "level=warn event=unknown_setting name=PAYRING_LANE\n"));
    assert_non_null(strstr(text, "level=warn event=unknown_setting name=PAYRING_\n"));
    assert_null(strstr(text, "PAYRING_LANES"));
    assert_null(strstr(text, "PAYRING_DEFAULT_URL"));
    assert_null(strstr(text, "PAYRINGX"));
    assert_null(strstr(text, "secret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_are_these),
        cmocka_unit_test(numbers_have_their_limits),
        cmocka_unit_test(some_numbers_are_of_a_kind),
        cmocka_unit_test(switches_and_choices),
        cmocka_unit_test(names_and_paths),
        cmocka_unit_test(endpoints),
        cmocka_unit_test(urls),
        cmocka_unit_test(peers_are_a_list),
        cmocka_unit_test(peers_have_a_listener_of_their_own),
        cmocka_unit_test(peers_need_a_secret),
        cmocka_unit_test(a_secret_is_never_shown),
        cmocka_unit_test(a_secret_may_be_in_a_file),
        cmocka_unit_test(the_flag_wins_over_the_variable),
        cmocka_unit_test(similar_variables_are_others),
        cmocka_unit_test(other_programs_settings_are_not_read),
        cmocka_unit_test(a_refusal_names_setting_value_and_limits),
        cmocka_unit_test(a_refusal_keeps_secrets),
        cmocka_unit_test(unknown_flags_are_refused),
        cmocka_unit_test(the_callers_own_flags_are_reported),
        cmocka_unit_test(the_callers_options_take_values),
        cmocka_unit_test(words_are_kept_in_order_for_the_keeper),
        cmocka_unit_test(without_a_question_there_is_work),
        cmocka_unit_test(version_and_check),
        cmocka_unit_test(help_tells_a_programs_settings_and_no_others),
        cmocka_unit_test(unknown_variables_are_warned_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
