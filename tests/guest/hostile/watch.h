/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest that looks at all of its memory, again and again. */
#ifndef HOSTILE_WATCH_H
#define HOSTILE_WATCH_H

#include "guest.h"

/* What a test reads while it runs. */
enum {
	PROGRESS_FRAMES,  /* taken */
	PROGRESS_SCANS,   /* of all memory */
	PROGRESS_ALIEN,   /* scans that found a byte where none of its frames is */
	PROGRESS_MARKED,  /* scans that found the mark that others' frames carry */
	PROGRESS_WORDS,
};

volatile uint64_t *progress_open(void);

/**
 * Until told to stop. Memory is filled with a pattern; all receive buffers are offered once and none comes back. A
 * scan finds the mark wherever it is; the last one also finds every byte that is neither the pattern nor in one of
 * the frames that it got.
 */
void watch_memory(struct guest *guest);

#endif
