/* How libcurl (7.88) is held to the contract of upstream.h.
 *
 * Sending. libcurl leaves its connect states for its sending state through one door only, and there
 * it calls CURLOPT_PREREQFUNCTION: once for each time it is about to send the request, on a fresh
 * and on a reused connection alike. So "it never ran" proves that no byte of the request has left,
 * whatever the transfer's result says, and nothing else proves it: when a reused connection dies
 * before an answer, libcurl connects again to repeat the request, and a refusal of that second
 * connection is reported as if there had never been a first. The second call aborts the transfer
 * before anything is sent; what the first sending did is unknown.
 *
 * Receiving. libcurl calls a transfer complete when a connection is closed in the middle of the
 * header, and when it is closed in a body whose length was not declared. So a status counts only
 * after the empty line that ends the header, a 200 only with a body that is whole by its own
 * grammar and says what the contract says, and an empty body only if the header declared it.
 *
 * A second answer to one request that arrives while the connection is idle would be taken for the
 * answer to the next: libcurl sends on it all the same. So before a request leaves we look whether
 * anything has arrived, and if so give up the connection: nothing has left, and the next try is on
 * another one. (Not under TLS, whose own records arrive at any time.) Left to trust: a second
 * answer that arrives between that look and the answer that it is taken for; HTTP/1.1 has no
 * defence.
 */
#include "worker/upstream.h"

#include <curl/curl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/payment_json.h"
#include "worker/upstream_sockets.h"

/* The longest answer of the contract is below 200 bytes; larger ones are not worth their memory. */
#define REPLY_SIZE  4096
#define HEADER_SIZE 16384

/* libcurl takes this much for each transfer and gives it back: of this size malloc has it at hand,
 * and an answer of the contract with its header comes in one piece. It takes no less. */
#define RECEIVE_SIZE 1024

/* A connection that is never made is a definite no, so this may be short although a POST's own
 * time-out may not. Includes the look-up of the name. */
#define CONNECT_TIMEOUT_MS 2000

/* Servers close idle connections after 5 s and more. One that closes as we send costs an unknown
 * outcome, a new connection costs 0.1 ms. */
#define IDLE_CONNECTION_MAX_S 4

/* A processor that comes back at another address is found after this. */
#define NAME_CACHE_S 10

/* When libcurl cannot even wait (no memory), how long we wait in its place. */
#define FALLBACK_WAIT_MS 10

/* One request and its reply, used again and again: a handle is set up once and keeps whatever is
 * the same for all transfers of its pool. */
struct transfer {
    CURL *easy;
    struct pool *pool;
    struct upstream_sockets *sockets; /* to look at before a request leaves; NULL: do not */
    struct transfer *next_free;
    struct transfer *next_made;
    bool in_flight;
    uint64_t ticket;
    struct uuid id; /* LOOKUP */
    int64_t started_us;
    int sendings; /* how often libcurl came to send the request */
    bool header_is_whole;
    size_t header_length;
    size_t reply_length;
    size_t request_length; /* what the handle was last told */
    char request[PAYMENT_JSON_REQUEST_SIZE];
    char reply[REPLY_SIZE];
};

/* The transfers of one kind to one processor. */
struct pool {
    enum upstream_kind kind;
    int processor;
    char *url;     /* LOOKUP: ends in room for an id */
    CURLU *parsed; /* the same; not of LOOKUP, whose changes */
    int64_t timeout_ms;
    int made;
    int made_max;
    struct transfer *free;
};

struct processor {
    struct pool pools[UPSTREAM_KINDS];
    const char *protocol; /* the scheme of its URL, the only one that is spoken */
    int in_flight;
    size_t accepted_length; /* the last body of a 200 that was taken for one; 0: none yet */
    char accepted[REPLY_SIZE];
};

struct upstream {
    CURLM *multi;
    struct curl_slist *post_headers;
    struct payment_json *json;
    struct upstream_sockets sockets;
    struct transfer *made; /* all of them */
    struct processor processors[UPSTREAM_PROCESSORS];
};

/* --- what libcurl calls ------------------------------------------------------------------- */

static int before_request(void *context, char *remote_ip, char *local_ip, int remote_port,
                          int local_port)
{
    struct transfer *transfer = context;
    (void)remote_ip, (void)local_ip;
    if (transfer->sendings == 0 && transfer->sockets &&
        upstream_sockets_have_arrivals(transfer->sockets, local_port, remote_port))
        return CURL_PREREQFUNC_ABORT;
    transfer->sendings++;
    return transfer->sendings == 1 ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    return upstream_sockets_open(context, address->family, address->socktype, address->protocol);
}

static int close_socket(void *context, curl_socket_t fd)
{
    return upstream_sockets_close(context, fd);
}

/* One line with its line end, of the header or of a chunked body's trailer. Interim replies (1xx)
 * come first and end with an empty line too; the next status line takes that back. */
static size_t on_header(char *line, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t length = size * count;
    transfer->header_length += length;
    if (transfer->header_length > HEADER_SIZE)
        return 0;
    if (length > 0 && (line[0] == '\r' || line[0] == '\n'))
        transfer->header_is_whole = true;
    else if (length >= 5 && memcmp(line, "HTTP/", 5) == 0)
        transfer->header_is_whole = false;
    return length;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t length = size * count;
    if (length > REPLY_SIZE - transfer->reply_length)
        return 0;
    memcpy(transfer->reply + transfer->reply_length, bytes, length);
    transfer->reply_length += length;
    return length;
}

/* --- what a reply proves ------------------------------------------------------------------- */

/* A body that no header announced ends with the connection: nobody can tell whether it was empty or
 * cut off. */
static bool is_known_to_be_empty(const struct transfer *transfer)
{
    if (transfer->reply_length > 0)
        return false;
    curl_off_t declared = -1;
    curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &declared);
    if (declared == 0)
        return true;
    struct curl_header *coding;
    return curl_easy_header(transfer->easy, "Transfer-Encoding", 0, CURLH_HEADER, -1, &coding) ==
               CURLHE_OK &&
           strcasecmp(coding->value, "chunked") == 0;
}

/* Processors say the same words each time: what was parsed once need only be compared. */
static bool is_accepting(struct upstream *upstream, const struct transfer *transfer)
{
    struct processor *processor = &upstream->processors[transfer->pool->processor];
    size_t length = transfer->reply_length;
    if (length > 0 && length == processor->accepted_length &&
        memcmp(transfer->reply, processor->accepted, length) == 0)
        return true;
    if (!payment_json_says_processed(upstream->json, transfer->reply, length))
        return false;
    memcpy(processor->accepted, transfer->reply, length);
    processor->accepted_length = length;
    return true;
}

static enum upstream_outcome judge_post(struct upstream *upstream, const struct transfer *transfer,
                                        long http_status)
{
    switch (http_status) {
    case 200:
        return is_accepting(upstream, transfer) ? UPSTREAM_ACCEPTED : UPSTREAM_UNKNOWN;
    case 400:
        return UPSTREAM_BAD_REQUEST;
    case 422:
        return UPSTREAM_EXISTS;
    case 500:
        return is_known_to_be_empty(transfer) ? UPSTREAM_FAILING : UPSTREAM_UNKNOWN;
    default:
        return UPSTREAM_UNKNOWN;
    }
}

static enum upstream_outcome judge_lookup(struct upstream *upstream,
                                          const struct transfer *transfer,
                                          struct upstream_completion *completion)
{
    if (completion->http_status == 404)
        return UPSTREAM_ABSENT;
    struct payment_stored stored;
    if (completion->http_status != 200 ||
        payment_json_parse_stored(upstream->json, transfer->reply, transfer->reply_length, &stored,
                                  NULL) != STATUS_OK ||
        !uuid_equal(&stored.id, &transfer->id))
        return UPSTREAM_UNKNOWN;
    completion->stored_amount_cents = stored.amount_cents;
    completion->stored_requested_at_us = stored.requested_at_us;
    completion->stored_requested_at_is_exact = stored.requested_at_is_exact;
    return UPSTREAM_FOUND;
}

static enum upstream_outcome judge_health(struct upstream *upstream,
                                          const struct transfer *transfer,
                                          struct upstream_completion *completion)
{
    struct payment_health health;
    if (completion->http_status != 200 ||
        payment_json_parse_health(upstream->json, transfer->reply, transfer->reply_length, &health,
                                  NULL) != STATUS_OK)
        return UPSTREAM_UNKNOWN;
    completion->report_failing = health.failing;
    completion->report_min_response_ms = health.min_response_ms;
    return UPSTREAM_REPORT;
}

static enum upstream_outcome judge(struct upstream *upstream, const struct transfer *transfer,
                                   CURLcode result, struct upstream_completion *completion)
{
    if (transfer->sendings == 0)
        return UPSTREAM_UNREACHED;
    if (transfer->sendings > 1 || result != CURLE_OK || !transfer->header_is_whole)
        return UPSTREAM_UNKNOWN;
    if (completion->http_status == 429)
        return UPSTREAM_BUSY;
    switch (completion->kind) {
    case UPSTREAM_POST:
        return judge_post(upstream, transfer, completion->http_status);
    case UPSTREAM_LOOKUP:
        return judge_lookup(upstream, transfer, completion);
    case UPSTREAM_HEALTH:
        return judge_health(upstream, transfer, completion);
    }
    return UPSTREAM_UNKNOWN;
}

/* --- transfers ----------------------------------------------------------------------------- */

static void forget_transfer(struct transfer *transfer)
{
    if (transfer->easy)
        curl_easy_cleanup(transfer->easy);
    free(transfer);
}

static bool set_callbacks(struct transfer *transfer, struct upstream_sockets *sockets)
{
    CURL *easy = transfer->easy;
    return curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, sockets) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, sockets) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer) == CURLE_OK;
}

/* QUICK_EXIT: without it, giving up on a name waits for the resolver's thread, and so would this
 * lane for a name server that does not answer.
 * NOPROXY: PROXY alone decides; with both set libcurl does not read the environment either, which
 * it would for each request. */
static bool set_manners(CURL *easy, const char *protocol)
{
    return curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOPROXY, "*") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, protocol) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)RECEIVE_SIZE) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS) ==
               CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)IDLE_CONNECTION_MAX_S) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, (long)NAME_CACHE_S) == CURLE_OK;
}

/* Without TLS nobody reads these names, but libcurl copies them for every transfer. A saving only:
 * one that is built without them may refuse. */
static void forget_authorities(CURL *easy)
{
    (void)curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
    (void)curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    (void)curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, NULL);
    (void)curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, NULL);
}

/* From its text libcurl parses a URL for every transfer, a fifth of what it does for one. */
static bool set_url(CURL *easy, const struct pool *pool)
{
    return pool->parsed ? curl_easy_setopt(easy, CURLOPT_CURLU, pool->parsed) == CURLE_OK
                        : curl_easy_setopt(easy, CURLOPT_URL, pool->url) == CURLE_OK;
}

/* libcurl reads the body from transfer->request when it sends; it keeps no copy. */
static bool set_request(struct transfer *transfer, const struct upstream *upstream)
{
    const struct pool *pool = transfer->pool;
    CURL *easy = transfer->easy;
    if (!set_url(easy, pool) ||
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)pool->timeout_ms) != CURLE_OK)
        return false;
    return pool->kind != UPSTREAM_POST ||
           (curl_easy_setopt(easy, CURLOPT_POSTFIELDS, transfer->request) == CURLE_OK &&
            curl_easy_setopt(easy, CURLOPT_HTTPHEADER, upstream->post_headers) == CURLE_OK);
}

static struct transfer *make_transfer(struct upstream *upstream, struct pool *pool)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer)
        return NULL;
    transfer->pool = pool;
    bool is_plain = strcmp(upstream->processors[pool->processor].protocol, "http") == 0;
    if (is_plain)
        transfer->sockets = &upstream->sockets;
    transfer->easy = curl_easy_init();
    if (!transfer->easy || !set_callbacks(transfer, &upstream->sockets) ||
        !set_manners(transfer->easy, upstream->processors[pool->processor].protocol) ||
        !set_request(transfer, upstream)) {
        forget_transfer(transfer);
        return NULL;
    }
    if (is_plain)
        forget_authorities(transfer->easy);
    transfer->next_made = upstream->made;
    upstream->made = transfer;
    pool->made++;
    return transfer;
}

static struct pool *pool_of(struct upstream *upstream, int processor, enum upstream_kind kind)
{
    CHECK(processor >= 0 && processor < UPSTREAM_PROCESSORS);
    return &upstream->processors[processor].pools[kind];
}

/* The last one given back is the first one taken: few in use are few pages touched. */
static struct transfer *take_transfer(struct upstream *upstream, struct pool *pool)
{
    struct transfer *transfer = pool->free;
    if (transfer)
        pool->free = transfer->next_free;
    else if (pool->made < pool->made_max)
        transfer = make_transfer(upstream, pool);
    return transfer;
}

static void give_back(struct transfer *transfer)
{
    transfer->next_free = transfer->pool->free;
    transfer->pool->free = transfer;
}

static bool start(struct upstream *upstream, struct transfer *transfer, uint64_t ticket)
{
    transfer->ticket = ticket;
    transfer->sendings = 0;
    transfer->header_is_whole = false;
    transfer->header_length = 0;
    transfer->reply_length = 0;
    transfer->started_us = clock_monotonic_us();
    if (curl_multi_add_handle(upstream->multi, transfer->easy) != CURLM_OK) {
        give_back(transfer);
        return false;
    }
    transfer->in_flight = true;
    upstream->processors[transfer->pool->processor].in_flight++;
    return true;
}

bool upstream_try_post(struct upstream *upstream, int processor, uint64_t ticket,
                       const struct uuid *id, int64_t amount_cents, int64_t requested_at_ms)
{
    struct transfer *transfer =
        take_transfer(upstream, pool_of(upstream, processor, UPSTREAM_POST));
    if (!transfer)
        return false;
    size_t length =
        payment_json_write_request(transfer->request, id, amount_cents, requested_at_ms);
    if (length != transfer->request_length) {
        CHECK(curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE, (long)length) == CURLE_OK);
        transfer->request_length = length;
    }
    return start(upstream, transfer, ticket);
}

bool upstream_try_lookup(struct upstream *upstream, int processor, uint64_t ticket,
                         const struct uuid *id)
{
    struct pool *pool = pool_of(upstream, processor, UPSTREAM_LOOKUP);
    struct transfer *transfer = take_transfer(upstream, pool);
    if (!transfer)
        return false;
    transfer->id = *id;
    uuid_format(pool->url + strlen(pool->url) - UUID_TEXT_LENGTH, id);
    if (curl_easy_setopt(transfer->easy, CURLOPT_URL, pool->url) != CURLE_OK) {
        give_back(transfer);
        return false;
    }
    return start(upstream, transfer, ticket);
}

bool upstream_try_health(struct upstream *upstream, int processor, uint64_t ticket)
{
    struct transfer *transfer =
        take_transfer(upstream, pool_of(upstream, processor, UPSTREAM_HEALTH));
    return transfer && start(upstream, transfer, ticket);
}

int upstream_in_flight(const struct upstream *upstream, int processor)
{
    CHECK(processor >= 0 && processor < UPSTREAM_PROCESSORS);
    return upstream->processors[processor].in_flight;
}

/* --- running ------------------------------------------------------------------------------- */

static void detach(struct upstream *upstream, struct transfer *transfer)
{
    CHECK(curl_multi_remove_handle(upstream->multi, transfer->easy) == CURLM_OK);
    transfer->in_flight = false;
    upstream->processors[transfer->pool->processor].in_flight--;
}

/* The transfer is free again before the callback runs, which may take it at once. */
static void complete(struct upstream *upstream, CURL *easy, CURLcode result, int64_t now_us,
                     upstream_on_completion *on_completion, void *context)
{
    struct transfer *transfer;
    CHECK(curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer) == CURLE_OK);
    struct upstream_completion completion = {
        .kind = transfer->pool->kind,
        .processor = transfer->pool->processor,
        .ticket = transfer->ticket,
        .latency_us = now_us - transfer->started_us,
    };
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &completion.http_status);
    completion.outcome = judge(upstream, transfer, result, &completion);
    detach(upstream, transfer);
    give_back(transfer);
    on_completion(context, &completion);
}

/* One clock reading for the whole batch: what the callbacks take is not the processors' time. */
void upstream_perform(struct upstream *upstream, upstream_on_completion *on_completion,
                      void *context)
{
    int running;
    CURLMcode code = curl_multi_perform(upstream->multi, &running);
    CHECK(code != CURLM_BAD_HANDLE && code != CURLM_RECURSIVE_API_CALL);
    int64_t now_us = 0;
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(upstream->multi, &left)) != NULL) {
        if (now_us == 0)
            now_us = clock_monotonic_us();
        complete(upstream, message->easy_handle, message->data.result, now_us, on_completion,
                 context);
    }
}

void upstream_wait(struct upstream *upstream, int fifo_fd, int64_t timeout_ms)
{
    int timeout = timeout_ms < 0 ? 0 : timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
    struct curl_waitfd doorbell = {.fd = fifo_fd, .events = CURL_WAIT_POLLIN};
    CURLMcode code =
        curl_multi_poll(upstream->multi, &doorbell, fifo_fd >= 0 ? 1 : 0, timeout, NULL);
    CHECK(code != CURLM_BAD_HANDLE && code != CURLM_RECURSIVE_API_CALL);
    if (code != CURLM_OK)
        poll(&(struct pollfd){.fd = fifo_fd, .events = POLLIN}, 1,
             timeout < FALLBACK_WAIT_MS ? timeout : FALLBACK_WAIT_MS);
}

/* --- beginning and end --------------------------------------------------------------------- */

static const char *const setting_names[UPSTREAM_PROCESSORS] = {
    "PAYRING_DEFAULT_URL",
    "PAYRING_FALLBACK_URL",
};

static bool has_part(CURLU *parsed, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(parsed, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

/* "http", "https" or NULL for a URL that cannot be a processor's. */
static const char *protocol_of(const char *url)
{
    const char *protocol = NULL;
    char *scheme = NULL;
    CURLU *parsed = curl_url();
    if (parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        has_part(parsed, CURLUPART_HOST) && !has_part(parsed, CURLUPART_USER) &&
        !has_part(parsed, CURLUPART_PASSWORD) && !has_part(parsed, CURLUPART_QUERY) &&
        !has_part(parsed, CURLUPART_FRAGMENT)) {
        protocol = strcmp(scheme, "http") == 0    ? "http"
                   : strcmp(scheme, "https") == 0 ? "https"
                                                  : NULL;
    }
    curl_free(scheme);
    curl_url_cleanup(parsed);
    return protocol;
}

/* Room for an id is part of the text, so that its place is the end of the text. */
static char *join_url(const char *base, enum upstream_kind kind)
{
    static const char *const paths[UPSTREAM_KINDS] = {
        [UPSTREAM_POST] = "/payments",
        [UPSTREAM_LOOKUP] = "/payments/00000000-0000-0000-0000-000000000000",
        [UPSTREAM_HEALTH] = "/payments/service-health",
    };
    size_t length = strlen(base);
    while (length > 0 && base[length - 1] == '/')
        length--;
    size_t path_size = strlen(paths[kind]) + 1;
    char *url = malloc(length + path_size);
    if (url) {
        memcpy(url, base, length);
        memcpy(url + length, paths[kind], path_size);
    }
    return url;
}

/* The text was parsed before (protocol_of): only memory can be missing. */
static bool parse_url(struct pool *pool)
{
    if (pool->kind == UPSTREAM_LOOKUP)
        return true;
    pool->parsed = curl_url();
    return pool->parsed && curl_url_set(pool->parsed, CURLUPART_URL, pool->url, 0) == CURLUE_OK;
}

static enum status prepare_processor(struct upstream *upstream, int number,
                                     const struct upstream_settings *settings, struct explain *why)
{
    const int64_t timeouts_ms[UPSTREAM_KINDS] = {
        [UPSTREAM_POST] = settings->post_timeout_ms,
        [UPSTREAM_LOOKUP] = settings->lookup_timeout_ms,
        [UPSTREAM_HEALTH] = settings->health_timeout_ms,
    };
    struct processor *processor = &upstream->processors[number];
    processor->protocol = protocol_of(settings->urls[number]);
    if (!processor->protocol)
        return explain(why, STATUS_INVALID,
                       "%s must be http:// or https://, a host and nothing behind its path, not %s",
                       setting_names[number], settings->urls[number]);
    for (int kind = 0; kind < UPSTREAM_KINDS; kind++) {
        processor->pools[kind] = (struct pool){
            .kind = (enum upstream_kind)kind,
            .processor = number,
            .url = join_url(settings->urls[number], (enum upstream_kind)kind),
            .timeout_ms = timeouts_ms[kind],
            .made_max = kind == UPSTREAM_HEALTH ? 1 : settings->transfers_max,
        };
        if (!processor->pools[kind].url || !parse_url(&processor->pools[kind]))
            return explain(why, STATUS_SYSTEM, "no memory for the URLs of the processors");
    }
    return STATUS_OK;
}

/* libcurl asks for 100-continue, which would send a request in two parts, for bodies beyond a
 * megabyte only. Connections are kept for all transfers at once: closing one to keep another would
 * make the next transfer wait for a new one. */
static enum status prepare_libcurl(struct upstream *upstream, int transfers_max,
                                   struct explain *why)
{
    upstream->post_headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (!upstream->post_headers)
        return explain(why, STATUS_SYSTEM, "no memory for the processors' request headers");
    long connections = UPSTREAM_PROCESSORS * (2L * transfers_max + 1);
    upstream->multi = curl_multi_init();
    if (!upstream->multi ||
        curl_multi_setopt(upstream->multi, CURLMOPT_MAXCONNECTS, connections) != CURLM_OK)
        return explain(why, STATUS_SYSTEM, "libcurl cannot start: no memory or no descriptors");
    upstream->json = payment_json_create();
    return upstream->json ? STATUS_OK : explain(why, STATUS_SYSTEM, "no memory for a JSON reader");
}

struct upstream *upstream_create(const struct upstream_settings *settings, struct explain *why)
{
    CHECK(settings->transfers_max > 0 && settings->post_timeout_ms > 0 &&
          settings->lookup_timeout_ms > 0 && settings->health_timeout_ms > 0);
    if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK) {
        (void)explain(why, STATUS_SYSTEM, "libcurl cannot start");
        return NULL;
    }
    struct upstream *upstream = calloc(1, sizeof *upstream);
    if (!upstream) {
        (void)explain(why, STATUS_SYSTEM, "no memory for the connections to the processors");
        curl_global_cleanup();
        return NULL;
    }
    enum status status = prepare_libcurl(upstream, settings->transfers_max, why);
    for (int number = 0; status == STATUS_OK && number < UPSTREAM_PROCESSORS; number++)
        status = prepare_processor(upstream, number, settings, why);
    if (status != STATUS_OK) {
        upstream_destroy(upstream);
        return NULL;
    }
    return upstream;
}

void upstream_destroy(struct upstream *upstream)
{
    if (!upstream)
        return;
    for (struct transfer *transfer = upstream->made, *next; transfer; transfer = next) {
        next = transfer->next_made;
        if (transfer->in_flight)
            detach(upstream, transfer);
        forget_transfer(transfer);
    }
    curl_multi_cleanup(upstream->multi); /* closes the connections */
    upstream_sockets_free(&upstream->sockets);
    curl_slist_free_all(upstream->post_headers);
    payment_json_destroy(upstream->json);
    for (int number = 0; number < UPSTREAM_PROCESSORS; number++)
        for (int kind = 0; kind < UPSTREAM_KINDS; kind++) {
            free(upstream->processors[number].pools[kind].url);
            curl_url_cleanup(upstream->processors[number].pools[kind].parsed);
        }
    free(upstream);
    curl_global_cleanup();
}
