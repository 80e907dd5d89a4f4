/* The settings of all programs. One table in config.c says everything about each: its names, kind,
 * default, limits and purpose. From it values are read, refused and explained, and --help is made.
 *
 * PAYRING_SOME_SETTING in the environment and --some-setting VALUE (or --some-setting=VALUE) are
 * the same setting; the flag wins. A secret has no flag: the command lines of all processes can be
 * read by every user. A program reads only its own settings, so several may share one
 * environment file.
 */
#ifndef PAYRING_CONFIG_H
#define PAYRING_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/log.h"
#include "common/secret.h"
#include "common/status.h"

enum config_program {
    CONFIG_PROGRAM_API = 1, /* bits: a setting may belong to several */
    CONFIG_PROGRAM_WORKER = 2,
    CONFIG_PROGRAM_CTL = 4,
};

/* What the command line asks for. */
enum config_action {
    CONFIG_RUN,
    CONFIG_CHECK_ONLY,   /* -n */
    CONFIG_SHOW_HELP,    /* --help */
    CONFIG_SHOW_VERSION, /* --version */
};

enum config_policy {
    CONFIG_POLICY_DEFAULT_ONLY,
    CONFIG_POLICY_DEADLINE,
};

enum config_durability { /* as enum shm_durability */
                         CONFIG_DURABILITY_MEMORY,
                         CONFIG_DURABILITY_ASYNC,
                         CONFIG_DURABILITY_SYNC,
};

struct config_endpoint {
    char host[256]; /* a name or an address, IPv6 without its brackets; "": none */
    char port[6];   /* decimal, as getaddrinfo wants it */
};

/* Where to listen, or whom to connect to. Both parts "": none. */
struct config_address {
    char path[108]; /* of a unix socket, fits sockaddr_un; "": TCP */
    struct config_endpoint tcp;
};

struct config_peer {
    char name[280]; /* as it was given, for people */
    struct config_address address;
};

#define CONFIG_PEERS_MAX         8
#define CONFIG_API_SLOT_AUTO     UINT32_MAX
#define CONFIG_SEGMENT_ROWS_AUTO UINT32_MAX
#define CONFIG_WORDS_MAX         8

/* Each field stands for the setting of its name. Fields of other programs hold their defaults.
 * Units are in the names; counts and times fit uint32_t by their limits. */
struct config {
    enum config_action action;
    const char *words[CONFIG_WORDS_MAX]; /* payringctl: what is not a flag, in order; of argv */
    unsigned word_count;

    char region[65];
    enum log_level log_level;
    uint32_t attach_timeout_ms;

    uint32_t api_slots;
    uint32_t lanes;
    uint32_t ring_slots;
    uint32_t payment_slots;
    uint32_t ledger_rows;
    uint32_t horizon_payments;
    uint32_t ledger_segment_rows; /* CONFIG_SEGMENT_ROWS_AUTO: as suits ledger_rows */
    enum config_durability durability;

    char state_dir[256]; /* "": none */

    uint32_t api_slot;    /* CONFIG_API_SLOT_AUTO: the first free one */
    char api_socket[108]; /* a path that fits sockaddr_un; "": none */
    uint32_t api_socket_mode;
    struct config_endpoint api_tcp;
    bool purge;
    uint32_t body_limit; /* bytes */
    uint32_t max_connections;
    uint32_t request_timeout_ms;
    uint32_t connection_age_s; /* 0: no limit */
    uint32_t retry_after_s;
    uint32_t durable_timeout_ms;
    uint32_t stop_timeout_ms;
    struct config_peer peers[CONFIG_PEERS_MAX];
    unsigned peer_count;
    struct config_address peer_listen;
    char peer_secret_file[256];    /* "": none */
    char peer_secret[SECRET_SIZE]; /* of the variable or the file, filled up with zeros */
    uint32_t peer_timeout_ms;

    char default_url[256]; /* no slash at the end: a path is appended to it */
    char fallback_url[256];
    enum config_policy policy;
    uint32_t deadline_ms;
    uint32_t horizon_s;
    uint32_t worker_lanes;
    uint32_t takeover_ms;
    uint32_t post_timeout_ms;
    uint32_t lookup_timeout_ms;
    uint32_t health_interval_ms;
    uint32_t in_flight_max;
    uint32_t lookup_young_s;
    uint32_t journal_interval_ms;
    uint32_t journal_max_bytes;
    uint32_t quarantine_ms;
};

/* A switch of the caller's own that is given on the command line only and takes no value. */
struct config_flag {
    const char *name; /* "force-..." for --force-...; NULL ends an array of them */
    const char *help;
    bool *given; /* set to true when the flag is there, else left alone */
};

/* One that takes a value, which is the caller's to read. */
struct config_option {
    const char *name;  /* NULL ends an array of them */
    const char *takes; /* what is written for the value in --help */
    const char *help;
    const char **value; /* of argv; left alone when the option is not there */
};

struct config_invocation {
    enum config_program program;
    int argc;
    char **argv;
    char **environment;                  /* "NAME=value" strings, then NULL: usually environ */
    const struct config_flag *flags;     /* NULL: none */
    const struct config_option *options; /* NULL: none */
    const char *usage;                   /* more lines for --help, "" for none: the verbs, say */
};

/* Read the settings. STATUS_INVALID explains itself in one sentence that names the setting as it
 * was given, its value (never a secret's) and what is allowed. STATUS_SYSTEM: the file of a secret
 * cannot be read. At --help or --version reading ends and the fields
 * hold their defaults. Strings are copied, except `words`. */
enum status config_load(struct config *, const struct config_invocation *, struct explain *);

/* Answer --help, --version or -n on `out`, and at -n warn of unknown variables. true: that was all,
 * exit; false: there is work. */
bool config_answer(const struct config *, const struct config_invocation *, FILE *out);

/* Log a warning for each PAYRING_ variable that is no setting of any program: probably a typing
 * error, but not an error, since newer programs may share the file. After log_open. */
void config_warn_unknown(char **environment);

/* "payring-api", ... */
const char *config_program_name(enum config_program);

#endif
