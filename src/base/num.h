/* SPDX-License-Identifier: Apache-2.0 */
/* Doubles as text: the shortest decimal that reads back to the same bits, and exact reading.
 * Locale-independent. */
#ifndef TL_BASE_NUM_H
#define TL_BASE_NUM_H

#include "base/str.h"

enum { TL_NUM_MAX = 32 };

/* Shortest round-trip text ("12.5", "1e-07", "nan", "inf", "-0"); writes at most TL_NUM_MAX bytes, no NUL.
 * Returns the length. */
size_t tl_num_format(char out[TL_NUM_MAX], double v);
/* The whole of `s` as a finite decimal ([-+]digits[.digits][e[-+]digits]); correctly rounded.
 * TL_NUM_BAD: not a number in this form (also "nan", "inf", hex, "").  TL_NUM_RANGE: would be infinite. */
enum tl_num_result { TL_NUM_OK, TL_NUM_BAD, TL_NUM_RANGE };
enum tl_num_result tl_num_parse(struct tl_str s, double *out);

#endif
