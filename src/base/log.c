/* SPDX-License-Identifier: Apache-2.0 */
/* The logfmt writer. A line is built on the stack and leaves by one write(2), so lines of several threads never mix;
 * what does not fit is cut with "...". A failed write is dropped: a log must never stop the work. errno is left as it
 * was, so a caller may log before it looks at it. */
#include "base/log.h"

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

static size_t put_time(char *out, size_t cap)
{
    int64_t ms = tl_clock_wall_ms(&tl_clock_system);
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(out, cap, "%Y-%m-%dT%H:%M:%S", &tm);
    return n + (size_t)snprintf(out + n, cap - n, ".%03dZ", (int)(ms % 1000));
}

void tl_log(const struct tl_log *log, enum tl_log_level level, const char *module, const char *event, const char *fmt,
            ...)
{
    if (!log || level < log->level || level >= TL_LOG_OFF) return;
    int saved = errno;
    char line[2048];
    size_t room = sizeof line - 1; /* the newline has its place */
    size_t n = put_time(line, room);
    int head = snprintf(line + n, room - n, " %s %s %s", level_names[level], module, event);
    n = head < 0 || (size_t)head >= room - n ? room - 1 : n + (size_t)head;
    if (fmt[0] && n + 2 < room) {
        line[n++] = ' ';
        va_list ap;
        va_start(ap, fmt);
        int made = vsnprintf(line + n, room - n, fmt, ap);
        va_end(ap);
        if (made < 0) made = 0;
        bool cut = (size_t)made >= room - n;
        n = cut ? room - 1 : n + (size_t)made;
        if (cut) memcpy(line + n - 3, "...", 3);
    }
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7F) line[i] = '?';
    line[n++] = '\n';
    ssize_t written;
    do written = write(log->fd, line, n);
    while (written < 0 && errno == EINTR);
    errno = saved;
}

bool tl_log_level_parse(const char *name, enum tl_log_level *out)
{
    for (size_t i = 0; i < TL_COUNT(level_names); i++) {
        if (!tl_str_ieq(tl_str(name), tl_str(level_names[i]))) continue;
        *out = (enum tl_log_level)i;
        return true;
    }
    return false;
}
