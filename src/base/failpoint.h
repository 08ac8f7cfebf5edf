/* SPDX-License-Identifier: Apache-2.0 */
/* Places where a test may end, stop or delay the process: only in builds with -Dfailpoints=true, nothing otherwise.
 * TL_FAILPOINT=NAME=ACTION[@N]: at the N-th time (1) that NAME is passed; actions: kill, stop, sleepMS. */
#ifndef TL_BASE_FAILPOINT_H
#define TL_BASE_FAILPOINT_H

#ifdef TL_FAILPOINTS
void tl_failpoint(const char *name);
#define TL_FAILPOINT(name) tl_failpoint(name)
#else
#define TL_FAILPOINT(name) ((void)0)
#endif

#endif
