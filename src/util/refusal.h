/* SPDX-License-Identifier: BSD-3-Clause */
/* Why a request was refused: one sentence for a person, beside the errno for the program. Control thread only. */
#ifndef VMQ_UTIL_REFUSAL_H
#define VMQ_UTIL_REFUSAL_H

#include <stdbool.h>

struct refusal {
	char text[320];
	bool of_machine; /* the request is sound, and another machine, or this one later, could do it */
};

/**
 * Write the sentence and return the error, so that `return refuse(why, -ENOENT, ...)` reads as one step.
 *
 * @param why  where the sentence goes; NULL if nobody wants it.
 * @return error, unchanged.
 */
int refuse(struct refusal *why, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/** Mark a refusal as the machine's, in `return refusal_of_machine(why, refuse(why, ...))`. @return error, unchanged. */
int refusal_of_machine(struct refusal *why, int error);

#endif
