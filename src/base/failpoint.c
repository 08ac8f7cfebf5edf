/* SPDX-License-Identifier: Apache-2.0 */
/* The one failpoint that the environment names. Built with -Dfailpoints=true alone. */
#include "base/failpoint.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void tl_failpoint(const char *name)
{
    static atomic_long passed;
    const char *wanted = getenv("TL_FAILPOINT");
    size_t n = strlen(name);
    if (!wanted || strncmp(wanted, name, n) != 0 || wanted[n] != '=') return;
    const char *action = wanted + n + 1, *at = strchr(action, '@');
    if (atomic_fetch_add(&passed, 1) + 1 != (at ? strtol(at + 1, NULL, 10) : 1)) return;
    if (strncmp(action, "kill", 4) == 0) {
        raise(SIGKILL);
    } else if (strncmp(action, "stop", 4) == 0) {
        raise(SIGSTOP);
    } else if (strncmp(action, "sleep", 5) == 0) {
        long ms = strtol(action + 5, NULL, 10);
        nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
    }
}
