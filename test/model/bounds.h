/* Bounds of the exploration by name, for the command line and for reports. */
#ifndef PAYRING_TEST_MODEL_BOUNDS_H
#define PAYRING_TEST_MODEL_BOUNDS_H

#include <stdbool.h>
#include <stdio.h>

#include "test/model/model.h"

/* Reads "ids=2 crashes=1 young=1"; what is not named keeps its value. false: a name or value that
 * the model cannot hold, after saying so on stderr. */
bool model_bounds_parse(struct model_bounds *bounds, const char *text);

/* One line: those that are not 0. */
void model_bounds_print(const struct model_bounds *bounds, FILE *file);

/* The names, with the least and greatest value and what they mean. */
void model_bounds_help(FILE *file);

#endif
