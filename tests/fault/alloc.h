/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that runs out at a chosen allocation. Linked with --wrap for malloc, calloc and realloc, so it covers the
 * project's own code and not the C library or other shared ones. Any thread. */
#ifndef TL_TESTS_FAULT_ALLOC_H
#define TL_TESTS_FAULT_ALLOC_H

#include <stdbool.h>

/* The n-th allocation from now on fails (0: the next one), once. < 0: none. */
void fault_alloc_arm(long n);
/* Whether one has failed since; disarms. */
bool fault_alloc_disarm(void);

#endif
