/* SPDX-License-Identifier: Apache-2.0 */
/* What every cmocka test includes, in the order cmocka needs, and where the real data lies. */
#ifndef TL_TESTS_SUPPORT_H
#define TL_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Path of `name` in the folder of real data (TIERLINE_SHARED, else ../shared beside the checkout: set by Meson);
 * NULL when it is not there, after saying so on stderr. Static storage. */
static inline const char *tl_test_shared(const char *name)
{
    static char path[1024];
    const char *root = getenv("TIERLINE_SHARED");
    if (!root) return NULL;
    snprintf(path, sizeof path, "%s/%s", root, name);
    if (access(path, R_OK) == 0) return path;
    fprintf(stderr, "not there: %s (skipped)\n", path);
    return NULL;
}

#endif
