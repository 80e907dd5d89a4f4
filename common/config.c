#include "common/config.h"

#include <assert.h>
#include <ctype.h>
#include <stddef.h>
#include <string.h>

#include "common/check.h"
#include "common/version.h"

enum kind {
    KIND_NUMBER,
    KIND_POWER_OF_TWO,
    KIND_MULTIPLE_OF_4096,
    KIND_MULTIPLE_OF_4096_OR_AUTO,
    KIND_NUMBER_OR_AUTO,
    KIND_OCTAL,
    KIND_SWITCH,
    KIND_CHOICE,
    KIND_NAME,
    KIND_PATH_OR_NONE,
    KIND_ENDPOINT_OR_NONE,
    KIND_ADDRESS_OR_NONE,
    KIND_PEERS,
    KIND_SECRET,
    KIND_URL,
};

struct setting {
    const char *name; /* of the flag; the variable's is made from it */
    unsigned programs;
    enum kind kind;
    size_t field; /* in struct config */
    const char *preset;
    uint32_t lowest, highest; /* of a number; of the length of a text */
    const char *choices;      /* separated by ", "; each stands for its place among them */
    const char *help;
};

#define API    CONFIG_PROGRAM_API
#define WORKER CONFIG_PROGRAM_WORKER
#define CTL    CONFIG_PROGRAM_CTL

#define NUMERIC(name, programs, kind, field, preset, lowest, highest, help)                        \
    {                                                                                              \
        name, programs, kind, offsetof(struct config, field), preset, lowest, highest, NULL, help  \
    }
#define NUMBER(name, programs, field, preset, lowest, highest, help)                               \
    NUMERIC(name, programs, KIND_NUMBER, field, preset, lowest, highest, help)
#define CHOICE(name, programs, field, preset, choices, help)                                       \
    {                                                                                              \
        name, programs, KIND_CHOICE, offsetof(struct config, field), preset, 0, 0, choices, help   \
    }
#define TEXT(name, programs, kind, field, preset, help)                                            \
    {                                                                                              \
        name, programs, kind, offsetof(struct config, field), preset, 1,                           \
            sizeof(((struct config *)0)->field) - 1, NULL, help                                    \
    }

/* A choice is stored as its place, in an enum. */
static_assert(sizeof(enum log_level) == sizeof(uint32_t), "log level");
static_assert(sizeof(enum config_policy) == sizeof(uint32_t), "policy");
static_assert(LOG_LEVEL_ERROR == 0 && LOG_LEVEL_DEBUG == 3, "order of the choices");
#define AUTO UINT32_MAX
static_assert(CONFIG_API_SLOT_AUTO == AUTO && CONFIG_SEGMENT_ROWS_AUTO == AUTO, "auto");
static_assert(sizeof(enum config_durability) == sizeof(uint32_t), "durability");
static_assert(CONFIG_DURABILITY_MEMORY == 0 && CONFIG_DURABILITY_SYNC == 2, "order");
static_assert(CONFIG_POLICY_DEFAULT_ONLY == 0 && CONFIG_POLICY_DEADLINE == 1, "order");

/* clang-format off: a table */
static const struct setting settings[] = {
    TEXT("region", API | WORKER | CTL, KIND_NAME, region, "payring",
         "name of the POSIX shared memory object, without a slash"),
    CHOICE("log-level", API | WORKER | CTL, log_level, "info", "error, warn, info, debug",
           "least important events that are logged"),
    NUMBER("attach-timeout-ms", API | WORKER, attach_timeout_ms, "10000", 0, 600000,
           "ms to wait for the region; 0 looks once"),

    NUMBER("api-slots", CTL, api_slots, "2", 1, 16, "create: API processes at most"),
    NUMBER("lanes", CTL, lanes, "2", 1, 16, "create: lanes, each owned by one worker at a time"),
    NUMERIC("ring-slots", CTL, KIND_POWER_OF_TWO, ring_slots, "16384", 64, 1048576,
            "create: accepted payments that wait between one API and one lane, 64 bytes each"),
    NUMBER("payment-slots", CTL, payment_slots, "65536", 64, 4194304,
           "create: records of a lane's payment table, 64 bytes each"),
    NUMERIC("ledger-rows", CTL, KIND_MULTIPLE_OF_4096, ledger_rows, "4194304", 4096, 2147483648,
            "create: rows of a lane's ledger, 8 bytes each"),
    NUMBER("horizon-payments", CTL, horizon_payments, "1048576", 64, 268435456,
           "create: ids of recycled payments that a lane recognises at least"),
    NUMERIC("ledger-segment-rows", CTL, KIND_MULTIPLE_OF_4096_OR_AUTO, ledger_segment_rows, "auto",
            4096, 1048576,
            "create: rows that move to a file at once; auto: a quarter of the ledger at most"),
    TEXT("state-dir", API | WORKER | CTL, KIND_PATH_OR_NONE, state_dir, "none",
         "directory on disk for full segments of the ledger and the journal, the same for all"),
    CHOICE("durability", CTL, durability, "memory", "memory, async, sync",
           "create: what a 2xx means: in memory, soon on disk, or on disk"),

    NUMERIC("api-slot", API, KIND_NUMBER_OR_AUTO, api_slot, "auto", 0, 15,
            "this API's place in the region; auto: the first free one"),
    TEXT("api-socket", API, KIND_PATH_OR_NONE, api_socket, "/run/payring/api.sock",
         "unix socket to listen on"),
    NUMERIC("api-socket-mode", API, KIND_OCTAL, api_socket_mode, "0660", 0, 0777,
            "permissions of the unix socket"),
    {"api-tcp", API, KIND_ENDPOINT_OR_NONE, offsetof(struct config, api_tcp), "none", 0, 0, NULL,
     "TCP address to listen on"},
    {"purge", API, KIND_SWITCH, offsetof(struct config, purge), "off", 0, 0, "off, on",
     "POST /purge-payments clears everything"},
    NUMBER("body-limit", API, body_limit, "4096", 128, 1048576,
           "bytes of a request body; a longer one is answered 413"),
    NUMBER("max-connections", API, max_connections, "4096", 1, 1048576,
           "client connections open at once"),
    NUMBER("request-timeout-ms", API, request_timeout_ms, "60000", 100, 3600000,
           "ms for the headers and body of a request, and for a connection to be idle"),
    NUMBER("connection-age-s", API, connection_age_s, "60", 0, 86400,
           "s after which an answer on a client's connection says close; 0: never"),
    NUMBER("retry-after-s", API, retry_after_s, "1", 1, 3600, "Retry-After of an answer 503"),
    NUMBER("durable-timeout-ms", API, durable_timeout_ms, "2000", 10, 60000,
           "ms that an answer waits for the disk in durability sync; then it is a 503"),
    NUMBER("stop-timeout-ms", API | WORKER, stop_timeout_ms, "5000", 0, 600000,
           "ms to finish what is in flight when told to stop"),

    {"peers", API, KIND_PEERS, offsetof(struct config, peers), "none", 0, 0, NULL,
     "gateways of other regions, whose sums GET /payments-summary adds to its own"},
    NUMBER("peer-timeout-ms", API, peer_timeout_ms, "200", 10, 10000,
           "ms for all peers to answer; then the summary is a 503 that names who has not"),
    {"peer-listen", API, KIND_ADDRESS_OR_NONE, offsetof(struct config, peer_listen), "none", 0, 0,
     NULL, "address of its own where peers are answered, and nobody else"},
    {"peer-secret", API, KIND_SECRET, offsetof(struct config, peer_secret), "none", 0, 0, NULL,
     "what all peers know and nobody else"},
    TEXT("peer-secret-file", API, KIND_PATH_OR_NONE, peer_secret_file, "none",
         "file that holds the peers' secret in one line"),

    TEXT("default-url", WORKER | CTL, KIND_URL, default_url,
         "http://payment-processor-default:8080", "the default payment processor, the cheaper one"),
    TEXT("fallback-url", WORKER | CTL, KIND_URL, fallback_url,
         "http://payment-processor-fallback:8080", "the fallback payment processor"),
    CHOICE("policy", WORKER, policy, "deadline", "default-only, deadline",
           "how a processor is chosen for a payment"),
    NUMBER("deadline-ms", WORKER, deadline_ms, "60000", 1, 86400000,
           "ms from acceptance within which policy deadline wants a payment settled"),
    NUMBER("horizon-s", WORKER, horizon_s, "60", 0, 86400,
           "never forget an id younger than this; intake stops with 503 instead"),
    NUMBER("worker-lanes", WORKER, worker_lanes, "1", 0, 16,
           "lanes taken at once at start; others only when unowned for takeover-ms"),
    NUMBER("takeover-ms", WORKER, takeover_ms, "500", 10, 600000,
           "ms that a lane is unowned before this worker takes it over"),
    NUMBER("post-timeout-ms", WORKER, post_timeout_ms, "35000", 30000, 3600000,
           "ms before the outcome of a POST to a processor counts as unknown"),
    NUMBER("lookup-timeout-ms", WORKER | CTL, lookup_timeout_ms, "5000", 100, 600000,
           "ms for GET /payments/{id} at a processor"),
    NUMBER("health-interval-ms", WORKER, health_interval_ms, "5050", 5000, 3600000,
           "ms between two health calls to one processor"),
    NUMBER("in-flight-max", WORKER, in_flight_max, "256", 1, 1024,
           "requests in flight per lane and processor at most; the limit adapts below it"),
    NUMBER("lookup-young-s", WORKER, lookup_young_s, "0", 0, 604800,
           "ask both processors for every id while the region is younger than this"),
    NUMBER("journal-interval-ms", WORKER, journal_interval_ms, "20", 1, 10000,
           "ms between two commits of the journal in durability async"),
    NUMBER("journal-max-bytes", WORKER, journal_max_bytes, "268435456", 8388608, 4294967295,
           "bytes of one lane's journal; ids of ended payments are forgotten for it"),
    NUMBER("quarantine-ms", WORKER, quarantine_ms, "60000", 0, 3600000,
           "ms that payments of a journal wait before the books are asked for them"),
};
/* clang-format on */

#define SETTING_COUNT (sizeof settings / sizeof settings[0])

const char *config_program_name(enum config_program program)
{
    return program == API ? "payring-api" : program == WORKER ? "payring-worker" : "payringctl";
}

/* ------------------------------------------------------------ reading a value */

/* Digits only: no sign, no space, no other base; at most highest. */
static bool read_digits(const char *text, size_t length, unsigned base, uint32_t highest,
                        uint32_t *number)
{
    uint64_t value = 0;

    for (size_t i = 0; i < length; i++) {
        unsigned digit = (unsigned)(unsigned char)text[i] - '0';
        if (digit >= base)
            return false;
        value = value * base + digit;
        if (value > highest)
            return false;
    }
    *number = (uint32_t)value;
    return length > 0;
}

static bool read_number(const struct setting *setting, const char *text, uint32_t *number)
{
    if ((setting->kind == KIND_NUMBER_OR_AUTO || setting->kind == KIND_MULTIPLE_OF_4096_OR_AUTO) &&
        strcmp(text, "auto") == 0) {
        *number = AUTO;
        return true;
    }
    unsigned base = setting->kind == KIND_OCTAL ? 8 : 10;
    if (!read_digits(text, strlen(text), base, setting->highest, number) ||
        *number < setting->lowest)
        return false;
    if (setting->kind == KIND_POWER_OF_TWO)
        return (*number & (*number - 1)) == 0;
    bool whole_pages =
        setting->kind == KIND_MULTIPLE_OF_4096 || setting->kind == KIND_MULTIPLE_OF_4096_OR_AUTO;
    return !whole_pages || *number % 4096 == 0;
}

static bool read_choice(const char *choices, const char *text, uint32_t *place)
{
    size_t length = strlen(text);

    *place = 0;
    for (const char *choice = choices; *choice != '\0'; ++*place) {
        size_t choice_length = strcspn(choice, ",");
        if (choice_length == length && memcmp(choice, text, length) == 0)
            return true;
        choice += choice_length;
        choice += strspn(choice, ", ");
    }
    return false;
}

/* A name in /dev/shm; a dot in front could make it "." or "..". */
static bool is_name(const char *text)
{
    if (*text == '.')
        return false;
    for (; *text != '\0'; text++)
        if (!isalnum((unsigned char)*text) && strchr("_.-", *text) == NULL)
            return false;
    return true;
}

/* Take HOST, HOST:PORT, [IPV6] or [IPV6]:PORT off the front; the port is "" when there is none.
 * Returns what follows, NULL when it is none of these. */
static const char *read_endpoint(const char *text, struct config_endpoint *endpoint)
{
    bool bracket = *text == '[';
    const char *host = text + bracket;
    size_t length = 0, port_length;
    uint32_t port;

    while (isalnum((unsigned char)host[length]) || host[length] == '.' || host[length] == '-' ||
           host[length] == (bracket ? ':' : '_'))
        length++;
    if (length == 0 || length >= sizeof endpoint->host || (bracket && host[length] != ']'))
        return NULL;
    memcpy(endpoint->host, host, length);
    endpoint->host[length] = '\0';
    endpoint->port[0] = '\0';

    text = host + length + bracket;
    if (*text != ':')
        return text;
    port_length = strspn(++text, "0123456789");
    if (port_length >= sizeof endpoint->port || !read_digits(text, port_length, 10, 65535, &port) ||
        port == 0)
        return NULL;
    memcpy(endpoint->port, text, port_length);
    endpoint->port[port_length] = '\0';
    return text + port_length;
}

/* Copies the URL without the slashes at its end. Userinfo, query and fragment have no place in
 * what paths are appended to. */
static bool read_url(const char *text, char *url, size_t longest)
{
    struct config_endpoint endpoint;
    size_t length = strlen(text);

    if (length > longest || strncmp(text, "http://", 7) != 0)
        return false;
    const char *path = read_endpoint(text + 7, &endpoint);
    if (path == NULL || (*path != '\0' && *path != '/'))
        return false;
    for (const char *c = path; *c != '\0'; c++)
        if (!isgraph((unsigned char)*c) || strchr("?#\"\\", *c) != NULL)
            return false;
    while (text[length - 1] == '/')
        length--;
    memcpy(url, text, length);
    url[length] = '\0';
    return true;
}

static bool read_text(const struct setting *setting, const char *text, char *field)
{
    size_t length = strlen(text);

    if (length < setting->lowest || length > setting->highest)
        return false;
    if (setting->kind == KIND_NAME && !is_name(text))
        return false;
    if (setting->kind == KIND_URL)
        return read_url(text, field, setting->highest);
    if (setting->kind == KIND_PATH_OR_NONE && strcmp(text, "none") == 0)
        text = "";
    strcpy(field, text);
    return true;
}

static bool read_endpoint_or_none(const char *text, struct config_endpoint *endpoint)
{
    *endpoint = (struct config_endpoint){.host = ""};
    if (strcmp(text, "none") == 0)
        return true;
    const char *rest = read_endpoint(text, endpoint);
    return rest != NULL && *rest == '\0' && endpoint->port[0] != '\0';
}

/* What follows "unix:". */
static bool read_socket_path(const char *text, size_t length, struct config_address *address)
{
    if (length == 0 || length >= sizeof address->path || text[0] != '/')
        return false;
    memcpy(address->path, text, length);
    address->path[length] = '\0';
    return true;
}

static bool read_address(const char *text, struct config_address *address)
{
    *address = (struct config_address){.path = ""};
    if (strncmp(text, "unix:", 5) == 0)
        return read_socket_path(text + 5, strlen(text + 5), address);
    return read_endpoint_or_none(text, &address->tcp);
}

/* http://HOST:PORT or unix:/PATH, and nothing after it. */
static bool read_peer(const char *text, size_t length, struct config_peer *peer)
{
    *peer = (struct config_peer){.name = ""};
    if (length >= sizeof peer->name)
        return false;
    memcpy(peer->name, text, length);
    peer->name[length] = '\0';
    if (strncmp(peer->name, "unix:", 5) == 0)
        return read_socket_path(peer->name + 5, length - 5, &peer->address);
    if (strncmp(peer->name, "http://", 7) != 0)
        return false;
    const char *rest = read_endpoint(peer->name + 7, &peer->address.tcp);
    return rest != NULL && *rest == '\0' && peer->address.tcp.port[0] != '\0';
}

static bool read_peers(const char *text, struct config *config)
{
    config->peer_count = 0;
    if (strcmp(text, "none") == 0)
        return true;
    for (bool more = true; more; text++) {
        size_t length = strcspn(text, ",");
        if (config->peer_count == CONFIG_PEERS_MAX ||
            !read_peer(text, length, &config->peers[config->peer_count]))
            return false;
        config->peer_count++;
        text += length;
        more = *text == ',';
    }
    return true;
}

static bool read_secret(const char *text, char *secret)
{
    memset(secret, 0, SECRET_SIZE);
    return strcmp(text, "none") == 0 || secret_set(secret, text, strlen(text));
}

static bool read_setting(const struct setting *setting, const char *text, struct config *config)
{
    void *field = (char *)config + setting->field;
    uint32_t place;

    switch (setting->kind) {
    case KIND_NAME:
    case KIND_PATH_OR_NONE:
    case KIND_URL:
        return read_text(setting, text, field);
    case KIND_ENDPOINT_OR_NONE:
        return read_endpoint_or_none(text, field);
    case KIND_ADDRESS_OR_NONE:
        return read_address(text, field);
    case KIND_PEERS:
        return read_peers(text, config);
    case KIND_SECRET:
        return read_secret(text, field);
    case KIND_CHOICE:
        return read_choice(setting->choices, text, field);
    case KIND_SWITCH:
        if (!read_choice(setting->choices, text, &place))
            return false;
        *(bool *)field = place;
        return true;
    default:
        return read_number(setting, text, field);
    }
}

/* ---------------------------------------------------------------- what is allowed */

struct allowed {
    char text[160];
};

/* Goes on from "must be". */
static struct allowed describe(const struct setting *setting)
{
    struct allowed allowed;
    char *text = allowed.text;
    size_t size = sizeof allowed.text;
    uint32_t lowest = setting->lowest, highest = setting->highest;

    switch (setting->kind) {
    case KIND_NUMBER:
        snprintf(text, size, "a whole number from %u to %u", lowest, highest);
        break;
    case KIND_POWER_OF_TWO:
        snprintf(text, size, "a power of two from %u to %u", lowest, highest);
        break;
    case KIND_MULTIPLE_OF_4096:
        snprintf(text, size, "a multiple of 4096 from %u to %u", lowest, highest);
        break;
    case KIND_MULTIPLE_OF_4096_OR_AUTO:
        snprintf(text, size, "auto or a multiple of 4096 from %u to %u", lowest, highest);
        break;
    case KIND_NUMBER_OR_AUTO:
        snprintf(text, size, "auto or a whole number from %u to %u", lowest, highest);
        break;
    case KIND_OCTAL:
        snprintf(text, size, "an octal number from %04o to %04o", lowest, highest);
        break;
    case KIND_SWITCH:
    case KIND_CHOICE:
        snprintf(text, size, "one of %s", setting->choices);
        break;
    case KIND_NAME:
        snprintf(text, size, "%u to %u letters, digits, _, - and ., the first not a .", lowest,
                 highest);
        break;
    case KIND_PATH_OR_NONE:
        snprintf(text, size, "none or a path of at most %u bytes", highest);
        break;
    case KIND_ENDPOINT_OR_NONE:
        snprintf(text, size, "none or HOST:PORT, with an IPv6 address in brackets");
        break;
    case KIND_ADDRESS_OR_NONE:
        snprintf(text, size, "none, HOST:PORT with an IPv6 address in brackets, or unix:/PATH");
        break;
    case KIND_PEERS:
        snprintf(text, size,
                 "none or at most %u of http://HOST:PORT and unix:/PATH with commas between them",
                 CONFIG_PEERS_MAX);
        break;
    case KIND_SECRET:
        snprintf(text, size, "none or " SECRET_RULE);
        break;
    case KIND_URL:
        snprintf(text, size,
                 "a URL like http://HOST:PORT of at most %u bytes, without user and query",
                 highest);
        break;
    }
    return allowed;
}

/* ------------------------------------------------------------------------ where from */

/* What was given for a setting, and under which name. */
struct given {
    const char *value; /* NULL: not given */
    char name[48];
};

static void make_variable_name(const struct setting *setting, char name[static 48])
{
    size_t length = (size_t)snprintf(name, 48, "PAYRING_%s", setting->name);

    for (size_t i = 0; i < length; i++)
        name[i] = name[i] == '-' ? '_' : (char)toupper((unsigned char)name[i]);
}

static const struct setting *find_setting(const char *name, size_t length, unsigned programs)
{
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if ((settings[i].programs & programs) != 0 && strlen(settings[i].name) == length &&
            memcmp(settings[i].name, name, length) == 0)
            return &settings[i];
    return NULL;
}

static const struct config_flag *find_flag(const struct config_flag *flags, const char *name)
{
    for (; flags != NULL && flags->name != NULL; flags++)
        if (strcmp(flags->name, name) == 0)
            return flags;
    return NULL;
}

static const struct config_option *find_option(const struct config_option *options,
                                               const char *name, size_t length)
{
    for (; options != NULL && options->name != NULL; options++)
        if (strlen(options->name) == length && memcmp(options->name, name, length) == 0)
            return options;
    return NULL;
}

static void look_up_variable(const struct setting *setting, char **environment, struct given *given)
{
    make_variable_name(setting, given->name);
    size_t length = strlen(given->name);
    for (; *environment != NULL && given->value == NULL; environment++)
        if (strncmp(*environment, given->name, length) == 0 && (*environment)[length] == '=')
            given->value = *environment + length + 1;
}

/* Without its value: it may be a secret whose flag was misspelt. */
static enum status explain_unknown_flag(const struct config_invocation *invocation,
                                        const char *argument, struct explain *why)
{
    size_t length = strcspn(argument, "=");

    return explain(why, STATUS_INVALID, "%s has no flag %.*s; see --help",
                   config_program_name(invocation->program), (int)(length < 80 ? length : 80),
                   argument);
}

/* What begins with "-"; *place moves when it takes the next argument as its value. */
static enum status read_flag(const struct config_invocation *invocation, int *place,
                             struct given *given, struct explain *why)
{
    const char *argument = invocation->argv[*place];
    const char *name = strncmp(argument, "--", 2) == 0 ? argument + 2 : "";
    size_t length = strcspn(name, "=");
    const struct setting *setting = find_setting(name, length, invocation->program);
    const struct config_flag *flag = find_flag(invocation->flags, name);
    const struct config_option *option = find_option(invocation->options, name, length);

    if (flag != NULL) {
        *flag->given = true;
        return STATUS_OK;
    }
    if (option != NULL) {
        *option->value = name[length] == '=' ? name + length + 1 : invocation->argv[++*place];
        return *option->value != NULL ? STATUS_OK
                                      : explain(why, STATUS_INVALID, "--%s needs a value: %s",
                                                option->name, option->takes);
    }
    if (setting != NULL && setting->kind == KIND_SECRET)
        return explain(why, STATUS_INVALID,
                       "--%s is no flag, since every user can read command lines; it is a variable "
                       "of the environment",
                       setting->name);
    if (setting == NULL)
        return explain_unknown_flag(invocation, argument, why);
    given += setting - settings;
    snprintf(given->name, sizeof given->name, "--%s", setting->name);
    given->value = name[length] == '=' ? name + length + 1 : invocation->argv[++*place];
    if (given->value == NULL)
        return explain(why, STATUS_INVALID, "%s needs a value; it must be %s", given->name,
                       describe(setting).text);
    return STATUS_OK;
}

static enum status add_word(struct config *config, const struct config_invocation *invocation,
                            const char *word, struct explain *why)
{
    if (invocation->program != CTL || config->word_count == CONFIG_WORDS_MAX)
        return explain(why, STATUS_INVALID, "%s does not know what to do with %.80s; see --help",
                       config_program_name(invocation->program), word);
    config->words[config->word_count++] = word;
    return STATUS_OK;
}

static enum status read_command_line(struct config *config,
                                     const struct config_invocation *invocation,
                                     struct given *given, struct explain *why)
{
    enum status status = STATUS_OK;

    for (int place = 1; place < invocation->argc && status == STATUS_OK; place++) {
        const char *argument = invocation->argv[place];
        if (strcmp(argument, "--help") == 0) {
            config->action = CONFIG_SHOW_HELP;
            return STATUS_OK;
        }
        if (strcmp(argument, "--version") == 0) {
            config->action = CONFIG_SHOW_VERSION;
            return STATUS_OK;
        }
        if (strcmp(argument, "-n") == 0)
            config->action = CONFIG_CHECK_ONLY;
        else if (argument[0] == '-')
            status = read_flag(invocation, &place, given, why);
        else
            status = add_word(config, invocation, argument, why);
    }
    return status;
}

static enum status load_secret(struct config *config, struct explain *why)
{
    struct explain reason = {{0}};

    if (config->peer_secret_file[0] == '\0')
        return STATUS_OK;
    if (config->peer_secret[0] != '\0')
        return explain(why, STATUS_INVALID,
                       "PAYRING_PEER_SECRET and PAYRING_PEER_SECRET_FILE are both given but there "
                       "is one secret");
    enum status status = secret_read_file(config->peer_secret, config->peer_secret_file, &reason);
    if (status != STATUS_OK)
        explain_in(why, "PAYRING_PEER_SECRET_FILE: %s", reason.text);
    return status;
}

static enum status check_peers(struct config *config, struct explain *why)
{
    const struct config_address *listen = &config->peer_listen;
    bool has_peers =
        config->peer_count > 0 || listen->path[0] != '\0' || listen->tcp.host[0] != '\0';
    enum status status = load_secret(config, why);

    if (status == STATUS_OK && has_peers && config->peer_secret[0] == '\0')
        return explain(why, STATUS_INVALID,
                       "PAYRING_PEERS and PAYRING_PEER_LISTEN need a secret but neither "
                       "PAYRING_PEER_SECRET nor PAYRING_PEER_SECRET_FILE is given");
    return status;
}

/* What no setting can be refused for alone. */
static enum status check_together(struct config *config, enum config_program program,
                                  struct explain *why)
{
    if (program == API && config->api_socket[0] == '\0' && config->api_tcp.host[0] == '\0')
        return explain(why, STATUS_INVALID,
                       "PAYRING_API_SOCKET and PAYRING_API_TCP are both none but one of them "
                       "must be something to listen on");
    return program == API ? check_peers(config, why) : STATUS_OK;
}

static void read_presets(struct config *config)
{
    *config = (struct config){.action = CONFIG_RUN};
    for (size_t i = 0; i < SETTING_COUNT; i++)
        CHECK(read_setting(&settings[i], settings[i].preset, config));
}

/* The sentence goes to the log. People put passwords and tokens into URLs, which we do not take. */
static bool may_hold_secret(const struct setting *setting, const char *value)
{
    switch (setting->kind) {
    case KIND_SECRET:
        return true;
    case KIND_URL:
    case KIND_PEERS:
    case KIND_ADDRESS_OR_NONE:
    case KIND_ENDPOINT_OR_NONE:
        return strpbrk(value, "@?") != NULL;
    default:
        return false;
    }
}

static enum status refuse(const struct setting *setting, const struct given *given,
                          struct explain *why)
{
    if (may_hold_secret(setting, given->value))
        return explain(why, STATUS_INVALID, "%s must be %s", given->name, describe(setting).text);
    return explain(why, STATUS_INVALID, "%s is \"%.80s\" but must be %s", given->name, given->value,
                   describe(setting).text);
}

enum status config_load(struct config *config, const struct config_invocation *invocation,
                        struct explain *why)
{
    struct given given[SETTING_COUNT] = {{.value = NULL}};

    read_presets(config);
    enum status status = read_command_line(config, invocation, given, why);
    if (status != STATUS_OK || config->action == CONFIG_SHOW_HELP ||
        config->action == CONFIG_SHOW_VERSION)
        return status;

    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if ((settings[i].programs & invocation->program) == 0)
            continue;
        if (given[i].value == NULL)
            look_up_variable(&settings[i], invocation->environment, &given[i]);
        if (given[i].value != NULL && !read_setting(&settings[i], given[i].value, config))
            return refuse(&settings[i], &given[i], why);
    }
    return check_together(config, invocation->program, why);
}

/* ------------------------------------------------------------------------ answers */

static void print_help(const struct config_invocation *invocation, FILE *out)
{
    fprintf(out,
            "Usage: %s [FLAG]...%s\n%s\n"
            "  --help     print this and exit\n"
            "  --version  print the version and exit\n"
            "  -n         check the configuration and exit\n",
            config_program_name(invocation->program), invocation->program == CTL ? " WORD..." : "",
            invocation->usage);
    for (const struct config_flag *flag = invocation->flags; flag != NULL && flag->name; flag++)
        fprintf(out, "  --%s\n      %s\n", flag->name, flag->help);
    for (const struct config_option *option = invocation->options;
         option != NULL && option->name != NULL; option++)
        fprintf(out, "  --%s %s\n      %s\n", option->name, option->takes, option->help);

    fputs("\nSettings, each a flag with a value or a variable of the environment; the flag wins:\n",
          out);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        char variable[48];
        if ((settings[i].programs & invocation->program) == 0)
            continue;
        make_variable_name(&settings[i], variable);
        if (settings[i].kind != KIND_SECRET)
            fprintf(out, "  --%s", settings[i].name);
        fprintf(out, "  %s  [%s]\n      %s;\n      %s\n", variable, settings[i].preset,
                settings[i].help, describe(&settings[i]).text);
    }
}

static bool is_variable_of_a_setting(const char *variable, size_t length)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        char name[48];
        make_variable_name(&settings[i], name);
        if (strlen(name) == length && memcmp(name, variable, length) == 0)
            return true;
    }
    return false;
}

void config_warn_unknown(char **environment)
{
    for (; *environment != NULL; environment++) {
        size_t length = strcspn(*environment, "=");
        if (strncmp(*environment, "PAYRING_", 8) == 0 &&
            !is_variable_of_a_setting(*environment, length))
            LOG_WARN("unknown_setting", "name=%.*s", (int)length, *environment);
    }
}

bool config_answer(const struct config *config, const struct config_invocation *invocation,
                   FILE *out)
{
    const char *name = config_program_name(invocation->program);

    switch (config->action) {
    case CONFIG_SHOW_HELP:
        print_help(invocation, out);
        return true;
    case CONFIG_SHOW_VERSION:
        fprintf(out, "%s %s\n", name, PAYRING_VERSION);
        return true;
    case CONFIG_CHECK_ONLY:
        config_warn_unknown(invocation->environment);
        fprintf(out, "%s: the configuration is good\n", name);
        return true;
    case CONFIG_RUN:
        break;
    }
    return false;
}
