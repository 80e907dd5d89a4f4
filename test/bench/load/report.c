#include "test/bench/load/report.h"

#include "test/lib/client/clock.h"

#include <inttypes.h>

static void write_statuses(const struct load_results *results, FILE *out)
{
    const char *comma = "";
    fputs("\"statuses\":{", out);
    for (unsigned status = 0; status < LOAD_STATUS_MAX; status++) {
        if (results->statuses[status] == 0)
            continue;
        fprintf(out, "%s\"%u\":%" PRIu64, comma, status, results->statuses[status]);
        comma = ",";
    }
    fputc('}', out);
}

static void write_histogram(const char *name, const struct histogram *histogram, FILE *out)
{
    fprintf(out, ",\"%s\":", name);
    histogram_write(histogram, out);
}

static uint64_t answered(const struct load_results *results)
{
    uint64_t sum = 0;
    for (unsigned status = 0; status < LOAD_STATUS_MAX; status++)
        sum += results->statuses[status];
    return sum;
}

void report_write(const struct load_settings *settings, const struct load_results *results,
                  FILE *out)
{
    const struct schedule *schedule = &settings->schedule;
    uint64_t failures = results->timeouts + results->lost + results->unanswered;
    uint64_t done = answered(results);
    fprintf(out,
            "{\"seed\":%" PRIu64 ",\"rate_first\":%g,\"rate_last\":%g,\"seconds\":%g,"
            "\"connections\":%u,\"scheduled\":%" PRIu64 ",\"sent\":%" PRIu64 ",\"unsent\":%" PRIu64
            ",\"answered\":%" PRIu64 ",",
            settings->plan.seed, schedule->first_per_s, schedule->last_per_s, schedule->duration_s,
            settings->connection_count, results->scheduled, results->sent, results->unsent, done);
    write_statuses(results, out);
    fprintf(out,
            ",\"failures\":%" PRIu64 ",\"timeouts\":%" PRIu64 ",\"lost\":%" PRIu64
            ",\"unanswered\":%" PRIu64 ",\"connect_failures\":%" PRIu64
            ",\"told_to_close\":%" PRIu64 ",\"closed_idle\":%" PRIu64
            ",\"achieved_per_s\":%.1f,\"waited_for_connection\":%" PRIu64
            ",\"cpu_us_per_request\":%.2f,\"cpu_share\":%.3f",
            failures, results->timeouts, results->lost, results->unanswered,
            results->connect_failures, results->told_to_close, results->closed_idle,
            (double)results->answered_in_time / schedule->duration_s, results->waited,
            done ? (double)results->cpu_ns / (double)NS_PER_US / (double)done : 0.0,
            results->took_ns ? (double)results->cpu_ns / (double)results->took_ns : 0.0);
    write_histogram("latency_us", &results->latency, out);
    write_histogram("service_us", &results->service, out);
    write_histogram("refused_us", &results->refused, out);
    write_histogram("send_delay_us", &results->send_delay, out);
    write_histogram("generator_lag_us", &results->lag, out);
    fputs("}\n", out);
}
