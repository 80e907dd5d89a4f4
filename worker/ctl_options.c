/* What the command line says besides settings: one table of switches, one of options, each with
 * the verbs that it belongs to. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/check.h"
#include "common/log.h"
#include "shm/shm_payments.h"
#include "shm/shm_show.h"
#include "worker/ctl.h"

#define RATE_PRESET 200 /* look-ups a second: a fifth of what one processor stands easily */

#define USAGE_SIZE   4096
#define SECONDS_MAX  86400u
#define RATE_MAX     100000u
#define SWITCHES_MAX 8
#define OPTIONS_MAX  24

/* ------------------------------------------------------------ reading a value */

/* false: `must` goes on from "must be". */
typedef bool reader(struct ctl *, const char *text, const char **must);

static bool read_number(const char *text, uint64_t lowest, uint64_t highest, uint64_t *number)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' && *number >= lowest && *number <= highest;
}

static bool read_state(struct ctl *ctl, const char *text, const char **must)
{
    *must = "one of accepted, queued, sent, settled, duplicate, conflict, rejected";
    for (enum payment_state s = PAYMENT_QUEUED; s <= PAYMENT_REJECTED; s++)
        if (strcmp(text, shm_payments_state_name(s)) == 0)
            ctl->state = (int)s;
    if (strcmp(text, "accepted") == 0)
        ctl->state = CTL_STATE_ACCEPTED;
    return ctl->state != CTL_STATE_ANY;
}

static bool read_processor(struct ctl *ctl, const char *text, const char **must)
{
    *must = "default or fallback";
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        if (strcmp(text, shm_show_processor_name(p)) == 0)
            ctl->processor = (int)p;
    return ctl->processor >= 0;
}

static bool read_seconds(const char *text, uint64_t lowest, int64_t *ms)
{
    uint64_t seconds;
    if (!read_number(text, lowest, 365u * SECONDS_MAX, &seconds))
        return false;
    *ms = (int64_t)seconds * 1000;
    return true;
}

static bool read_older_than(struct ctl *ctl, const char *text, const char **must)
{
    *must = "a whole number of seconds from 0 to 31536000";
    return read_seconds(text, 0, &ctl->older_than_ms);
}

static bool read_timeout(struct ctl *ctl, const char *text, const char **must)
{
    *must = "a whole number of seconds from 1 to 31536000";
    return read_seconds(text, 1, &ctl->timeout_ms);
}

static bool read_id(struct ctl *ctl, const char *text, const char **must)
{
    *must = "a UUID";
    ctl->has_id = uuid_parse(text, strlen(text), &ctl->id);
    return ctl->has_id;
}

static bool read_limit(struct ctl *ctl, const char *text, const char **must)
{
    *must = "a whole number from 1 on";
    return read_number(text, 1, UINT64_MAX, &ctl->limit);
}

static bool read_sample(struct ctl *ctl, const char *text, const char **must)
{
    *must = "a whole number from 1 on";
    return read_number(text, 1, UINT64_MAX, &ctl->sample);
}

static bool read_seed(struct ctl *ctl, const char *text, const char **must)
{
    *must = "a whole number";
    ctl->has_seed = true;
    return read_number(text, 0, UINT64_MAX, &ctl->seed);
}

static bool read_rate(struct ctl *ctl, const char *text, const char **must)
{
    *must = "a whole number of look-ups a second from 1 to 100000";
    return read_number(text, 1, RATE_MAX, &ctl->rate);
}

static bool read_format(struct ctl *ctl, const char *text, const char **must)
{
    static const struct {
        const char *name;
        enum ctl_format format;
    } formats[] = {{"text", CTL_FORMAT_TEXT},
                   {"tsv", CTL_FORMAT_TSV},
                   {"json", CTL_FORMAT_JSON},
                   {"csv", CTL_FORMAT_CSV},
                   {"jsonl", CTL_FORMAT_JSONL}};
    *must = "text, tsv, json, csv or jsonl";
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (strcmp(text, formats[i].name) == 0)
            ctl->format = formats[i].format;
    return ctl->format != CTL_FORMAT_PRESET;
}

static bool read_time(const char *text, struct iso8601_time *time, const char **must)
{
    *must = "a time like 2026-11-24T04:43:40.981Z, or with an offset";
    return iso8601_parse(text, strlen(text), ISO8601_ZONE_REQUIRED, time, NULL) == STATUS_OK;
}

static bool read_from(struct ctl *ctl, const char *text, const char **must)
{
    struct iso8601_time time;
    if (!read_time(text, &time, must))
        return false;
    ctl->window.from_us = iso8601_round_up_us(&time);
    return true;
}

static bool read_to(struct ctl *ctl, const char *text, const char **must)
{
    struct iso8601_time time;
    if (!read_time(text, &time, must))
        return false;
    ctl->window.to_us = iso8601_round_down_us(&time);
    return true;
}

/* It goes into other programs' logs: no line ends, no control characters. */
static bool is_text(const char *text, size_t size)
{
    for (const char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    return *text != '\0' && strlen(text) < size;
}

static bool read_by(struct ctl *ctl, const char *text, const char **must)
{
    *must = "1 to 63 bytes without control characters";
    ctl->by = text;
    return is_text(text, SHM_OPERATOR_NAME_SIZE);
}

static bool read_reason(struct ctl *ctl, const char *text, const char **must)
{
    *must = "1 to 255 bytes without control characters";
    ctl->reason = text;
    return is_text(text, SHM_OPERATOR_REASON_SIZE);
}

static bool read_output(struct ctl *ctl, const char *text, const char **must)
{
    *must = "a path";
    ctl->output = text;
    return *text != '\0';
}

/* -------------------------------------------------------------------- the tables */

/* clang-format off: a table */
static const struct option {
    const char *name, *takes, *verbs, *help;
    reader *read;
} table[] = {
    {"state", "STATE", "payments", "of that state: accepted (in a ring), queued, sent, ...",
     read_state},
    {"processor", "NAME", "payments", "bound to default or fallback", read_processor},
    {"older-than", "SECONDS", "payments", "accepted at least so long ago", read_older_than},
    {"id", "UUID", "payments", "this one alone", read_id},
    {"limit", "N", "payments", "the N oldest of them", read_limit},
    {"by", "NAME", "resolve", "who decides; goes into the worker's log", read_by},
    {"reason", "TEXT", "resolve", "why; goes into the worker's log", read_reason},
    {"from", "TIME", "reconcile export", "requestedAt at the earliest, inclusive", read_from},
    {"to", "TIME", "reconcile export", "requestedAt at the latest, inclusive", read_to},
    {"sample", "N", "reconcile", "N of them, chosen at random", read_sample},
    {"seed", "S", "reconcile", "where chance begins; it is printed", read_seed},
    {"rate", "N", "reconcile", "look-ups a second at most, over both processors [200]", read_rate},
    {"format", "FORMAT", "payments reconcile export", "[text] tsv json, [text] json, [csv] jsonl",
     read_format},
    {"output", "FILE", "export", "write to it, as a whole or not at all", read_output},
    {"timeout", "SECONDS", "resolve drain", "how long to wait [60, drain: 600]", read_timeout},
    {NULL, NULL, NULL, NULL, NULL},
};
/* clang-format on */

static bool belongs_to(const char *verbs, const char *verb)
{
    size_t length = strlen(verb);
    for (const char *at = verbs; (at = strstr(at, verb)) != NULL; at += length)
        if ((at == verbs || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return true;
    return false;
}

/* With the verbs before each, as the settings of create have it. */
static const char *help_of(const char *verbs, const char *help)
{
    static char texts[SWITCHES_MAX + OPTIONS_MAX][160];
    static unsigned used;
    CHECK(used < SWITCHES_MAX + OPTIONS_MAX);
    char *text = texts[used++];
    size_t length = 0;
    for (const char *c = verbs; *c != '\0'; c++) {
        if (*c == ' ')
            text[length++] = ',';
        text[length++] = *c;
    }
    snprintf(text + length, sizeof texts[0] - length, ": %s", help);
    return text;
}

static void write_usage(char text[static USAGE_SIZE], const struct ctl_verb *verbs)
{
    size_t length = (size_t)snprintf(text, USAGE_SIZE, "\nVerbs:\n");
    for (; verbs->name; verbs++)
        length +=
            (size_t)snprintf(text + length, USAGE_SIZE - length, "  %s%s%s\n      %s\n",
                             verbs->name, *verbs->words ? " " : "", verbs->words, verbs->help);
    length += (size_t)snprintf(text + length, USAGE_SIZE - length,
                               "\nExit status: 0 done; 1 refused, or there are findings or "
                               "differences; 2 wrong usage;\n3 could not be done (no region, no "
                               "owner, time over, a processor that does not answer)\n");
    CHECK(length < USAGE_SIZE);
}

/* ------------------------------------------------------------------- all of it */

struct given {
    const char *values[sizeof table / sizeof table[0]];
};

static enum ctl_exit misuse(struct explain *why, const char *name, const char *verb)
{
    explain_in(why, "%s has no option --%s; see --help", verb, name);
    return CTL_USAGE;
}

static enum ctl_exit check_switches(const struct ctl *ctl, const struct ctl_verb *verb,
                                    struct explain *why)
{
    const struct {
        bool given;
        const char *name, *verb;
    } switches[] = {{ctl->if_missing, "if-missing", "create"},
                    {ctl->plain, "plain", "show"},
                    {ctl->force, "force-lose-payments", "remove"},
                    {ctl->pinned, "pinned", "payments"},
                    {ctl->resume, "resume", "drain"}};
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++)
        if (switches[i].given && strcmp(switches[i].verb, verb->name) != 0)
            return misuse(why, switches[i].name, verb->name);
    return CTL_DONE;
}

static enum ctl_exit read_options(struct ctl *ctl, const struct ctl_verb *verb,
                                  const struct given *given, struct explain *why)
{
    for (size_t i = 0; table[i].name; i++) {
        const char *must;
        if (!given->values[i])
            continue;
        if (!belongs_to(table[i].verbs, verb->name))
            return misuse(why, table[i].name, verb->name);
        if (!table[i].read(ctl, given->values[i], &must)) {
            explain_in(why, "--%s is \"%.80s\" but must be %s", table[i].name, given->values[i],
                       must);
            return CTL_USAGE;
        }
    }
    if (ctl->format != CTL_FORMAT_PRESET && !(verb->formats >> ctl->format & 1)) {
        explain_in(why, "%s has no such --format; see --help", verb->name);
        return CTL_USAGE;
    }
    if (ctl->timeout_ms == 0)
        ctl->timeout_ms = verb->timeout_ms;
    return CTL_DONE;
}

static bool read_decision(struct ctl *ctl, const char *word)
{
    static const char *const names[] = {[SHM_DECISION_SETTLED] = "settled",
                                        [SHM_DECISION_REQUEUE] = "requeue",
                                        [SHM_DECISION_REJECT] = "reject"};
    for (unsigned d = SHM_DECISION_SETTLED; d <= SHM_DECISION_REJECT; d++)
        if (strcmp(word, names[d]) == 0)
            ctl->decision = (enum shm_decision)d;
    return ctl->decision != 0;
}

/* Where health looks: in the region, or at an address. */
static bool read_target(struct ctl *ctl, const char *text)
{
    ctl->target = text;
    return strcmp(text, "region") == 0 || strcmp(text, "lanes") == 0 ||
           (strncmp(text, "unix:/", 6) == 0 && text[6] != '\0') ||
           (strncmp(text, "http://", 7) == 0 && text[7] != '\0');
}

/* Only resolve and health have words after them. */
static bool are_the_words(struct ctl *ctl, const struct ctl_verb *verb)
{
    const struct config *config = ctl->config;
    const char *must;
    if (!*verb->words)
        return config->word_count == 1;
    if (verb->run == ctl_health)
        return config->word_count == 2 && read_target(ctl, config->words[1]);
    return config->word_count == 3 && read_id(ctl, config->words[1], &must) &&
           read_decision(ctl, config->words[2]);
}

static enum ctl_exit read_words(struct ctl *ctl, const struct ctl_verb *verb, struct explain *why)
{
    if (!are_the_words(ctl, verb))
        explain_in(why, "it is payringctl %s%s%s; see --help", verb->name, *verb->words ? " " : "",
                   verb->words);
    else if (verb->run == ctl_resolve && !ctl->by)
        explain_in(why, "%s needs --by NAME: who decides", verb->name);
    else
        return CTL_DONE;
    return CTL_USAGE;
}

static const struct ctl_verb *find_verb(const struct ctl_verb *verbs, const char *name)
{
    while (verbs->name && strcmp(verbs->name, name) != 0)
        verbs++;
    return verbs->name ? verbs : NULL;
}

static enum ctl_exit understand(struct ctl *ctl, const struct ctl_verb *verbs,
                                const struct given *given, const struct ctl_verb **verb,
                                struct explain *why)
{
    *verb = find_verb(verbs, ctl->config->word_count ? ctl->config->words[0] : "");
    if (!*verb) {
        explain_in(why, "a verb is wanted: create, show, check, payments, resolve, reconcile, "
                        "export, drain, list, rows or remove; see --help");
        return CTL_USAGE;
    }
    enum ctl_exit result = check_switches(ctl, *verb, why);
    if (result == CTL_DONE)
        result = read_options(ctl, *verb, given, why);
    return result == CTL_DONE ? read_words(ctl, *verb, why) : result;
}

static void fill_presets(struct ctl *ctl, const struct config *config)
{
    *ctl = (struct ctl){.config = config,
                        .state = CTL_STATE_ANY,
                        .processor = -1,
                        .limit = UINT64_MAX,
                        .reason = "",
                        .window = {.from_us = INT64_MIN, .to_us = INT64_MAX},
                        .rate = RATE_PRESET};
}

enum ctl_exit ctl_options_read(struct ctl *ctl, struct config *config, const struct ctl_verb *verbs,
                               int argc, char **argv, const struct ctl_verb **verb,
                               struct explain *why)
{
    static char usage[USAGE_SIZE];
    struct given given = {.values = {NULL}};
    struct config_option options[OPTIONS_MAX] = {{.name = NULL}};
    const struct config_flag flags[] = {
        {"if-missing", "create: a region that is there and as asked for is good", &ctl->if_missing},
        {"plain", "show: one \"name value\" a line, for scripts", &ctl->plain},
        {"force-lose-payments", "remove: even if payments in it have not ended; they are lost",
         &ctl->force},
        {"pinned", "payments: whose outcome at their processor is unknown", &ctl->pinned},
        {"resume", "drain: open intake again", &ctl->resume},
        {NULL, NULL, NULL},
    };
    fill_presets(ctl, config);
    write_usage(usage, verbs);
    CHECK(sizeof table / sizeof table[0] <= OPTIONS_MAX);
    for (size_t i = 0; table[i].name; i++)
        options[i] =
            (struct config_option){table[i].name, table[i].takes,
                                   help_of(table[i].verbs, table[i].help), &given.values[i]};
    struct config_invocation invocation = {.program = CONFIG_PROGRAM_CTL,
                                           .argc = argc,
                                           .argv = argv,
                                           .environment = environ,
                                           .flags = flags,
                                           .options = options,
                                           .usage = usage};
    *verb = NULL;
    if (config_load(config, &invocation, why) != STATUS_OK)
        return CTL_USAGE;
    bool asks_for_help =
        config->action == CONFIG_SHOW_HELP || config->action == CONFIG_SHOW_VERSION;
    /* -n alone checks the settings. */
    if (!asks_for_help && (config->action == CONFIG_RUN || config->word_count > 0)) {
        enum ctl_exit result = understand(ctl, verbs, &given, verb, why);
        if (result != CTL_DONE)
            return result;
    }
    log_open("payringctl", config->log_level);
    if (config_answer(config, &invocation, stdout))
        *verb = NULL;
    else
        config_warn_unknown(environ);
    return CTL_DONE;
}
