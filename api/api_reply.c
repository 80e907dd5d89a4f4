#include "api/api_reply.h"

static const char *reason_of(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 202:
        return "Accepted";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

static void reply(h2o_req_t *req, int status, const char *body, size_t length)
{
    static h2o_generator_t whole = {NULL, NULL};
    h2o_iovec_t text = h2o_iovec_init(body, length);
    bool is_head = h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));
    bool has_body = length > 0 && !is_head;

    /* libh2o decides that when a request comes in; this one may have come before the stop. */
    if (req->conn->ctx->shutdown_requested)
        req->http1_is_persistent = 0;
    req->res.status = status;
    req->res.reason = reason_of(status);
    req->res.content_length = length;
    h2o_start_response(req, &whole);
    h2o_send(req, &text, has_body, H2O_SEND_STATE_FINAL);
}

void api_reply_empty(h2o_req_t *req, int status)
{
    reply(req, status, NULL, 0);
}

void api_reply_json(h2o_req_t *req, int status, const char *body, size_t length)
{
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                   H2O_STRLIT("application/json"));
    reply(req, status, body, length);
}

void api_reply_text(h2o_req_t *req, int status, const char *body, size_t length)
{
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                   H2O_STRLIT("text/plain"));
    reply(req, status, body, length);
}

/* What is not printable ASCII cannot be trusted to be UTF-8 either. */
static char *put_escaped(char *to, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            *to++ = '\\';
        *to++ = *text < ' ' || *text > '~' ? '?' : *text;
    }
    return to;
}

static char *put(char *to, const char *text)
{
    size_t length = strlen(text);
    memcpy(to, text, length);
    return to + length;
}

void api_reply_error(h2o_req_t *req, int status, const char *error, const char *field)
{
    size_t most = sizeof "{\"error\":\"\",\"field\":\"\"}" + 2 * strlen(error) +
                  (field != NULL ? 2 * strlen(field) : 0);
    char *body = h2o_mem_alloc_pool(&req->pool, most);
    char *end = put_escaped(put(body, "{\"error\":\""), error);

    if (field != NULL)
        end = put_escaped(put(end, "\",\"field\":\""), field);
    end = put(end, "\"}");
    api_reply_json(req, status, body, (size_t)(end - body));
}

void api_reply_unavailable(const struct api *api, h2o_req_t *req, const char *error)
{
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_RETRY_AFTER, NULL, api->retry_after,
                   strlen(api->retry_after));
    api_reply_error(req, 503, error, NULL);
}

void api_reply_not_allowed(h2o_req_t *req, const char *allow)
{
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_ALLOW, NULL, allow, strlen(allow));
    api_reply_error(req, 405, "this method is not allowed here", NULL);
}
