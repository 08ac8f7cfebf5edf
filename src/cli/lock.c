/* SPDX-License-Identifier: Apache-2.0 */
/* `tierline lock run|list`: a command under a lease, like flock(1) but across machines; and who holds what. */
#include "base/err.h"
#include "base/json.h"
#include "base/util.h"
#include "cli/commands.h"
#include "cli/out.h"
#include "cli/tiers.h"
#include "lock/describe.h"
#include <tierline/lock.h>

#include <signal.h>
#include <unistd.h>
#include <uv.h>

enum { LIST_MS = 10000, KILL_MS = 5000, NOT_FOUND_CODE = 127, NOT_STARTED_CODE = 126, SIGNAL_CODE = 128 };
#define FOR_EVER (UINT64_C(100) * 365 * 86400 * 1000)

struct session {
    struct tl_cli *cli;
    uv_loop_t loop;
    struct tl_locks *locks;
    uv_signal_t interrupt, terminate;
    uv_timer_t killer;
    uv_process_t child;
    bool child_runs;
    char **argv; /* of the child */
    struct tl_lease lease;
    enum tl_status status;
    struct tl_err err;
    struct tl_locks_list list;
    const char *name;
};

static void on_locks_closed(void *ctx)
{
    (void)ctx;
}

/* Everything on the loop ends. */
static void finish(struct session *s)
{
    uv_close((uv_handle_t *)&s->interrupt, NULL);
    uv_close((uv_handle_t *)&s->terminate, NULL);
    uv_close((uv_handle_t *)&s->killer, NULL);
    tl_locks_close(s->locks, on_locks_closed, NULL);
}

static void fail(struct session *s, enum tl_status status, const struct tl_err *err)
{
    s->status = status;
    s->err = *err;
}

/* ---- the child ---- */

static void on_kill(uv_timer_t *t)
{
    struct session *s = t->data;
    if (s->child_runs) uv_process_kill(&s->child, SIGKILL);
}

static void on_released(struct tl_lease *lease, enum tl_status status)
{
    struct session *s = lease->user;
    if (status != TL_OK) tl_cli_warn(s->cli, "the lease %s was not given back: %s", s->name, lease->err.text);
    finish(s);
}

static void on_exit_of_child(uv_process_t *child, int64_t code, int number)
{
    struct session *s = child->data;
    s->child_runs = false;
    uv_close((uv_handle_t *)child, NULL);
    s->cli->exit_code = number ? SIGNAL_CODE + number : (int)code;
    if (s->status != TL_OK || tl_lease_release(&s->lease, on_released, NULL) != TL_OK) finish(s);
}

/* The environment, and what names the lease; [own] the array and its last two strings. NULL: memory is out. */
static char **child_env(const struct session *s)
{
    size_t n = 0, kept = 0;
    while (environ[n]) n++;
    char **env = tl_calloc(n + 3, sizeof(char *)), *name = NULL, *token = NULL;
    for (size_t i = 0; env && i < n; i++)
        if (strncmp(environ[i], "TIERLINE_LOCK_", 14) != 0) env[kept++] = environ[i];
    if (env && asprintf(&name, "TIERLINE_LOCK_NAME=%s", s->name) > 0 &&
        asprintf(&token, "TIERLINE_LOCK_TOKEN=%llu", (unsigned long long)s->lease.token) > 0) {
        env[kept] = name;
        env[kept + 1] = token;
        return env;
    }
    free(name);
    free(env);
    return NULL;
}

static void start_child(struct session *s)
{
    char **env = child_env(s);
    uv_stdio_container_t stdio[3];
    for (int i = 0; i < 3; i++) stdio[i] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = i};
    uv_process_options_t o = {
        .exit_cb = on_exit_of_child, .file = s->argv[0], .args = s->argv, .env = env, .stdio_count = 3, .stdio = stdio};
    s->child.data = s;
    int rc = env ? uv_spawn(&s->loop, &s->child, &o) : UV_ENOMEM;
    for (size_t i = 0; env && env[i]; i++)
        if (strncmp(env[i], "TIERLINE_LOCK_", 14) == 0) free(env[i]);
    free(env);
    s->child_runs = rc == 0;
    if (rc == 0) return;
    if (rc != UV_ENOMEM) uv_close((uv_handle_t *)&s->child, NULL);
    tl_cli_warn(s->cli, "cannot run %s: %s", s->argv[0], uv_strerror(rc));
    s->cli->exit_code = rc == UV_ENOENT ? NOT_FOUND_CODE : NOT_STARTED_CODE;
    if (tl_lease_release(&s->lease, on_released, NULL) != TL_OK) finish(s);
}

/* ---- the lease ---- */

static void on_lost(struct tl_lease *lease, const struct tl_err *why)
{
    struct session *s = lease->user;
    struct tl_err err;
    fail(s, TL_LOCK_LOST,
         (tl_fail(&err, TL_LOCK_LOST, "%s: %s: the command is being ended", s->name, why->text), &err));
    tl_cli_warn(s->cli, "%s", s->err.text);
    if (!s->child_runs) return;
    uv_process_kill(&s->child, SIGTERM);
    uv_timer_start(&s->killer, on_kill, KILL_MS, 0);
}

static void on_acquired(struct tl_lease *lease, enum tl_status status)
{
    struct session *s = lease->user;
    if (status == TL_OK) {
        start_child(s);
        return;
    }
    struct tl_err err;
    (void)tl_fail(&err, status, "%s: %s", s->name, lease->err.text);
    fail(s, status, &err);
    finish(s);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct session *s = handle->data;
    /* Ctrl-C on a terminal reaches the command by itself. */
    bool has_it = number == SIGINT && isatty(0) && tcgetpgrp(0) == getpgrp();
    if (!s->child_runs)
        tl_lease_cancel(&s->lease);
    else if (!has_it)
        uv_process_kill(&s->child, number);
}

static enum tl_status open_locks(struct session *s, struct tl_err *err)
{
    const struct tl_cli *cli = s->cli;
    struct tl_locks_options o = {.redis_url = tl_config_str(cli->cfg, "redis"),
                                 .prefix = tl_config_str(cli->cfg, "redis.prefix"),
                                 .redis_timeout_ms = (uint32_t)tl_config_int(cli->cfg, "redis.timeout_ms"),
                                 .log_level = -1};
    if (tl_cli_no_redis(cli)) return tl_fail(err, TL_INVALID, "leases are kept in Redis: none is configured (--redis)");
    if (uv_loop_init(&s->loop) != 0) return tl_fail(err, TL_NOMEM, "cannot start an event loop");
    enum tl_status st = tl_locks_open(&s->loop, &o, &s->locks, err);
    if (st != TL_OK) {
        uv_run(&s->loop, UV_RUN_DEFAULT);
        (void)uv_loop_close(&s->loop);
        return st;
    }
    uv_signal_init(&s->loop, &s->interrupt);
    uv_signal_init(&s->loop, &s->terminate);
    uv_timer_init(&s->loop, &s->killer);
    s->interrupt.data = s->terminate.data = s->killer.data = s;
    return TL_OK;
}

static enum tl_status run_loop(struct session *s, struct tl_err *err)
{
    uv_run(&s->loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&s->loop);
    TL_ASSERT(rc == 0);
    if (s->status != TL_OK && err) *err = s->err;
    return s->status;
}

static enum tl_status time_of(struct tl_cli *cli, const char *option, int64_t *ms, struct tl_err *err)
{
    const char *text = tl_cli_opt(cli, option);
    if (!text || tl_duration_parse(tl_str(text), ms)) return TL_OK;
    return tl_fail(err, TL_INVALID, "--%s: '%s' is not a time like 500ms, 30s or 5m", option, text);
}

static enum tl_status run_under_lease(struct session *s, struct tl_err *err)
{
    struct tl_cli *cli = s->cli;
    unsigned n = tl_cli_argc(cli);
    int64_t ttl = 5000, wait = -1;
    if (n < 3) return tl_fail(err, TL_INVALID, "run takes NAME -- COMMAND [ARGUMENT...]");
    enum tl_status st = time_of(cli, "ttl", &ttl, err);
    if (st == TL_OK) st = time_of(cli, "wait", &wait, err);
    if (st == TL_OK && (ttl < TL_LEASE_TTL_MIN_MS || ttl > TL_LEASE_TTL_MAX_MS))
        st = tl_fail(err, TL_INVALID, "--ttl: 100ms to 10m");
    if (st != TL_OK) return st;
    TL_AUTOFREE char **argv = tl_calloc(n, sizeof(char *));
    if (!argv) return tl_fail(err, TL_NOMEM, "no memory for the command");
    for (unsigned i = 2; i < n; i++) argv[i - 2] = (char *)(uintptr_t)tl_cli_arg(cli, i);
    s->argv = argv;
    s->name = tl_cli_arg(cli, 1);
    s->lease = (struct tl_lease){
        .ttl_ms = (uint32_t)ttl, .wait_ms = wait < 0 ? FOR_EVER : (uint64_t)wait, .on_lost = on_lost, .user = s};
    st = open_locks(s, err);
    if (st != TL_OK) return st;
    uv_signal_start(&s->interrupt, on_signal, SIGINT);
    uv_signal_start(&s->terminate, on_signal, SIGTERM);
    st = tl_lease_acquire(s->locks, &s->lease, s->name, on_acquired, &s->err);
    if (st != TL_OK) {
        s->status = st;
        finish(s);
    }
    return run_loop(s, err);
}

/* ---- list ---- */

static enum tl_status print_json(struct session *s, const struct tl_locks_list *op)
{
    struct tl_buf b;
    struct tl_json j;
    tl_buf_init(&b, 0);
    tl_json_init(&j, &b);
    tl_json_array(&j);
    for (size_t i = 0; i < op->n; i++) tl_lease_json(&j, &op->items[i]);
    tl_json_array_end(&j);
    enum tl_status st = tl_out_json(s->cli, &b, &s->err);
    tl_buf_release(&b);
    return st;
}

static enum tl_status print_table(struct session *s, const struct tl_locks_list *op)
{
    static const char *const heads[] = {"<name", "<of", "<holder", ">token", ">left"};
    char left[TL_HUMAN_MAX];
    struct tl_table t;
    tl_table_init(&t, TL_COUNT(heads), heads);
    for (size_t i = 0; i < op->n; i++) {
        tl_table_cell(&t, op->items[i].name);
        tl_table_cell(&t, op->items[i].computation ? "computation" : "name");
        tl_table_cell(&t, op->items[i].holder);
        tl_table_cellf(&t, "%llu", (unsigned long long)op->items[i].token);
        tl_table_cell(&t, tl_human_seconds(left, (double)op->items[i].left_ms / 1e3));
    }
    enum tl_status st = tl_table_print(&t, s->cli, &s->err);
    tl_table_release(&t);
    return st;
}

static void on_list(struct tl_locks_list *op, enum tl_status status)
{
    struct session *s = op->user;
    if (status != TL_OK)
        fail(s, status, &op->err);
    else
        s->status = tl_cli_flag(s->cli, "json") ? print_json(s, op) : print_table(s, op);
    finish(s);
}

static enum tl_status list(struct session *s, struct tl_err *err)
{
    if (tl_cli_argc(s->cli) > 1) return tl_fail(err, TL_INVALID, "list takes no arguments");
    enum tl_status st = open_locks(s, err);
    if (st != TL_OK) return st;
    s->list.user = s;
    st = tl_locks_list(s->locks, &s->list, LIST_MS, on_list, &s->err);
    if (st != TL_OK) {
        s->status = st;
        finish(s);
    }
    return run_loop(s, err);
}

enum tl_status tl_cmd_lock(struct tl_cli *cli, struct tl_err *err)
{
    struct session s = {.cli = cli, .status = TL_OK};
    const char *verb = tl_cli_arg(cli, 0);
    if (strcmp(verb, "run") == 0) return run_under_lease(&s, err);
    if (strcmp(verb, "list") == 0) return list(&s, err);
    return tl_fail(err, TL_INVALID, "lock %s: only run and list are known", verb);
}
