/* The gateways of other regions, asked for their own sums when a client wants the sums of all.
 *
 *   client ──▶ GET /payments-summary ─┬─▶ peer 1: GET /internal/summary ──▶ its own region's sums
 *                                     ├─▶ peer 2 ...
 *                                     └─▶ our own region, when all have answered
 *
 * A peer answers from its own region and asks nobody, so questions do not go round in circles.
 * Each question is a connection of its own: summaries are rare next to payments, and a connection
 * that is new cannot have been closed by the other side meanwhile.
 *
 * The connections are libh2o's sockets, but what is spoken on them is not left to its HTTP client.
 * h2o_http1client of 2.2 fails an assertion, and takes the process along, when an answer has a
 * Content-Length that is no number or a Transfer-Encoding other than chunked, and its reads go on
 * for as long as the other side sends. Here a peer can make us wait and read PEER_REPLY_SIZE
 * bytes, nothing more.
 */
#ifndef PAYRING_API_PEERS_H
#define PAYRING_API_PEERS_H

#include <h2o.h>

#include "api/api.h"
#include "api/peer_reply.h"
#include "shm/shm_ledger.h"

#define PEERS_PATH           "/internal/summary"
#define PEERS_SECRET_HEADER  "payring-peer-secret"
#define PEERS_VERSION_HEADER "payring-peer-version"

/* Summaries that may wait for peers at once; more are answered 503. */
#define PEERS_ASKING_MAX 64

/* Of peers that ask us; more wait in the listener's backlog. */
#define PEERS_CONNECTIONS_MAX 128

/* All have answered: the sums of the regions that are not ours. Answer the request now. */
typedef void peers_answered(struct api *, h2o_req_t *, const struct shm_window *,
                            const struct payment_summary *others);

/* Ask all peers of the settings for their sums over the window.
 *
 * Never waits itself. When all have answered, `answered` is called with the window and the sums;
 * when one cannot be reached, refuses or answers anything but sums, or PAYRING_PEER_TIMEOUT_MS of
 * monotonic time pass before, the request is answered 503 with the name of who is missing. Sums
 * without a region are never given for sums with it.
 * Owner:   everything lives in the request's pool and ends with it, whenever that is: nothing calls
 *          back for a request that has been answered or given up. (libh2o does not look whether an
 *          HTTP/1 client is still there before it answers it; the deadline bounds that.)
 * Threads: names are looked up by libh2o's thread for that, everything else is the loop's.
 */
void peers_ask(struct api *, h2o_req_t *, const struct shm_window *, peers_answered *answered);

#endif
