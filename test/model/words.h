/* A trace in words. */
#ifndef PAYRING_TEST_MODEL_WORDS_H
#define PAYRING_TEST_MODEL_WORDS_H

#include <stddef.h>

#include "test/model/model.h"
#include "worker/payment_protocol.h"

struct text {
    char line[1024]; /* cut when it is full */
    size_t length;
};

/* Append; nothing if text is NULL. */
void say(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

const char *say_id(unsigned id);
const char *say_processor(unsigned processor);
void say_move(struct text *text, const struct model_state *from, struct model_move move);
void say_store(struct text *text, const struct payment_store *store);
void say_state(struct text *text, const struct model_state *state);

#endif
