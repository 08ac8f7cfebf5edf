/* SPDX-License-Identifier: Apache-2.0 */
/* The store's general entries, the generations of invalidations, following them from other connections, and the
 * migration that brought them. */
#include "support.h"

#include "base/util.h"
#include "market_fixture.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static void sql(const char *path, const char *text)
{
    sqlite3 *db;
    char *why = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, &why) != SQLITE_OK) fail_msg("%s", why);
    sqlite3_close(db);
}

static int64_t number(const char *path, const char *text)
{
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &s, NULL), SQLITE_OK);
    int64_t value = sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -1;
    sqlite3_finalize(s);
    sqlite3_close(db);
    return value;
}

/* ---- batches, waited for ---- */

static void on_written(struct tl_store_entries *b)
{
    atomic_store((atomic_bool *)b->user, true);
}

static enum tl_status write_batch(struct tl_store *store, struct tl_store_entries *b)
{
    atomic_bool done = false;
    b->cb = on_written;
    b->user = &done;
    struct tl_err err;
    enum tl_status st = tl_store_entries_submit(store, b, &err);
    if (st != TL_OK) return st;
    for (int i = 0; i < 100000 && !atomic_load(&done); i++) usleep(100);
    assert_true(atomic_load(&done));
    return b->status;
}

static struct tl_store_entry entry(const char *key, unsigned char order, const char *text)
{
    struct tl_store_entry e = {.key = tl_str(key),
                               .data_type = TL_STR("etf"),
                               .symbol = TL_STR("A"),
                               .head = TL_STR("head:"),
                               .body = tl_str(text),
                               .expires_ms = INT64_MAX};
    memset(e.order, order, sizeof e.order);
    return e;
}

/* true: it was taken. */
static bool put(struct tl_store *store, const char *key, unsigned char order, const char *text)
{
    struct tl_store_entry e = entry(key, order, text);
    struct tl_store_entries b = {.items = &e, .count = 1};
    assert_int_equal(write_batch(store, &b), TL_OK);
    return !e.superseded;
}

static bool take_away(struct tl_store *store, const char *key, unsigned char order)
{
    struct tl_store_entry e = entry(key, order, "");
    e.remove = true;
    struct tl_store_entries b = {.items = &e, .count = 1};
    assert_int_equal(write_batch(store, &b), TL_OK);
    return !e.superseded;
}

static struct tl_store_reader *reader(struct tl_store *store)
{
    struct tl_store_reader *r;
    assert_int_equal(tl_store_reader_new(store, &r, NULL), TL_OK);
    return r;
}

/* NULL: nothing is there. */
static void expect_at(struct tl_store *store, const char *key, int64_t now_ms, const char *text)
{
    struct tl_store_reader *r = reader(store);
    struct tl_buf out;
    tl_buf_init(&out, 0);
    enum tl_status st = tl_store_entry_read(r, tl_str(key), now_ms, &out, NULL);
    assert_int_equal(st, text ? TL_OK : TL_NOT_FOUND);
    if (text) {
        assert_int_equal(out.n, 5 + strlen(text));
        assert_memory_equal(out.p, "head:", 5);
        assert_memory_equal(out.p + 5, text, strlen(text));
    }
    tl_buf_release(&out);
    tl_store_reader_free(r);
}

static void expect(struct tl_store *store, const char *key, const char *text)
{
    expect_at(store, key, 0, text);
}

static void the_higher_order_stays(void **state)
{
    (void)state;
    struct market m;
    market_open(&m);
    expect(m.store, "k", NULL);
    assert_true(put(m.store, "k", 5, "five"));
    assert_false(put(m.store, "k", 4, "four"));
    assert_false(put(m.store, "k", 5, "another five"));
    expect(m.store, "k", "five");
    assert_true(put(m.store, "k", 0xff, "high")); /* as bytes, not as signed ones */
    assert_false(put(m.store, "k", 0x7f, "low"));
    expect(m.store, "k", "high");
    assert_false(take_away(m.store, "k", 0x7f));
    expect(m.store, "k", "high");
    assert_true(take_away(m.store, "k", 0xff)); /* equal is not higher */
    expect(m.store, "k", NULL);
    assert_true(take_away(m.store, "k", 1));
    assert_true(put(m.store, "k", 1, "again"));
    expect(m.store, "k", "again");
    market_close(&m);
}

/* The first item is taken, the second one is refused by a trigger. */
static void a_batch_is_there_whole_or_not(void **state)
{
    (void)state;
    static const char *const refusals[] = {"ABORT", "ROLLBACK"}; /* of the statement, of the whole transaction */
    struct market m;
    market_open(&m);
    put(m.store, "a", 1, "old");
    put(m.store, "gone", 1, "old");
    for (size_t i = 0; i < TL_COUNT(refusals); i++) {
        char trigger[160];
        snprintf(trigger, sizeof trigger,
                 "CREATE TRIGGER refuse BEFORE INSERT ON entry WHEN new.key = 'bad' BEGIN SELECT RAISE(%s, 'no'); END",
                 refusals[i]);
        sql(m.path, trigger);
        struct tl_store_entry items[] = {entry("a", 9, "new"), entry("gone", 9, ""), entry("bad", 9, "x"),
                                         entry("z", 9, "x")};
        items[1].remove = true;
        struct tl_store_entries b = {.items = items, .count = TL_COUNT(items), .scope = TL_STR("s:A")};
        enum tl_status st = write_batch(m.store, &b);
        assert_int_not_equal(st, TL_OK);
        assert_true(b.err.status == st && strlen(b.err.text) > 0);
        expect(m.store, "a", "old");
        expect(m.store, "gone", "old");
        expect(m.store, "z", NULL);
        assert_int_equal(number(m.path, "SELECT (SELECT count(*) FROM notice) + (SELECT count(*) FROM generation) + "
                                        "(SELECT count(*) FROM meta WHERE key = 'last_generation')"),
                         0);
        sql(m.path, "DROP TRIGGER refuse");
    }
    struct tl_store_entry twice[] = {entry("a", 9, "nine"), entry("a", 8, "eight"), entry("a", 10, "ten")};
    struct tl_store_entries b = {.items = twice, .count = TL_COUNT(twice), .scope = TL_STR("s:A")};
    assert_int_equal(write_batch(m.store, &b), TL_OK);
    assert_true(!twice[0].superseded && twice[1].superseded && !twice[2].superseded);
    assert_int_equal(b.generation, 1);
    expect(m.store, "a", "ten");
    market_close(&m);
}

struct chain {
    struct tl_store_entries batch;
    struct tl_store_entry item;
    struct tl_store *store;
    char text[16];
    int left;
};

static void go_on(struct tl_store_entries *b)
{
    struct chain *c = (struct chain *)(void *)b, *next = NULL;
    assert_int_equal(b->status, TL_OK);
    if (c->left > 0) next = malloc(sizeof *next);
    if (next) {
        *next = *c;
        next->left--;
        next->item.order[0]++;
        snprintf(next->text, sizeof next->text, "%d", next->left);
        next->item.body = tl_str(next->text);
        next->batch.items = &next->item;
        assert_int_equal(tl_store_entries_submit(next->store, &next->batch, NULL), TL_OK);
    }
    free(c);
}

/* A callback frees its batch and submits the next one, also while the store closes. */
static void callbacks_free_and_submit(void **state)
{
    (void)state;
    struct market m;
    market_open(&m);
    struct chain *c = calloc(1, sizeof *c);
    assert_non_null(c);
    *c = (struct chain){.item = entry("k", 1, "first"), .store = m.store, .left = 20};
    c->batch = (struct tl_store_entries){.items = &c->item, .count = 1, .cb = go_on};
    assert_int_equal(tl_store_entries_submit(m.store, &c->batch, NULL), TL_OK);
    tl_store_close(m.store);
    struct tl_store_options read_only = {.read_only = true};
    assert_int_equal(tl_store_open(m.path, &read_only, &m.store, NULL), TL_OK);
    expect(m.store, "k", "0");
    struct tl_store_entry e = entry("k", 99, "x");
    struct tl_store_entries b = {.items = &e, .count = 1};
    assert_int_equal(write_batch(m.store, &b), TL_DENIED);
    market_close(&m);
}

static void what_expires(void **state)
{
    (void)state;
    struct market m;
    market_open(&m);
    struct tl_store_entry items[40];
    char keys[40][8];
    for (int i = 0; i < 40; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        items[i] = entry(keys[i], 9, "v");
        items[i].expires_ms = i < 30 ? 1000 + i : INT64_MAX;
    }
    struct tl_store_entries b = {.items = items, .count = 40};
    assert_int_equal(write_batch(m.store, &b), TL_OK);
    expect_at(m.store, "k5", 1004, "v");
    expect_at(m.store, "k5", 1005, NULL);
    expect_at(m.store, "k35", INT64_MAX - 1, "v");
    /* What has expired gives way to anything, by the wall clock. */
    assert_true(put(m.store, "k5", 1, "older, but alive"));
    expect(m.store, "k5", "older, but alive");
    size_t n;
    assert_int_equal(tl_store_entries_expire(m.store, 1010, 4, &n, NULL), TL_OK);
    assert_int_equal(n, 4);
    assert_int_equal(tl_store_entries_expire(m.store, 1010, 100, &n, NULL), TL_OK);
    assert_int_equal(n, 6); /* 0..10 without k5, less four */
    assert_int_equal(number(m.path, "SELECT count(*) FROM entry"), 30);
    assert_int_equal(tl_store_entries_expire(m.store, INT64_MAX - 1, 100, &n, NULL), TL_OK);
    assert_int_equal(n, 19);
    struct tl_store_counts counts;
    struct tl_store_reader *r = reader(m.store);
    assert_int_equal(tl_store_counts(r, &counts, NULL), TL_OK);
    assert_int_equal(counts.entries, 11);
    assert_int_equal(counts.entry_bytes, 10 * 6 + 21);
    assert_true(counts.series == 0 && counts.symbols == 0 && counts.generations == 0);
    tl_store_reader_free(r);
    market_close(&m);
}

static void sizes_and_bytes(void **state)
{
    (void)state;
    struct market m;
    market_open(&m);
    static char big[8 * MIB];
    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)(i * 2654435761u >> 24);
    static const size_t sizes[] = {0, 1, 4096, 65537, sizeof big};
    for (size_t i = 0; i < TL_COUNT(sizes); i++) {
        struct tl_store_entry e = entry("cache:{%00\xff}:quote'\";--:-", (unsigned char)(i + 1), "");
        e.head = (struct tl_str){big, sizes[i] / 3};
        e.body = (struct tl_str){big + sizes[i] / 3, sizes[i] - sizes[i] / 3};
        struct tl_store_entries b = {.items = &e, .count = 1};
        assert_int_equal(write_batch(m.store, &b), TL_OK);
        struct tl_store_reader *r = reader(m.store);
        struct tl_buf out;
        tl_buf_init(&out, sizes[i] + 1);
        assert_int_equal(tl_store_entry_read(r, e.key, 0, &out, NULL), TL_OK);
        assert_int_equal(out.n, sizes[i]);
        if (out.n) assert_memory_equal(out.p, big, out.n);
        tl_buf_release(&out);
        if (sizes[i] > 10) { /* more than the reader wants */
            tl_buf_init(&out, 10);
            assert_int_equal(tl_store_entry_read(r, e.key, 0, &out, NULL), TL_TOO_LARGE);
            tl_buf_release(&out);
        }
        tl_store_reader_free(r);
    }
    static const struct tl_str zeros[] = {TL_STR("z"), TL_STR("z\0"), TL_STR("z\0a"), TL_STR("z\0b"), TL_STR("\0")};
    struct tl_store_entry items[TL_COUNT(zeros)];
    for (size_t i = 0; i < TL_COUNT(zeros); i++) {
        items[i] = entry("", 1, "");
        items[i].key = items[i].body = zeros[i];
    }
    struct tl_store_entries b = {.items = items, .count = TL_COUNT(zeros)};
    assert_int_equal(write_batch(m.store, &b), TL_OK);
    struct tl_store_reader *r = reader(m.store);
    for (size_t i = 0; i < TL_COUNT(zeros); i++) {
        struct tl_buf out;
        tl_buf_init(&out, 0);
        assert_int_equal(tl_store_entry_read(r, zeros[i], 0, &out, NULL), TL_OK);
        assert_int_equal(out.n, 5 + zeros[i].n);
        assert_memory_equal(out.p + 5, zeros[i].p, zeros[i].n);
        tl_buf_release(&out);
    }
    tl_store_reader_free(r);
    char longest[TL_STORE_KEY_MAX + 1];
    memset(longest, 'k', TL_STORE_KEY_MAX);
    longest[TL_STORE_KEY_MAX] = '\0';
    assert_true(put(m.store, longest, 1, "long"));
    expect(m.store, longest, "long");
    market_close(&m);
}

/* ---- generations ---- */

static uint64_t raise_to(struct tl_store *store, const char *scope, uint64_t at_least, bool exactly, uint64_t *before)
{
    struct tl_store_entries b = {.scope = tl_str(scope), .at_least = at_least, .exactly = exactly};
    assert_int_equal(write_batch(store, &b), TL_OK);
    if (before) *before = b.before;
    return b.generation;
}

struct seen {
    char text[4096];
    size_t n, max;
};

static bool see(struct seen *s, struct tl_str name, char mark, uint64_t value)
{
    size_t n = strlen(s->text);
    snprintf(s->text + n, sizeof s->text - n, "%.*s%c%llu ", TL_STR_ARG(name), mark, (unsigned long long)value);
    return ++s->n != s->max;
}

static bool on_generation(void *ctx, struct tl_str scope, uint64_t generation)
{
    return see(ctx, scope, '=', generation);
}

static bool on_notice(void *ctx, struct tl_str key, const unsigned char order[TL_STORE_ORDER])
{
    return see(ctx, key, ':', order[0]);
}

static void expect_generations(struct tl_store *store, uint64_t since, const char *text, uint64_t newest)
{
    struct seen s = {.n = 0};
    struct tl_store_reader *r = reader(store);
    uint64_t last = 0;
    assert_int_equal(tl_store_generations(r, since, on_generation, &s, &last, NULL), TL_OK);
    assert_string_equal(s.text, text);
    assert_int_equal(last, newest);
    tl_store_reader_free(r);
}

static void generations_rise(void **state)
{
    (void)state;
    struct market m;
    uint64_t before;
    market_open(&m);
    expect_generations(m.store, 0, "", 0);
    assert_int_equal(raise_to(m.store, "s:A", 0, false, &before), 1);
    assert_int_equal(before, 0);
    assert_int_equal(raise_to(m.store, "t:etf", 0, false, &before), 2);
    assert_int_equal(raise_to(m.store, "s:A", 10, false, &before), 10);
    assert_int_equal(before, 2);
    assert_int_equal(raise_to(m.store, "s:A", 5, false, NULL), 11); /* the counter never goes back */
    expect_generations(m.store, 0, "t:etf=2 s:A=11 ", 11);
    expect_generations(m.store, 2, "s:A=11 ", 11);
    /* Given out elsewhere: taken as it is, unless the scope's is not lower. */
    assert_int_equal(raise_to(m.store, "k:x", 30, true, &before), 30);
    assert_int_equal(before, 11);
    assert_int_equal(raise_to(m.store, "k:x", 29, true, NULL), 30);
    assert_int_equal(raise_to(m.store, "t:etf", 12, true, NULL), 12); /* below the counter, above the scope's */
    expect_generations(m.store, 0, "s:A=11 t:etf=12 k:x=30 ", 30);
    assert_int_equal(raise_to(m.store, "a", 0, false, NULL), 31);
    tl_store_close(m.store);
    assert_int_equal(tl_store_open(m.path, NULL, &m.store, NULL), TL_OK);
    assert_int_equal(raise_to(m.store, "b", 0, false, NULL), 32); /* across a restart */
    market_close(&m);
}

static void too_many_generations(void **state)
{
    (void)state;
    enum { MAX = 16, RAISED = 200 };
    struct market m;
    market_open(&m);
    tl_store_close(m.store);
    struct tl_store_options o = {.generations_max = MAX};
    assert_int_equal(tl_store_open(m.path, &o, &m.store, NULL), TL_OK);
    for (int i = 1; i <= RAISED; i++) {
        char scope[16];
        snprintf(scope, sizeof scope, "s:%d", i);
        assert_int_equal(raise_to(m.store, scope, 0, false, NULL), i);
        int64_t scopes = number(m.path, "SELECT count(*) FROM generation WHERE scope <> 'a'");
        int64_t all = number(m.path, "SELECT coalesce(max(generation), 0) FROM generation WHERE scope = 'a'");
        int64_t forgotten =
            number(m.path, "SELECT coalesce(min(generation), 0) FROM generation WHERE scope <> 'a'") - 1;
        assert_true(scopes <= MAX + MAX / 8 + 1);
        assert_true(all >= forgotten && all <= i); /* nothing that was raised is forgotten */
    }
    market_close(&m);
}

/* ---- following ---- */

static void notices_follow(void **state)
{
    (void)state;
    struct market m;
    struct tl_store *other;
    struct tl_err err;
    market_open(&m);
    put(m.store, "early", 1, "x");
    put(m.store, "early", 2, "x");
    assert_int_equal(tl_store_open(m.path, NULL, &other, NULL), TL_OK);
    struct tl_store_reader *r = reader(other);
    uint64_t at = TL_FOLLOW_FROM_NOW;
    struct seen s = {.n = 0};
    assert_int_equal(tl_store_notices(r, &at, on_notice, &s, NULL), TL_OK);
    assert_string_equal(s.text, "");
    int64_t version, same, after;
    assert_int_equal(tl_store_data_version(r, &version, NULL), TL_OK);
    assert_int_equal(tl_store_data_version(r, &same, NULL), TL_OK);
    assert_int_equal(version, same);
    put(m.store, "a", 1, "new keys are no notice");
    put(m.store, "a", 3, "replaced");
    put(m.store, "a", 2, "lower: nothing happens");
    put(m.store, "b", 1, "x");
    take_away(m.store, "b", 4);
    take_away(m.store, "none", 4);
    assert_int_equal(tl_store_data_version(r, &after, NULL), TL_OK);
    assert_int_not_equal(version, after);
    assert_int_equal(tl_store_notices(r, &at, on_notice, &s, NULL), TL_OK);
    assert_string_equal(s.text, "a:3 b:4 ");
    s = (struct seen){.max = 1};
    for (unsigned char i = 5; i < 8; i++) put(m.store, "a", i, "x");
    assert_int_equal(tl_store_notices(r, &at, on_notice, &s, NULL), TL_OK); /* stopped by the reader */
    assert_int_equal(tl_store_notices(r, &at, on_notice, &s, NULL), TL_OK); /* goes on behind it */
    assert_string_equal(s.text, "a:5 a:6 a:7 ");
    /* A position that the store never gave out, and one that was pruned. */
    uint64_t ahead = at + 5;
    assert_int_equal(tl_store_notices(r, &ahead, on_notice, &s, &err), TL_CONFLICT);
    assert_int_equal(ahead, at);
    sql(m.path, "DELETE FROM notice WHERE seq <= 4");
    uint64_t behind = 1;
    assert_int_equal(tl_store_notices(r, &behind, on_notice, &s, &err), TL_CONFLICT);
    assert_int_equal(behind, at);
    tl_store_reader_free(r);
    tl_store_close(other);
    market_close(&m);
}

static void notices_are_pruned(void **state)
{
    (void)state;
    struct market m;
    market_open(&m);
    tl_store_close(m.store);
    struct tl_store_options o = {.notices_max = 50};
    assert_int_equal(tl_store_open(m.path, &o, &m.store, NULL), TL_OK);
    static struct tl_store_entry items[2101];
    for (size_t i = 0; i < TL_COUNT(items); i++) {
        items[i] = entry("k", 0, "v");
        items[i].order[0] = (unsigned char)(i >> 8);
        items[i].order[1] = (unsigned char)i;
    }
    struct tl_store_entries b = {.items = items, .count = TL_COUNT(items)};
    assert_int_equal(write_batch(m.store, &b), TL_OK);
    assert_int_equal(number(m.path, "SELECT max(seq) FROM notice"), 2100);
    assert_true(number(m.path, "SELECT count(*) FROM notice") <= 50 + 1000);
    int64_t oldest = number(m.path, "SELECT min(seq) FROM notice");
    assert_true(oldest > 1);
    struct tl_store_reader *r = reader(m.store);
    struct seen s = {.n = 0};
    struct tl_err err;
    uint64_t behind = (uint64_t)oldest - 2, just = (uint64_t)oldest - 1;
    assert_int_equal(tl_store_notices(r, &behind, on_notice, &s, &err), TL_CONFLICT);
    assert_int_equal(behind, 2100);
    assert_int_equal(s.n, 0);
    put(m.store, "k", 0xff, "v");
    assert_int_equal(tl_store_notices(r, &behind, on_notice, &s, &err), TL_OK); /* goes on from where it was set */
    assert_string_equal(s.text, "k:255 ");
    s = (struct seen){.max = 1};
    assert_int_equal(tl_store_notices(r, &just, on_notice, &s, &err), TL_OK); /* nothing was missed yet */
    assert_int_equal(just, oldest);
    tl_store_reader_free(r);
    market_close(&m);
}

/* ---- bounds and damage ---- */

static void full_queue(void **state)
{
    (void)state;
    struct market m;
    static char big[MIB];
    static struct tl_store_entry items[64];
    static struct tl_store_entries batches[64];
    static atomic_bool done[64];
    market_open(&m);
    tl_store_close(m.store);
    struct tl_store_options o = {.queue_bytes = 4 * MIB, .busy_ms = 20000};
    assert_int_equal(tl_store_open(m.path, &o, &m.store, NULL), TL_OK);
    sqlite3 *holder;
    assert_int_equal(sqlite3_open(m.path, &holder), SQLITE_OK);
    assert_int_equal(sqlite3_exec(holder, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    int taken = 0, refused = 0;
    for (int i = 0; i < 64; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        items[i] = entry("k", (unsigned char)(i + 1), "");
        items[i].body = (struct tl_str){big, sizeof big};
        atomic_store(&done[i], false);
        batches[i] = (struct tl_store_entries){.items = &items[i], .count = 1, .cb = on_written, .user = &done[i]};
        struct tl_err err;
        enum tl_status st = tl_store_entries_submit(m.store, &batches[i], &err);
        assert_true(st == TL_OK || st == TL_BUSY);
        taken += st == TL_OK;
        refused += st == TL_BUSY;
        if (st == TL_BUSY) atomic_store(&done[i], true);
    }
    assert_true(refused > 40 && taken >= 3);
    assert_int_equal(sqlite3_exec(holder, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(holder);
    for (int i = 0; i < 64; i++)
        for (int k = 0; k < 200000 && !atomic_load(&done[i]); k++) usleep(100);
    for (int i = 0; i < 64; i++) assert_true(atomic_load(&done[i]));
    assert_int_equal(number(m.path, "SELECT length(data) FROM entry"), 5 + MIB);
    market_close(&m);
}

static void damaged_rows(void **state)
{
    (void)state;
    struct market m;
    market_open(&m);
    put(m.store, "k", 3, "v");
    sql(m.path, "UPDATE entry SET ord = x'00'");
    expect(m.store, "k", "v"); /* whether it is an entry is for its reader to say */
    assert_true(put(m.store, "k", 1, "mended"));
    expect(m.store, "k", "mended");
    sql(m.path, "INSERT INTO notice(key, ord) VALUES ('x', x'01')");
    struct tl_store_reader *r = reader(m.store);
    struct seen s = {.n = 0};
    uint64_t at = 0;
    assert_int_equal(tl_store_notices(r, &at, on_notice, &s, NULL), TL_OK); /* passed over */
    assert_string_equal(s.text, "k:1 ");
    tl_store_reader_free(r);
    market_close(&m);
}

/* The value is longer than the rest of the file, so the page in the middle is one of its own. */
static void damaged_pages(void **state)
{
    (void)state;
    struct market m;
    static char big[MIB];
    unsigned char page[16384];
    struct tl_err err;
    market_open(&m);
    struct tl_store_entry e = entry("big", 1, "");
    e.body = (struct tl_str){big, sizeof big};
    struct tl_store_entries b = {.items = &e, .count = 1};
    assert_int_equal(write_batch(m.store, &b), TL_OK);
    put(m.store, "small", 1, "v");
    tl_store_close(m.store);
    memset(page, 0xff, sizeof page);
    FILE *f = fopen(m.path, "r+");
    assert_non_null(f);
    long middle = (long)number(m.path, "PRAGMA page_count") / 2 * (long)sizeof page;
    assert_int_equal(fseek(f, middle, SEEK_SET), 0);
    assert_int_equal(fwrite(page, sizeof page, 1, f), 1);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(tl_store_open(m.path, NULL, &m.store, NULL), TL_OK);
    struct tl_store_reader *r = reader(m.store);
    struct tl_buf out;
    tl_buf_init(&out, 0);
    assert_int_equal(tl_store_entry_read(r, TL_STR("big"), 0, &out, &err), TL_CORRUPT);
    assert_non_null(strstr(err.text, m.path));
    assert_int_equal(out.n, 0);
    tl_buf_release(&out);
    tl_store_reader_free(r);
    expect(m.store, "small", "v");
    memset(e.order, 2, sizeof e.order);
    assert_int_not_equal(write_batch(m.store, &b),
                         TL_OK); /* SQLite takes a page number that cannot be for a full disk */
    assert_true(strlen(b.err.text) > 0);
    expect(m.store, "small", "v");
    market_close(&m);
}

/* ---- migration ---- */

static void from_schema_1(void **state)
{
    (void)state;
    struct market m;
    struct tl_store *old;
    struct tl_err err = {.text = ""};
    char id[33];
    market_open(&m);
    market_import_walk(&m, "600519.SH", 600, 7, 0);
    snprintf(id, sizeof id, "%s", tl_store_id(m.store));
    int64_t revision = number(m.path, "SELECT value FROM meta WHERE key = 'last_revision'");
    assert_true(revision > 0);
    tl_store_close(m.store);
    sql(m.path, "DROP TABLE entry; DROP TABLE notice; DROP TABLE generation; PRAGMA user_version = 1");
    struct tl_store_options read_only = {.read_only = true};
    assert_int_equal(tl_store_open(m.path, &read_only, &old, &err), TL_UNSUPPORTED);
    assert_non_null(strstr(err.text, "has schema 1"));
    assert_non_null(strstr(err.text, "tierline calc"));
    assert_int_equal(number(m.path, "PRAGMA user_version"), 1); /* a reader changes nothing */
    assert_int_equal(tl_store_open(m.path, NULL, &m.store, &err), TL_OK);
    assert_string_equal(tl_store_id(m.store), id);
    assert_int_equal(number(m.path, "PRAGMA user_version"), 2);
    assert_int_equal(number(m.path, "SELECT value FROM meta WHERE key = 'last_revision'"), revision);
    struct tl_bars want, have;
    struct tl_symbol symbol = market_symbol("600519.SH");
    struct tl_store_reader *r = reader(m.store);
    tl_bars_init(&want);
    tl_bars_init(&have);
    market_walk(&want, 600, 7, 0);
    assert_int_equal(tl_store_bars_read(r, &symbol, TL_FREQ_1D, INT64_MIN, INT64_MAX, &have, NULL, &err), TL_OK);
    assert_int_equal(have.n, want.n);
    assert_memory_equal(have.col[TL_BAR_CLOSE], want.col[TL_BAR_CLOSE], want.n * sizeof(double));
    tl_bars_release(&want);
    tl_bars_release(&have);
    tl_store_reader_free(r);
    assert_true(put(m.store, "k", 1, "v"));
    expect(m.store, "k", "v");
    assert_int_equal(raise_to(m.store, "a", 0, false, NULL), 1);
    tl_store_close(m.store);
    assert_int_equal(tl_store_open(m.path, &read_only, &m.store, &err), TL_OK);
    expect(m.store, "k", "v");
    tl_store_close(m.store);
    sql(m.path, "PRAGMA user_version = 3");
    assert_int_equal(tl_store_open(m.path, NULL, &m.store, &err), TL_TOO_NEW);
    assert_non_null(strstr(err.text, "has schema 3"));
    assert_int_equal(tl_store_open(m.path, &read_only, &m.store, &err), TL_TOO_NEW);
    assert_int_equal(number(m.path, "PRAGMA user_version"), 3);
    sql(m.path, "PRAGMA user_version = 2");
    assert_int_equal(tl_store_open(m.path, NULL, &m.store, &err), TL_OK);
    market_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_higher_order_stays),
        cmocka_unit_test(a_batch_is_there_whole_or_not),
        cmocka_unit_test(callbacks_free_and_submit),
        cmocka_unit_test(what_expires),
        cmocka_unit_test(damaged_pages),
        cmocka_unit_test(sizes_and_bytes),
        cmocka_unit_test(generations_rise),
        cmocka_unit_test(too_many_generations),
        cmocka_unit_test(notices_follow),
        cmocka_unit_test(notices_are_pruned),
        cmocka_unit_test(full_queue),
        cmocka_unit_test(damaged_rows),
        cmocka_unit_test(from_schema_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
