/* SPDX-License-Identifier: Apache-2.0 */
/* Statuses and error detail. The functions of the table of statuses, and the writers of struct tl_err. A text is
 * formatted aside and then moved in, so that an error may quote the very struct that it overwrites; control bytes of
 * quoted input become '?', so that a text is always one line. errno is left as it was. Reports nothing anywhere:
 * that is the caller's choice. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct status_row {
    enum tl_status status;
    const char *name, *text;
    int http, exit;
    bool retry;
};

static const struct status_row rows[] = {
#define X(name, num, text, http, exit, retry) {TL_##name, #name, text, http, exit, retry},
#include <tierline/status.tbl.h>
#undef X
};

static const struct status_row unknown_row = {TL_INTERNAL, "UNKNOWN", "unknown status", 500, 70, false};

static const struct status_row *row_of(enum tl_status status)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].status == status) return &rows[i];
    return &unknown_row;
}

const char *tl_status_text(enum tl_status status)
{
    return row_of(status)->text;
}
const char *tl_status_name(enum tl_status status)
{
    return row_of(status)->name;
}
int tl_status_http(enum tl_status status)
{
    return row_of(status)->http;
}
int tl_status_exit(enum tl_status status)
{
    return row_of(status)->exit;
}
bool tl_status_retry(enum tl_status status)
{
    return row_of(status)->retry;
}

/* Copies at most cap - 1 bytes of one line; a cut never leaves half a UTF-8 sequence behind. */
static void copy_line(char *out, size_t cap, const char *in)
{
    size_t n = strlen(in);
    if (n >= cap) {
        n = cap - 1;
        while (n > 0 && ((unsigned char)in[n] & 0xC0) == 0x80) n--;
    }
    while (n > 0 && in[n - 1] == '\n') n--;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)in[i];
        out[i] = c < 0x20 || c == 0x7F ? '?' : in[i];
    }
    out[n] = '\0';
}

static enum tl_status fill(struct tl_err *err, enum tl_status status, int native, const char *file, uint64_t line,
                           uint32_t column, const char *text)
{
    char kept_file[sizeof err->file];
    copy_line(kept_file, sizeof kept_file, file ? file : "");
    memset(err, 0, sizeof *err);
    err->status = status;
    err->native = native;
    memcpy(err->file, kept_file, sizeof kept_file);
    err->line = line;
    err->column = column;
    copy_line(err->text, sizeof err->text, text);
    return status;
}

/* One byte more than fits, so that copy_line sees where a sequence is cut. */
enum { TEXT_MAX = sizeof((struct tl_err *)0)->text + 8 };

enum tl_status tl_fail(struct tl_err *err, enum tl_status status, const char *fmt, ...)
{
    if (!err) return status;
    int saved = errno;
    char text[TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fill(err, status, 0, NULL, 0, 0, text);
    errno = saved;
    return status;
}

enum tl_status tl_fail_at(struct tl_err *err, enum tl_status status, const char *file, uint64_t line, uint32_t column,
                          const char *fmt, ...)
{
    if (!err) return status;
    int saved = errno;
    char text[TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fill(err, status, 0, file, line, column, text);
    errno = saved;
    return status;
}

static enum tl_status status_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
        return TL_NOT_FOUND;
    case EACCES:
    case EPERM:
        return TL_DENIED;
    case ENOSPC:
    case EDQUOT:
        return TL_FULL;
    case ENOMEM:
        return TL_NOMEM;
    default:
        return TL_IO;
    }
}

enum tl_status tl_fail_errno(struct tl_err *err, int errnum, const char *fmt, ...)
{
    enum tl_status status = status_of_errno(errnum);
    if (!err) return status;
    int saved = errno;
    char reason[128], text[TEXT_MAX];
    const char *why = strerror_r(errnum, reason, sizeof reason); /* GNU's: a string, maybe not in the buffer */
    va_list ap;
    va_start(ap, fmt);
    int made = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    /* The reason is worth more than the end of a long text. */
    size_t room = sizeof err->text - 1, tail = strlen(why) + 2, at = made < 0 ? 0 : (size_t)made;
    if (at > sizeof text - 1) at = sizeof text - 1;
    if (at + tail > room) {
        at = room - tail;
        while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80) at--;
    }
    snprintf(text + at, sizeof text - at, ": %s", why);
    fill(err, status, errnum, NULL, 0, 0, text);
    errno = saved;
    return status;
}

void tl_err_format(const struct tl_err *err, char *out, size_t cap)
{
    if (cap == 0) return;
    char place[224] = "";
    size_t n = 0;
    if (err->file[0]) n += (size_t)snprintf(place + n, sizeof place - n, "%s:", err->file);
    if (err->line) n += (size_t)snprintf(place + n, sizeof place - n, "%llu:", (unsigned long long)err->line);
    if (err->column) n += (size_t)snprintf(place + n, sizeof place - n, "%lu:", (unsigned long)err->column);
    const char *text = err->text[0] ? err->text : tl_status_text(err->status);
    snprintf(out, cap, "%s%s%s", place, n > 0 ? " " : "", text);
}
