/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/offload.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define OFFLOAD_ROW(word, bit, needs) { #word, VM_OFFLOAD(bit), needs },
static const struct row {
	const char *word;
	uint64_t feature;
	uint64_t needs;
} rows[] = { VM_OFFLOADS(OFFLOAD_ROW) };
#undef OFFLOAD_ROW

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static void
add_word(char text[OFFLOADS_TEXT_SIZE], const char *word)
{
	const size_t length = strlen(text);

	snprintf(text + length, OFFLOADS_TEXT_SIZE - length, "%s%s", length ? "," : "", word);
}

static void
words_of(uint64_t offloads, char text[OFFLOADS_TEXT_SIZE])
{
	text[0] = '\0';
	for (int i = 0; i < ROWS; i++)
		if (offloads & rows[i].feature)
			add_word(text, rows[i].word);
}

static const struct row *
find_row(const char *word, size_t length)
{
	for (int i = 0; i < ROWS; i++)
		if (strlen(rows[i].word) == length && !strncmp(rows[i].word, word, length))
			return &rows[i];
	return NULL;
}

static int
check_needs(uint64_t offloads, struct refusal *why)
{
	char needed[OFFLOADS_TEXT_SIZE];

	for (int i = 0; i < ROWS; i++) {
		if (!(offloads & rows[i].feature) || !rows[i].needs || offloads & rows[i].needs)
			continue;
		words_of(rows[i].needs, needed);
		return refuse(why, -EINVAL, "offload %s does nothing without %s%s", rows[i].word,
			      strchr(needed, ',') ? "one of " : "", needed);
	}
	return 0;
}

int
offloads_parse(const char *text, uint64_t *offloads, struct refusal *why)
{
	char all[OFFLOADS_TEXT_SIZE];
	uint64_t found = 0;

	if (!strcmp(text, "on") || !strcmp(text, "off")) {
		*offloads = !strcmp(text, "on") ? VM_OFFLOADS_ALL : 0;
		return 0;
	}
	for (const char *word = text; word; word = strchr(word, ',') ? strchr(word, ',') + 1 : NULL) {
		const int length = (int)strcspn(word, ",");
		const struct row *row = find_row(word, (size_t)length);

		if (!row) {
			words_of(VM_OFFLOADS_ALL, all);
			return refuse(why, -EINVAL, "offload is on, off, or some of %s, not %.*s", all,
				      length > 32 ? 32 : length, word);
		}
		found |= row->feature;
	}
	if (check_needs(found, why))
		return -EINVAL;
	*offloads = found;
	return 0;
}

void
offloads_format(uint64_t offloads, char text[OFFLOADS_TEXT_SIZE])
{
	if (offloads == VM_OFFLOADS_ALL || !offloads)
		snprintf(text, OFFLOADS_TEXT_SIZE, "%s", offloads ? "on" : "off");
	else
		words_of(offloads, text);
}
