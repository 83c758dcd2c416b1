/* SPDX-License-Identifier: BSD-3-Clause */
/* The words of drop.h's rows. */
#include "frame/drop.h"

#include <assert.h>

struct drop_row {
	const char *word;
	const char *meaning;
};

#define DROP_ROW(name, word, text) [DROP_##name] = { #word, text },
static const struct drop_row rows[] = { DROP_REASONS(DROP_ROW) };
#undef DROP_ROW
static_assert(sizeof(rows) / sizeof(rows[0]) == DROP_REASON_COUNT, "one row per reason");

const char *
drop_reason_word(enum drop_reason reason)
{
	assert(reason < DROP_REASON_COUNT);
	return rows[reason].word;
}

const char *
drop_reason_meaning(enum drop_reason reason)
{
	assert(reason < DROP_REASON_COUNT);
	return rows[reason].meaning;
}
