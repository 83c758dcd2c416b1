/* Why a request was refused: one sentence for a person, beside the errno for the program. Control thread only. */
#ifndef VMQ_UTIL_REFUSAL_H
#define VMQ_UTIL_REFUSAL_H

struct refusal {
	char text[320];
};

/**
 * Write the sentence and return the error, so that `return refuse(why, -ENOENT, ...)` reads as one step.
 *
 * @param why  where the sentence goes; NULL if nobody wants it.
 * @return error, unchanged.
 */
int refuse(struct refusal *why, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
