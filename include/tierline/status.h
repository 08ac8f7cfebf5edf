/* SPDX-License-Identifier: Apache-2.0 */
/* Statuses and error detail, shared by every call of the library. */
#ifndef TIERLINE_STATUS_H
#define TIERLINE_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TL_API               __attribute__((visibility("default")))
#define TL_MUSTCHECK         __attribute__((warn_unused_result))
#define TL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define TL_API
#define TL_MUSTCHECK
#define TL_PRINTF(fmt, args)
#endif

enum tl_status {
#define X(name, num, text, http, exit, retry) TL_##name = (num),
#include <tierline/status.tbl.h>
#undef X
};

/* Detail of a failure. Every fallible call takes one as an optional (may be NULL) last parameter and
 * fills it only when it fails. Never holds credentials. */
struct tl_err {
    enum tl_status status;
    int native;      /* errno, SQLite code, ...; 0 when there is none */
    char file[160];  /* the INPUT that is at fault, "" when there is none */
    uint64_t line;   /* 1-based line in `file`, 0 when there is none */
    uint32_t column; /* 1-based column (field) in `line`, 0 when there is none */
    char text[320];  /* what is wrong, with the offending value; no trailing newline */
};

/* Short text of a status ("too few bars"); "unknown status" for a number that is none. Never NULL. */
TL_API const char *tl_status_text(enum tl_status);
/* Upper-case name of a status ("TOO_FEW_BARS"). Never NULL. */
TL_API const char *tl_status_name(enum tl_status);
TL_API int tl_status_http(enum tl_status);
TL_API int tl_status_exit(enum tl_status);
TL_API bool tl_status_retry(enum tl_status);

#ifdef __cplusplus
}
#endif
#endif
