/* SPDX-License-Identifier: Apache-2.0 */
/* Signals, settings that are read anew, and the service manager, for commands that stay. */
#include "cli/stay.h"

#include "base/err.h"
#include "base/util.h"

#include <signal.h>
#include <unistd.h>

static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};

static void reload(struct tl_stay *s)
{
    struct tl_config *fresh = NULL;
    const struct tl_log *log = &s->cli->log;
    struct tl_err err;
    tl_notify_reloading(&s->notify);
    enum tl_status st = tl_cli_reload(s->cli, environ, &fresh, &err);
    if (st == TL_OK) st = s->reload(s->ctx, fresh, &err);
    if (st == TL_OK) {
        tl_config_free(s->fresh);
        s->fresh = fresh;
        tl_log(log, TL_LOG_INFO, s->name, "settings read anew", "file=%s",
               tl_config_file(fresh) ? tl_config_file(fresh) : "none");
    } else {
        char text[600];
        tl_err_format(&err, text, sizeof text);
        tl_log(log, TL_LOG_ERROR, s->name, "settings refused; the old ones stay", "error=\"%s\"", text);
        tl_config_free(fresh);
    }
    tl_notify_ready(&s->notify);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct tl_stay *s = handle->data;
    if (number == SIGHUP) {
        if (!s->ending) reload(s);
        return;
    }
    if (s->ending) _exit(128 + number);
    s->ending = true;
    tl_log(&s->cli->log, TL_LOG_INFO, s->name, "ending", "signal=%d", number);
    tl_notify_stopping(&s->notify);
    s->end(s->ctx);
}

static void on_watchdog(uv_timer_t *timer)
{
    tl_notify_watchdog(&((struct tl_stay *)timer->data)->notify);
}

enum tl_status tl_stay_init(struct tl_stay *s, struct tl_cli *cli, const char *name, struct tl_err *err)
{
    *s = (struct tl_stay){.cli = cli, .name = name};
    enum tl_status st = tl_notify_open(&s->notify, environ, &cli->log, err);
    if (st != TL_OK) return st;
    int rc = uv_loop_init(&s->loop);
    if (rc == 0) return TL_OK;
    tl_notify_close(&s->notify);
    return tl_fail(err, TL_IO, "cannot start the event loop: %s", uv_strerror(rc));
}

void tl_stay_over(void *stay)
{
    struct tl_stay *s = stay;
    for (size_t i = 0; i < TL_COUNT(numbers); i++) uv_close((uv_handle_t *)&s->signals[i], NULL);
    uv_close((uv_handle_t *)&s->watchdog, NULL);
}

enum tl_status tl_stay_run(struct tl_stay *s, const char *status, struct tl_err *err)
{
    int rc = uv_timer_init(&s->loop, &s->watchdog);
    for (size_t i = 0; i < TL_COUNT(numbers); i++) {
        uv_signal_init(&s->loop, &s->signals[i]);
        s->signals[i].data = s;
        if (rc == 0) rc = uv_signal_start(&s->signals[i], on_signal, numbers[i]);
    }
    if (rc != 0) {
        s->ending = true;
        s->end(s->ctx);
    }
    s->watchdog.data = s;
    uint64_t each = s->notify.watchdog_ms;
    if (each) uv_timer_start(&s->watchdog, on_watchdog, each, each);
    tl_notify_status(&s->notify, "%s", status);
    tl_notify_ready(&s->notify);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    return rc == 0 ? TL_OK : tl_fail(err, TL_IO, "cannot catch signals: %s", uv_strerror(rc));
}

void tl_stay_release(struct tl_stay *s)
{
    uv_run(&s->loop, UV_RUN_DEFAULT); /* what was begun and failed ends */
    int rc = uv_loop_close(&s->loop);
    TL_ASSERT(rc == 0);
    tl_notify_close(&s->notify);
    tl_config_free(s->fresh);
}
