/* SPDX-License-Identifier: Apache-2.0 */
/* logfmt on stderr: `ts level module event key=value ...`. One write(2) a line, so lines of several
 * threads never mix. Never pass credentials. */
#ifndef TL_BASE_LOG_H
#define TL_BASE_LOG_H

#include <tierline/status.h>

enum tl_log_level { TL_LOG_DEBUG, TL_LOG_INFO, TL_LOG_WARN, TL_LOG_ERROR, TL_LOG_OFF };

struct tl_log {
    enum tl_log_level level; /* lines below it are dropped */
    int fd;
};

/* `log` may be NULL: nothing is written. `event` is lower case, the problem first; fmt gives "key=value ..." or "". */
void tl_log(const struct tl_log *log, enum tl_log_level level, const char *module, const char *event, const char *fmt,
            ...) TL_PRINTF(5, 6);
/* "debug info warn error off" -> level; false when it is none. */
bool tl_log_level_parse(const char *name, enum tl_log_level *out);

#endif
