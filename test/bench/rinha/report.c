#include "test/bench/rinha/report.h"

#include "test/bench/rinha/score.h"

#include <inttypes.h>

static const char *const NAME[PROCESSORS] = {"default", "fallback"};

static int64_t p99_us(const struct histogram *histogram)
{
    return histogram_percentile(histogram, 99000) / NS_PER_US;
}

static void write_latencies(const struct tally *tally, FILE *out)
{
    const struct {
        const char *name;
        const struct histogram *histogram;
    } parts[] = {{"all_successful_us", &tally->all},
                 {"posts_us", &tally->posts},
                 {"posts_with_connect_us", &tally->with_connect},
                 {"connects_us", &tally->connects},
                 {"generator_lag_us", &tally->lag}};
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
        fprintf(out, ",\n  \"%s\": ", parts[i].name);
        histogram_write(parts[i].histogram, out);
    }
}

static void write_posts(const struct tally *tally, FILE *out)
{
    fprintf(out,
            ",\n  \"accepted\": %" PRIu64 ",\n  \"failures\": %" PRIu64
            ",\n  \"failures_by_kind\": {\"refused\":%" PRIu64 ",\"timed_out\":%" PRIu64
            ",\"lost\":%" PRIu64 ",\"not_connected\":%" PRIu64 "}",
            tally->accepted, tally_failures(tally), tally->refused, tally->failures[CALL_TIMED_OUT],
            tally->failures[CALL_LOST], tally->failures[CALL_REFUSED]);
}

static void write_audit(const struct audit *audit, FILE *out)
{
    const struct answers *answers = &audit->answers;
    fprintf(out, "\n    {\"at_s\":%.3f,\"inconsistencies\":%" PRId64, audit->at_s,
            inquiry_inconsistency(answers));
    for (unsigned i = 0; i < PROCESSORS; i++)
        fprintf(out, ",\"%s\":{\"processor\":%" PRId64 ",\"gateway\":%" PRId64 "}", NAME[i],
                answers->processors[i].requests, answers->gateway[i].requests);
    fputs(",\"failed_calls\":[", out);
    const char *comma = "";
    for (unsigned i = 0; i < PROCESSORS; i++) {
        if (!answers->processor_failed[i])
            continue;
        fprintf(out, "\"%s\"", NAME[i]);
        comma = ",";
    }
    fprintf(out, "%s]}", answers->gateway_failed ? (*comma ? ",\"gateway\"" : "\"gateway\"") : "");
}

static void write_audits(const struct director *director, FILE *out)
{
    const char *comma = "";
    fputs(",\n  \"audits\": [", out);
    for (unsigned i = 0; i < AUDITS; i++) {
        if (!director->audits[i].made)
            continue;
        fputs(comma, out);
        write_audit(&director->audits[i], out);
        comma = ",";
    }
    fputs("\n  ]", out);
}

static void write_differences(const struct settings *settings, FILE *out)
{
    fputs(
        ",\n  \"differs_from_the_original\": [\n"
        "    \"not k6 but a program of one thread makes the calls\",\n"
        "    \"a latency counts from when the call was due, not from when it was sent; "
        "connecting is left out, as in k6, and reported apart\",\n"
        "    \"p99 comes from a histogram: up to 0.8 % too high, never too low\",\n"
        "    \"audits begin at 0, 10, ... s; the original sleeps 10 s between them and drifts\",\n"
        "    \"inconsistencies are |difference at default + difference at fallback|; "
        "inconsistencies_each adds their absolute values, as published versions of the script "
        "do\",\n"
        "    \"the processors' token is used and never changed\",\n",
        out);
    if (settings->seconds < PUBLIC_SECONDS || settings->seconds > PUBLIC_SECONDS ||
        settings->users != PUBLIC_USERS)
        fprintf(out,
                "    \"%g s and %u users instead of %d and %d; the times of stages and audits are "
                "scaled, their delays and windows are not\",\n",
                settings->seconds, settings->users, PUBLIC_SECONDS, PUBLIC_USERS);
    fputs("    \"the processors may be stand-ins; limits of processor time and memory are not "
          "applied here\"\n  ]",
          out);
}

static struct score score_of(const struct tally *tally, const struct director *director)
{
    const struct answers *totals = &director->inquiry.answers;
    struct score score = {.accepted = (int64_t)tally->accepted, .p99_us = p99_us(&tally->all)};
    for (unsigned i = 0; i < PROCESSORS; i++) {
        score.requests[i] = totals->processors[i].requests;
        score.cents[i] = totals->processors[i].cents;
        score.fee[i] = totals->processors[i].fee;
    }
    for (unsigned i = 0; i < AUDITS; i++)
        score.inconsistencies += inquiry_inconsistency(&director->audits[i].answers);
    score_compute(&score);
    return score;
}

static void write_score(const struct score *score, const struct director *director, FILE *out)
{
    int64_t each = 0;
    for (unsigned i = 0; i < AUDITS; i++)
        each += inquiry_inconsistency_each(&director->audits[i].answers);
    fprintf(out,
            "{\n  \"score\": %.2f,\n  \"total_amount\": %.2f,\n  \"total_fees\": %.2f,\n"
            "  \"p99_ms\": %.2f,\n  \"bonus\": %.2f,\n  \"fine\": %.2f,\n"
            "  \"inconsistencies\": %" PRId64 ",\n  \"inconsistencies_each\": %" PRId64
            ",\n  \"lag\": %" PRId64 ",\n  \"disqualified\": %s",
            score->value, score->total_amount, score->total_fees, score->p99_ms, score->bonus,
            score->fine, score->inconsistencies, each, score->lag,
            score->disqualified ? "true" : "false");
    const struct book *gateway = director->inquiry.answers.gateway;
    for (unsigned i = 0; i < PROCESSORS; i++)
        fprintf(out,
                ",\n  \"%s\": {\"requests\":%" PRId64 ",\"amount\":%.2f,\"fee\":%g,\"fees\":%.2f,"
                "\"gateway_requests\":%" PRId64 ",\"gateway_amount\":%.2f}",
                NAME[i], score->requests[i], (double)score->cents[i] / 100.0, score->fee[i],
                score->fees[i], gateway[i].requests, (double)gateway[i].cents / 100.0);
}

static void write_settings(const struct settings *settings, FILE *out)
{
    fprintf(out, ",\n  \"seconds\": %g,\n  \"users\": %u,\n  \"seed\": %" PRIu64, settings->seconds,
            settings->users, settings->seed);
}

void report_write(const struct settings *settings, const struct tally *tally,
                  const struct director *director, FILE *out)
{
    struct score score = score_of(tally, director);
    write_score(&score, director, out);
    fprintf(out, ",\n  \"gateway_purge_status\": %d", director->gateway_purge_status);
    write_posts(tally, out);
    write_settings(settings, out);
    write_audits(director, out);
    write_latencies(tally, out);
    write_differences(settings, out);
    fputs("\n}\n", out);
}

void report_write_load(const struct settings *settings, const struct tally *tally, FILE *out)
{
    struct score score = {.p99_us = p99_us(&tally->all)};
    score_compute(&score);
    fprintf(out, "{\n  \"p99_ms\": %.2f,\n  \"bonus\": %.2f", score.p99_ms, score.bonus);
    write_posts(tally, out);
    write_settings(settings, out);
    write_latencies(tally, out);
    fputs("\n}\n", out);
}
