/* SPDX-License-Identifier: Apache-2.0 */
/* Text of one setting to its value. Inside src/config only. */
#ifndef TL_CONFIG_VALUE_H
#define TL_CONFIG_VALUE_H

#include "base/buf.h"
#include "config/config.h"

/* Checks `text` against the type and range of `s`. canonical: the text to keep; number: INT, BYTES, DURATION, BOOL.
 * INVALID: text begins with the setting's name and has the offending value. */
TL_MUSTCHECK enum tl_status tl_setting_check(const struct tl_setting *s, struct tl_str text, struct tl_str *canonical,
                                             int64_t *number, struct tl_err *err);
/* Appends the specs of a [sets] text in canonical form to `out`, ";" between all. Empty pieces are skipped. */
TL_MUSTCHECK enum tl_status tl_set_check(const char *name, struct tl_str text, struct tl_buf *out, struct tl_err *err);
/* A [sessions] name and text. market: the canonical name. */
TL_MUSTCHECK enum tl_status tl_session_check(struct tl_str name, struct tl_str text, const char **market,
                                             struct tl_err *err);

#endif
