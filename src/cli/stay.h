/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that stay until they are told to go: a loop, SIGTERM and SIGINT (end in order; a second one ends at once),
 * SIGHUP (read the settings anew), and what a service manager is told. */
#ifndef TL_CLI_STAY_H
#define TL_CLI_STAY_H

#include "cli/cli.h"
#include "server/notify.h"

#include <uv.h>

struct tl_stay {
    struct tl_cli *cli;
    uv_loop_t loop;
    const char *name; /* for the log */
    /* Ends everything on the loop; then tl_stay_over must be called. */
    void (*end)(void *ctx);
    /* The new settings [borrow: until the next, or until tl_stay_run returns]; on failure the old ones are still used.
     */
    enum tl_status (*reload)(void *ctx, const struct tl_config *, struct tl_err *err);
    void *ctx;
    /* its own */
    uv_signal_t signals[3];
    uv_timer_t watchdog;
    struct tl_notify notify;
    struct tl_config *fresh; /* [own] */
    bool ending;
};

TL_MUSTCHECK enum tl_status tl_stay_init(struct tl_stay *, struct tl_cli *, const char *name, struct tl_err *err);
/* Everything is open: says so, and runs until it is over. status: a line for the service manager. */
TL_MUSTCHECK enum tl_status tl_stay_run(struct tl_stay *, const char *status, struct tl_err *err);
void tl_stay_over(void *stay);
/* After init, whether or not it ran. */
void tl_stay_release(struct tl_stay *);

#endif
