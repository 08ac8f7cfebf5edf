/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing a store by its URL. */
#include "store/sqlite.h"

#include "base/err.h"
#include "base/util.h"

#include <string.h>

/* [own] the file path of a URL, NULL after filling err. */
static char *path_of(const char *url, struct tl_err *err)
{
    const char *path = url;
    const char *colon = strstr(url, "://");
    if (strncmp(url, "sqlite://", 9) == 0) {
        path = url + 9;
        if (path[0] != '/') {
            (void)tl_fail(err, TL_INVALID, "store %s: an absolute path follows sqlite:// (sqlite:///data/tierline.db)",
                          url);
            return NULL;
        }
    } else if (strncmp(url, "sqlite:", 7) == 0) {
        path = url + 7;
    } else if (colon) {
        (void)tl_fail(err, TL_INVALID, "store: unknown scheme %.*s (known: sqlite, or a plain path)",
                      (int)(colon - url), url);
        return NULL;
    }
    if (!path[0] || strlen(path) > 4000) {
        (void)tl_fail(err, TL_INVALID, "store: %s names no file", url);
        return NULL;
    }
    char *copy = strdup(path);
    if (!copy) (void)tl_fail(err, TL_NOMEM, "no memory for the store");
    return copy;
}

static enum tl_status run_sweep(struct tl_op *op, struct tl_store *store, struct tl_err *err)
{
    return tl_schema_sweep(store, op->ctx, err);
}

void tl_store_sweep(struct tl_store *store)
{
    bool more = true;
    while (more && tl_writer_do(store, run_sweep, &more, 0, NULL) == TL_OK) continue;
}

enum tl_status tl_store_open(const char *url, const struct tl_store_options *opt, struct tl_store **out,
                             struct tl_err *err)
{
    char *path = path_of(url, err);
    if (!path) return err ? err->status : TL_INVALID;
    struct tl_store *store = tl_calloc(1, sizeof *store);
    if (!store) {
        free(path);
        return tl_fail(err, TL_NOMEM, "no memory for the store");
    }
    store->path = path;
    if (opt) store->opt = *opt;
    if (!store->opt.busy_ms) store->opt.busy_ms = 5000;
    if (!store->opt.queue_bytes) store->opt.queue_bytes = (size_t)64 << 20;
    if (!store->opt.generations_max) store->opt.generations_max = 1000000;
    if (!store->opt.notices_max) store->opt.notices_max = 100000;
    if (!store->opt.clock) store->opt.clock = &tl_clock_system;
    store->tail = &store->head;
    pthread_mutex_init(&store->lock, NULL);
    pthread_cond_init(&store->more, NULL);
    pthread_cond_init(&store->room, NULL);
    enum tl_status st = tl_schema_open(store, err);
    if (st == TL_OK && !store->opt.read_only) st = tl_writer_start(store, err);
    if (st == TL_OK && !store->opt.read_only) tl_store_sweep(store);
    if (st != TL_OK) {
        tl_store_close(store);
        return st;
    }
    *out = store;
    return TL_OK;
}

void tl_store_close(struct tl_store *store)
{
    if (!store) return;
    tl_writer_stop(store);
    tl_db_close(&store->writer);
    pthread_cond_destroy(&store->room);
    pthread_cond_destroy(&store->more);
    pthread_mutex_destroy(&store->lock);
    free(store->path);
    free(store);
}

const char *tl_store_id(const struct tl_store *store)
{
    return store->id;
}

void tl_store_stats(const struct tl_store *store, struct tl_store_stats *out)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&store->lock;
    pthread_mutex_lock(lock);
    *out = store->stats;
    pthread_mutex_unlock(lock);
}
