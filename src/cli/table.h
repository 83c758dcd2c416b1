/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables of answers that are arrays of objects: which columns, from where in the object, written how. */
#ifndef VMQ_CLI_TABLE_H
#define VMQ_CLI_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Ids that vmqd gives to the queues that are always there. */
enum {
	TABLE_QUEUE_DEFAULT = 0,
	TABLE_QUEUE_DROP = 0xffff,
};

struct table;

/** The table of a method's answer. @return NULL it has none. */
const struct table *table_by_method(const char *method);

/** Print the rows on standard output; nothing if there are none. @return 0; -ENOMEM. */
int table_print(const struct table *table, const json_t *rows);

/** The rows as lines, heads first, for a terminal of so many columns. @return the caller's to free; NULL: no memory. */
char *table_text(const struct table *table, const json_t *rows, int columns);

enum { RATE_TEXT_SIZE = 16 };

/** A number in three digits: 999, 1.5k, 47M. */
void rate_format(json_int_t number, char text[RATE_TEXT_SIZE]);

/** A value as people read it: on, off, `-` for nothing, lists with commas. */
void value_print(FILE *out, const json_t *value);

#endif
