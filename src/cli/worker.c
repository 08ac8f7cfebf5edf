/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline worker`: a node that runs jobs and schedules and listens to nobody. */
#include "base/err.h"
#include "cli/commands.h"
#include "cli/stay.h"
#include "server/node.h"

#include <unistd.h>

enum { DRAIN_MS = 8000 };

struct worker {
    struct tl_stay stay;
    struct tl_node node;
};

static void end(void *ctx)
{
    struct worker *w = ctx;
    tl_node_close(&w->node, DRAIN_MS, tl_stay_over, &w->stay);
}

static enum tl_status reload(void *ctx, const struct tl_config *fresh, struct tl_err *err)
{
    return tl_node_configure(&((struct worker *)ctx)->node, fresh, err);
}

static void say_ready(const struct worker *w, const struct tl_err *redis, char *status, size_t cap)
{
    const struct tl_log *log = &w->stay.cli->log;
    struct tl_schedule_info s;
    size_t n = 0;
    while (tl_jobs_schedule(w->node.jobs, n, &s)) n++;
    if (redis->status != TL_OK) tl_log(log, TL_LOG_WARN, "worker", "Redis is not in use", "why=\"%s\"", redis->text);
    tl_log(log, TL_LOG_INFO, "worker", "ready", "pid=%d instance=%016llx schedules=%zu", (int)getpid(),
           (unsigned long long)w->node.cache->instance, n);
    snprintf(status, cap, "%zu schedules", n);
}

enum tl_status tl_cmd_worker(struct tl_cli *cli, struct tl_err *err)
{
    struct worker w;
    struct tl_err redis;
    char status[64];
    if (tl_config_no_store(cli->cfg))
        return tl_fail(err, TL_INVALID, "a worker needs a store: none is configured (--store)");
    enum tl_status st = tl_stay_init(&w.stay, cli, "worker", err);
    if (st != TL_OK) return st;
    w.stay.end = end;
    w.stay.reload = reload;
    w.stay.ctx = &w;
    const struct tl_node_options o = {.config = cli->cfg, .clock = cli->clock, .log = &cli->log, .take = true};
    st = tl_node_open(&w.stay.loop, &o, &w.node, &redis, err);
    if (st == TL_OK) {
        say_ready(&w, &redis, status, sizeof status);
        st = tl_stay_run(&w.stay, status, err);
    }
    tl_stay_release(&w.stay);
    return st;
}
