/* SPDX-License-Identifier: BSD-3-Clause */
/* Texts that people give. */
#ifndef VMQ_UTIL_TEXT_H
#define VMQ_UTIL_TEXT_H

#include <stdbool.h>

/** Whether a UTF-8 text has a control character: C0, DEL, or C1. */
bool text_has_control(const char *text);

#endif
