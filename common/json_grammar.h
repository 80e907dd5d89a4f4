/* The grammar of JSON (RFC 8259), and nothing but it. json-c reads values well but, even when told
 * to be strict, takes texts that are not JSON: NaN, leading zeros, single quotes, bytes that are
 * not UTF-8. So a text is checked here before json-c sees it. */
#ifndef PAYRING_JSON_GRAMMAR_H
#define PAYRING_JSON_GRAMMAR_H

#include <stddef.h>

/* NULL: the text is one JSON object, with white space around it at most; *members is set to the
 * number of its own members as spelled, copies included. Otherwise what is wrong: a constant of
 * plain ASCII without quotes.
 *
 * Stricter than the grammar in two points: arrays and objects within each other go depth_max
 * levels down, the outermost being the first; and a string must not contain a NUL, not as \u0000
 * either, because json-c keeps names as C strings and would end them there.
 */
const char *json_grammar_check_object(const char *text, size_t length, unsigned depth_max,
                                      size_t *members);

#endif
