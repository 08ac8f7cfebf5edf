/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline serve`: HTTP, WebSocket and events for a platform. Sockets that a service manager hands over are taken
 * instead of server.listen. */
#include "base/err.h"
#include "base/util.h"
#include "cli/commands.h"
#include "cli/stay.h"
#include "dashboard/dashboard.h"
#include "server/serve.h"

#include <unistd.h>

struct serving {
    struct tl_stay stay;
    struct tl_serve *serve;
};

static void end(void *ctx)
{
    struct serving *s = ctx;
    tl_serve_close(s->serve, tl_stay_over, &s->stay);
}

static enum tl_status reload(void *ctx, const struct tl_config *fresh, struct tl_err *err)
{
    return tl_serve_configure(((struct serving *)ctx)->serve, fresh, err);
}

/* " dashboard=http://127.0.0.1:8080/", for who wants to open it; "": there is none, or it is not to be had there. */
static void say_dashboard(const char *address, char *out, size_t cap)
{
    static const char *const everywhere[] = {"0.0.0.0:", "[::]:"}; /* no name to open */
    out[0] = '\0';
    if (!dashboard_is_there() || strncmp(address, "unix:", 5) == 0 || strncmp(address, "fd:", 3) == 0) return;
    for (size_t i = 0; i < TL_COUNT(everywhere); i++) {
        size_t n = strlen(everywhere[i]);
        if (strncmp(address, everywhere[i], n) != 0) continue;
        snprintf(out, cap, " dashboard=http://localhost:%s/", address + n);
        return;
    }
    snprintf(out, cap, " dashboard=http://%s/", address);
}

static void say_ready(struct serving *s, const struct tl_err *redis, char *status, size_t cap)
{
    const struct tl_log *log = &s->stay.cli->log;
    if (redis->status != TL_OK) tl_log(log, TL_LOG_WARN, "serve", "Redis is not in use", "why=\"%s\"", redis->text);
    size_t n = (size_t)snprintf(status, cap, "listening on");
    for (size_t i = 0; tl_serve_address(s->serve, i); i++) {
        const char *address = tl_serve_address(s->serve, i);
        char dashboard[200];
        say_dashboard(address, dashboard, sizeof dashboard);
        tl_log(log, TL_LOG_INFO, "serve", "listening", "address=%s pid=%d%s", address, (int)getpid(), dashboard);
        if (n < cap) n += (size_t)snprintf(status + n, cap - n, " %s", address);
    }
}

enum tl_status tl_cmd_serve(struct tl_cli *cli, struct tl_err *err)
{
    struct serving s = {.serve = NULL};
    struct tl_listen_fd given[TL_LISTEN_FDS_MAX];
    int fds[TL_LISTEN_FDS_MAX];
    char status[512];
    struct tl_err redis;
    size_t n_fds = 0;
    enum tl_status st = tl_listen_fds(environ, given, &n_fds, err);
    for (size_t i = 0; st == TL_OK && i < n_fds; i++) fds[i] = given[i].fd;
    if (st == TL_OK) st = tl_stay_init(&s.stay, cli, "serve", err);
    if (st != TL_OK) return st;
    s.stay.end = end;
    s.stay.reload = reload;
    s.stay.ctx = &s;
    const struct tl_serve_options o = {
        .config = cli->cfg, .clock = cli->clock, .log = &cli->log, .fds = fds, .n_fds = n_fds};
    st = tl_serve_open(&s.stay.loop, &o, &s.serve, &redis, err);
    if (st == TL_OK) {
        say_ready(&s, &redis, status, sizeof status);
        st = tl_stay_run(&s.stay, status, err);
    }
    tl_stay_release(&s.stay);
    return st;
}
