/* SPDX-License-Identifier: Apache-2.0 */
/* Filling in struct tl_err. Both return `status`, so that a failing path is one line. */
#ifndef TL_BASE_ERR_H
#define TL_BASE_ERR_H

#include <tierline/status.h>

/* err may be NULL. Overwrites every field. */
enum tl_status tl_fail(struct tl_err *err, enum tl_status status, const char *fmt, ...) TL_PRINTF(3, 4);
/* The same with the position in the input. file may be NULL. */
enum tl_status tl_fail_at(struct tl_err *err, enum tl_status status, const char *file, uint64_t line, uint32_t column,
                          const char *fmt, ...) TL_PRINTF(6, 7);
/* From errno: ENOENT -> NOT_FOUND, EACCES/EPERM -> DENIED, ENOSPC/EDQUOT -> FULL, ENOMEM -> NOMEM, else IO.
 * The text ends with ": <strerror>". */
enum tl_status tl_fail_errno(struct tl_err *err, int errnum, const char *fmt, ...) TL_PRINTF(3, 4);
/* "file:line:column: text" (the parts that are there) into out, always terminated. */
void tl_err_format(const struct tl_err *err, char *out, size_t cap);

#endif
