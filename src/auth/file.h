/* SPDX-License-Identifier: Apache-2.0 */
/* Files that hold secrets or decide about access: read whole, within a bound, and only when nobody else could have
 * read or written them. Inside src/auth only. */
#ifndef TL_AUTH_FILE_H
#define TL_AUTH_FILE_H

#include "base/buf.h"

#include <sys/stat.h>

enum tl_file_kind {
    TL_FILE_SECRET, /* the group may read it, others nothing */
    TL_FILE_PUBLIC, /* anybody may read it */
};

/* Neither kind may be writable by group or others. NOT_FOUND, DENIED, TOO_LARGE, IO, INVALID (no regular file); file
 * is in the error. */
TL_MUSTCHECK enum tl_status tl_file_open(const char *path, enum tl_file_kind, int flags, int *fd, struct stat *,
                                         struct tl_err *err);
/* `out` is initialised by the caller, its maximum is the bound; the caller wipes and releases it. */
TL_MUSTCHECK enum tl_status tl_file_read_fd(int fd, const char *path, struct tl_buf *out, struct tl_err *err);
TL_MUSTCHECK enum tl_status tl_file_read(const char *path, enum tl_file_kind, struct tl_buf *out, struct stat *,
                                         struct tl_err *err);
/* Overwrites what the buffer held and releases it. */
void tl_file_wipe(struct tl_buf *);

/* tl_fail_errno with the file's name as the place. */
enum tl_status tl_file_fail(struct tl_err *err, const char *path, int errnum, const char *what);

#endif
