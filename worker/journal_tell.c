#include "worker/journal_tell.h"

#include "worker/journal_step.h"

uint64_t journal_tell(struct journal *journal, uint32_t record, const struct payment_view *before,
                      const struct payment_event *event, const struct payment_step *step,
                      uint64_t row_count)
{
    struct journal_payment image;
    enum journal_kind kind = journal_step_image(&image, before, event, step, row_count);
    return kind == JOURNAL_NOTHING ? 0 : journal_append(journal, kind, &image, record);
}
