/* The calls under /admin/ that tests use. The token has been checked. */
#ifndef PROCESSOR_ADMIN_H
#define PROCESSOR_ADMIN_H

#include "test/processor/processor.h"

/* The real processor's own. */
void admin_get_summary(struct processor *processor, struct request *request);
void admin_put_token(struct processor *processor, struct request *request);
void admin_put_delay(struct processor *processor, struct request *request);
void admin_put_failure(struct processor *processor, struct request *request);
void admin_purge(struct processor *processor, struct request *request);

/* This stand-in's. */
void admin_get_payments(struct processor *processor, struct request *request);
void admin_get_seen(struct processor *processor, struct request *request,
                    const struct payment_id *id);
void admin_get_stats(struct processor *processor, struct request *request);
void admin_reset_stats(struct processor *processor, struct request *request);
void admin_get_misbehave(struct processor *processor, struct request *request);
void admin_put_misbehave(struct processor *processor, struct request *request);

#endif
