/* payringctl export: the rows that count, as a summary of the same moment would add them up. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/money.h"
#include "shm/shm_archive.h"
#include "shm/shm_payments.h"
#include "shm/shm_show.h"
#include "worker/ctl.h"

#define TEMPORARY_SUFFIX ".XXXXXX"

/* Whose a row is, as far as a record still tells. */
struct owner {
    uint64_t row;
    struct uuid id;
};

struct owners {
    struct owner *all; /* by row */
    size_t count, next;
};

struct export
{
    const struct ctl *ctl;
    const struct shm_region *region;
    FILE *out;
    struct shm_totals totals; /* written */
};

/* --------------------------------------------------------------- who is whose */

static int by_row(const void *left, const void *right)
{
    const struct owner *a = left, *b = right;
    return (a->row > b->row) - (a->row < b->row);
}

/* false: no memory. A record that is used again meanwhile is missed, which is no error: ids are
 * told as far as they are kept. */
static bool find_owners(const struct shm_region *region, unsigned lane, struct owners *owners)
{
    struct shm_payments payments;
    struct shm_payment_snapshot s;
    uint64_t row;
    shm_payments_open(&payments, region, lane);
    *owners = (struct owners){.all = calloc(payments.slots, sizeof *owners->all)};
    if (!owners->all)
        return false;
    for (uint32_t i = 0; i < payments.slots; i++)
        if (shm_payments_read(&payments, i, &s) && s.state == PAYMENT_SETTLED &&
            shm_ledger_find_named(region, lane, s.row_name, &row))
            owners->all[owners->count++] = (struct owner){row, s.id};
    qsort(owners->all, owners->count, sizeof *owners->all, by_row);
    return true;
}

/* Rows are asked for in their order. */
static const struct uuid *owner_of(struct owners *owners, uint64_t row)
{
    while (owners->next < owners->count && owners->all[owners->next].row < row)
        owners->next++;
    return owners->next < owners->count && owners->all[owners->next].row == row
               ? &owners->all[owners->next].id
               : NULL;
}

/* -------------------------------------------------------------------- writing */

static void put_row(struct export *export, unsigned lane, uint64_t number,
                    const struct shm_row *row, const struct uuid *id)
{
    char amount[MONEY_TEXT_SIZE], time[ISO8601_TEXT_SIZE], owner[UUID_TEXT_LENGTH + 1] = "";
    const char *processor = shm_show_processor_name(row->processor);
    money_format_cents(amount, row->amount_cents);
    ctl_format_us(time, row->requested_at_us);
    if (id)
        uuid_format(owner, id);
    if (export->ctl->format == CTL_FORMAT_JSONL)
        fprintf(export->out,
                "{\"lane\":%u,\"row\":%" PRIu64 ",\"processor\":\"%s\",\"amount\":%s,"
                "\"requestedAt\":\"%s\",\"correlationId\":%s%s%s}\n",
                lane, number, processor, amount, time, id ? "\"" : "", id ? owner : "null",
                id ? "\"" : "");
    else
        fprintf(export->out, "%u,%" PRIu64 ",%s,%s,%s,%s\n", lane, number, processor, amount, time,
                owner);
    export->totals.payments[row->processor]++;
    export->totals.sum_cents[row->processor] += (unsigned __int128)row->amount_cents;
}

static enum status put_lane(struct export *export, unsigned lane, const struct shm_extent *extent,
                            struct explain *why)
{
    enum status status = STATUS_OK;
    const struct shm_window *window = &export->ctl->window;
    struct owners owners;
    if (!find_owners(export->region, lane, &owners))
        return explain(why, STATUS_SYSTEM, "out of memory for the ids of lane %u", lane);
    for (uint64_t at = extent->first; at < extent->end && !ferror(export->out); at++) {
        struct shm_row row;
        unsigned words;
        status = shm_ledger_read_or_say(export->region, lane, at, &row, &words, why);
        if (status != STATUS_OK)
            break;
        if (words > 0 && row.requested_at_us >= window->from_us &&
            row.requested_at_us <= window->to_us)
            put_row(export, lane, at, &row, owner_of(&owners, at));
    }
    free(owners.all);
    return status;
}

static enum ctl_exit put_all(struct export *export)
{
    struct shm_extent extents[SHM_LANES_MAX];
    struct explain why = {{0}};
    if (shm_ledger_extents(export->region, extents) != STATUS_OK)
        return ctl_complain(CTL_FAILED, "purges keep changing what is to be exported");
    if (export->ctl->format != CTL_FORMAT_JSONL)
        fputs("lane,row,processor,amount,requestedAt,correlationId\n", export->out);
    for (unsigned lane = 0; lane < export->region->geometry.lanes; lane++)
        if (put_lane(export, lane, &extents[lane], &why) != STATUS_OK)
            return ctl_complain(CTL_FAILED, "%s", why.text);
    return ctl_finish(export->out, CTL_DONE);
}

/* ----------------------------------------------------------------------- file */

static enum ctl_exit tell(const struct export *export)
{
    char sums[SHM_PROCESSORS][MONEY_SUM_TEXT_SIZE];
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        money_format_sum128(sums[p], export->totals.sum_cents[p]);
    printf("%s: default %" PRIu64 " payments, %s; fallback %" PRIu64 " payments, %s\n",
           export->ctl->output, export->totals.payments[0], sums[0], export->totals.payments[1],
           sums[1]);
    return ctl_finish(stdout, CTL_DONE);
}

/* Under another name until it is whole and on the disk. Readable for its owner alone: it is about
 * money. */
static enum ctl_exit put_file(struct export *export, char *temporary)
{
    const char *path = export->ctl->output;
    int fd = mkstemp(temporary);
    export->out = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!export->out) {
        enum ctl_exit result =
            ctl_complain(CTL_FAILED, "%s cannot be created: %s", temporary, strerror(errno));
        if (fd >= 0)
            close(fd);
        return result;
    }
    enum ctl_exit result = put_all(export);
    if (result == CTL_DONE && fsync(fd) != 0)
        result = ctl_complain(CTL_FAILED, "%s cannot be written: %s", temporary, strerror(errno));
    if (fclose(export->out) != 0 && result == CTL_DONE)
        result = ctl_complain(CTL_FAILED, "%s cannot be written: %s", temporary, strerror(errno));
    if (result == CTL_DONE && rename(temporary, path) != 0)
        result =
            ctl_complain(CTL_FAILED, "%s cannot be named %s: %s", temporary, path, strerror(errno));
    if (result != CTL_DONE)
        unlink(temporary);
    return result == CTL_DONE ? tell(export) : result;
}

static enum ctl_exit export_to_file(struct export *export)
{
    size_t size = strlen(export->ctl->output) + sizeof TEMPORARY_SUFFIX;
    char *temporary = malloc(size);
    if (!temporary)
        return ctl_complain(CTL_FAILED, "out of memory for a name");
    snprintf(temporary, size, "%s" TEMPORARY_SUFFIX, export->ctl->output);
    enum ctl_exit result = put_file(export, temporary);
    free(temporary);
    return result;
}

enum ctl_exit ctl_export(struct ctl *ctl)
{
    struct explain why;
    struct shm_region region;
    struct export export = {.ctl = ctl, .region = &region, .out = stdout};
    if (shm_region_attach_read_only(&region, ctl->config->region, &why) != STATUS_OK)
        return ctl_complain(CTL_FAILED, "%s", why.text);
    if (shm_archive_open(&region, ctl->config->state_dir, &why) != STATUS_OK) {
        shm_region_detach(&region);
        return ctl_complain(CTL_FAILED, "%s", why.text);
    }
    enum ctl_exit result = ctl->output ? export_to_file(&export) : put_all(&export);
    shm_archive_close(&region);
    shm_region_detach(&region);
    return result;
}
