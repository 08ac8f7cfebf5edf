/* SPDX-License-Identifier: Apache-2.0 */
/* Files, folders and stdin into a store: a bad file leaves nothing, a folder goes on without it, importing again
 * changes nothing, new bars append, corrected ones raise the revision. */
#include "import_fixture.h"

#include "import/import.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct place {
    char folder[256];
    struct tl_store *store;
    struct tl_buf said; /* on_reject: "base:line text\n" */
    int cancel_after;   /* calls of cancelled until true; < 0: never */
    uint64_t progress_calls, done, total;
};

static int remove_one(const char *path, const struct stat *sb, int type, struct FTW *f)
{
    (void)sb;
    (void)type;
    (void)f;
    return remove(path);
}

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    const char *tmp = getenv("TMPDIR");
    char url[300];
    if (!p) return 1;
    snprintf(p->folder, sizeof p->folder, "%s/tl-import-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(p->folder)) return 1;
    snprintf(url, sizeof url, "%s/store.db", p->folder);
    tl_buf_init(&p->said, 0);
    p->cancel_after = -1;
    *state = p;
    struct tl_err err;
    if (tl_store_open(url, &(struct tl_store_options){0}, &p->store, &err) == TL_OK) return 0;
    print_error("%s\n", err.text);
    return 1;
}

static int teardown(void **state)
{
    struct place *p = *state;
    tl_store_close(p->store);
    tl_buf_release(&p->said);
    const int r = nftw(p->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(p);
    return r;
}

static const char *path_of(const struct place *p, const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", p->folder, name);
    return path;
}

static void write_file(const struct place *p, const char *name, const char *text)
{
    FILE *f = fopen(path_of(p, name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static void on_reject(void *ctx, const struct tl_err *e)
{
    const char *slash = strrchr(e->file, '/');
    tl_buf_printf(&((struct place *)ctx)->said, "%s:%llu %s\n", slash ? slash + 1 : e->file,
                  (unsigned long long)e->line, e->text);
}

static void on_progress(void *ctx, const char *file, uint64_t done, uint64_t total)
{
    struct place *p = ctx;
    (void)file;
    assert_true(done >= p->done);
    p->done = done;
    p->total = total;
    p->progress_calls++;
}

static bool cancelled(void *ctx)
{
    struct place *p = ctx;
    return p->cancel_after >= 0 && p->cancel_after-- == 0;
}

static struct tl_import_options options(struct place *p)
{
    struct tl_import_options o = fixture_options();
    o.on_reject = on_reject;
    o.on_progress = on_progress;
    o.cancelled = cancelled;
    o.ctx = p;
    tl_buf_clear(&p->said);
    tl_buf_puts(&p->said, "");
    p->done = 0;
    return o;
}

static enum tl_status import(struct place *p, const char *path, const struct tl_import_options *o,
                             struct tl_import_summary *s, struct tl_err *err)
{
    p->done = 0;
    return tl_import_path(p->store, path, o, s, err);
}

static struct tl_bars_head head_of(struct place *p, const char *symbol, enum tl_freq freq, enum tl_status *st)
{
    struct tl_store_reader *r;
    struct tl_symbol s;
    struct tl_bars_head h = {0};
    assert_int_equal(tl_symbol_parse(tl_str(symbol), TL_MARKET_NONE, &s, NULL), TL_OK);
    assert_int_equal(tl_store_reader_new(p->store, &r, NULL), TL_OK);
    *st = tl_store_bars_head(r, &s, freq, &h, NULL);
    tl_store_reader_free(r);
    return h;
}

#define HEAD "date,open,high,low,close,volume\n"

static void test_again(void **state)
{
    struct place *p = *state;
    struct tl_import_options o = options(p);
    struct tl_import_summary s;
    struct tl_err err;
    enum tl_status st;
    write_file(p, "AAPL.csv", HEAD "2013-01-02,1,1,1,1,5\n2013-01-03,2,2,2,2,5\nbad,1,1,1,1,1\n");
    assert_int_equal(import(p, path_of(p, "AAPL.csv"), &o, &s, &err), TL_OK);
    assert_int_equal(s.files, 1);
    assert_int_equal(s.rows, 3);
    assert_int_equal(s.rejected, 1);
    assert_int_equal(s.stored.appended, 2);
    assert_string_equal(p->said.p, "AAPL.csv:4 date \"bad\" is not a date\n");
    assert_int_equal(p->done, p->total);
    assert_true(p->progress_calls > 0);
    const struct tl_bars_head first = head_of(p, "AAPL", TL_FREQ_1D, &st);
    assert_int_equal(st, TL_OK);
    assert_int_equal(first.raw.bars, 2);

    assert_int_equal(import(p, path_of(p, "AAPL.csv"), &o, &s, &err), TL_OK);
    assert_int_equal(s.stored.unchanged, 2);
    assert_int_equal(s.stored.appended + s.stored.changed + s.stored.inserted, 0);
    const struct tl_bars_head again = head_of(p, "AAPL", TL_FREQ_1D, &st);
    assert_int_equal(tl_version_cmp(first.raw, again.raw), 0);

    write_file(p, "AAPL.csv", HEAD "2013-01-04,3,3,3,3,5\n");
    assert_int_equal(import(p, path_of(p, "AAPL.csv"), &o, &s, &err), TL_OK);
    const struct tl_bars_head more = head_of(p, "AAPL", TL_FREQ_1D, &st);
    assert_int_equal(more.raw.revision, first.raw.revision);
    assert_int_equal(more.raw.bars, 3);

    write_file(p, "AAPL.csv", HEAD "2013-01-03,2,2,2,2.5,5\n");
    assert_int_equal(import(p, path_of(p, "AAPL.csv"), &o, &s, &err), TL_OK);
    assert_int_equal(s.stored.changed, 1);
    const struct tl_bars_head fixed = head_of(p, "AAPL", TL_FREQ_1D, &st);
    assert_true(fixed.raw.revision > more.raw.revision);
    assert_int_equal(fixed.raw.bars, 3);
}

/* All that is wrong with single files, beside two good ones. */
static void test_folder(void **state)
{
    struct place *p = *state;
    struct tl_import_options o = options(p);
    struct tl_import_summary s;
    struct tl_err err;
    enum tl_status st;
    char folder[512];
    snprintf(folder, sizeof folder, "%s", path_of(p, "in"));
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(mkdir(path_of(p, "in/dir.csv"), 0700), 0);
    assert_int_equal(mkdir(path_of(p, "in/sub"), 0700), 0);
    assert_int_equal(mkfifo(path_of(p, "in/fifo.csv"), 0600), 0);
    assert_int_equal(symlink("nowhere", path_of(p, "in/gone.csv")), 0);
    write_file(p, "in/sub/ZZZ.csv", HEAD "2013-01-02,1,1,1,1,5\n");
    write_file(p, "in/BBB.csv", HEAD "2013-01-02,1,1,1,1,5\n");
    write_file(p, "in/AAA.TXT", HEAD "2013-01-02,1,1,1,1,5\n");
    write_file(p, "in/readme.md", "nothing\n");
    write_file(p, "in/.hidden.csv", "nothing\n");
    write_file(p, "in/empty.csv", "");
    write_file(p, "in/late.csv", HEAD "2013-01-02,1,1,1,1,5\n2013-01-03,\"1,1,1,1,5\n");
    assert_int_equal(import(p, folder, &o, &s, &err), TL_SOME_FAILED);
    assert_non_null(strstr(err.text, "5 of 7 files"));
    assert_int_equal(s.files, 7);
    assert_int_equal(s.files_failed, 5);
    assert_int_equal(s.rows, 2);
    assert_int_equal(s.stored.appended, 2);
    assert_string_equal(p->said.p, "dir.csv:0 not a file: Is a directory\n"
                                   "empty.csv:0 the file is empty\n"
                                   "fifo.csv:0 not a regular file\n"
                                   "gone.csv:0 cannot open: No such file or directory\n"
                                   "late.csv:0 line 3: a quote is opened here and never closed\n");
    (void)head_of(p, "AAA", TL_FREQ_1D, &st);
    assert_int_equal(st, TL_OK);
    (void)head_of(p, "LATE", TL_FREQ_1D, &st);
    assert_int_equal(st, TL_NOT_FOUND);
    (void)head_of(p, "ZZZ", TL_FREQ_1D, &st);
    assert_int_equal(st, TL_NOT_FOUND);
}

static void test_paths(void **state)
{
    struct place *p = *state;
    struct tl_import_options o = options(p);
    struct tl_import_summary s;
    struct tl_err err;
    assert_int_equal(import(p, path_of(p, "nothing.csv"), &o, &s, &err), TL_NOT_FOUND);
    assert_int_equal(s.files_failed, 1);
    assert_int_equal(mkdir(path_of(p, "none"), 0700), 0);
    assert_int_equal(import(p, path_of(p, "none"), &o, &s, &err), TL_NO_DATA);
    assert_non_null(strstr(err.text, "no *.csv or *.txt"));
    write_file(p, "A.csv", HEAD "2013-01-02,1,1,1,1,5\n");
    assert_int_equal(chmod(path_of(p, "A.csv"), 0), 0);
    if (geteuid() != 0) {
        assert_int_equal(import(p, path_of(p, "A.csv"), &o, &s, &err), TL_DENIED);
        return;
    }
    /* root may read anything, so somebody else tries; the store is not needed to be refused. */
    assert_int_equal(chmod(p->folder, 0755), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        if (setgid(65534) != 0 || setuid(65534) != 0) _exit(77);
        o.on_progress = NULL;
        _exit(tl_import_path(NULL, path_of(p, "A.csv"), &o, &s, &err) == TL_DENIED ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77));
}

/* 303 files one after another, twice. */
static void test_real_folder(void **state)
{
    struct place *p = *state;
    struct tl_import_options o = options(p);
    struct tl_import_summary s;
    struct tl_err err;
    const char *folder = tl_test_shared("data/ashare_csi300/data");
    if (!folder) skip();
    assert_int_equal(import(p, folder, &o, &s, &err), TL_OK);
    print_message("CSI 300: %llu files, %llu bars stored in %.2f s\n", (unsigned long long)s.files,
                  (unsigned long long)s.stored.appended, s.seconds);
    assert_int_equal(s.files, 303);
    assert_int_equal(s.rows, 861340);
    assert_int_equal(s.stored.appended, 861340);
    assert_int_equal(s.stored.symbols, 303);
    assert_int_equal(s.bytes, p->total);
    assert_int_equal(import(p, folder, &o, &s, &err), TL_OK);
    assert_int_equal(s.stored.unchanged, 861340);
    assert_int_equal(s.stored.appended + s.stored.changed + s.stored.inserted, 0);
}

/* A file is dropped whole when it is cancelled: at any point but after the commit. */
static void test_cancel(void **state)
{
    struct place *p = *state;
    struct tl_import_options o = options(p);
    struct tl_import_summary s;
    struct tl_err err;
    enum tl_status st, got = TL_CANCELLED;
    write_file(p, "x.csv", "Name,date,open,high,low,close\nAA,2013-01-02,1,1,1,1\nBB,2013-01-02,1,1,1,1\n");
    int n = 0;
    for (; got == TL_CANCELLED; n++) {
        p->cancel_after = n;
        got = import(p, path_of(p, "x.csv"), &o, &s, &err);
        (void)head_of(p, "AA", TL_FREQ_1D, &st);
        assert_int_equal(st, got == TL_OK ? TL_OK : TL_NOT_FOUND);
    }
    assert_int_equal(got, TL_OK);
    assert_true(n >= 4);
}

static void test_stdin(void **state)
{
    struct place *p = *state;
    struct tl_import_options o = options(p);
    struct tl_import_summary s;
    struct tl_err err;
    enum tl_status st;
    int ends[2];
    const int saved = dup(STDIN_FILENO);
    static const char text[] = "datetime,open,high,low,close\n2019-11-05 09:30,1,1,1,1\n2019-11-05 09:31,1,1,1,1\n";
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], text, sizeof text - 1), (ssize_t)(sizeof text - 1));
    close(ends[1]);
    assert_true(dup2(ends[0], STDIN_FILENO) >= 0);
    o.symbol = "SPX";
    o.zone = "America/New_York";
    o.last_provisional = true;
    assert_int_equal(import(p, "-", &o, &s, &err), TL_OK);
    assert_true(dup2(saved, STDIN_FILENO) >= 0);
    close(saved);
    close(ends[0]);
    const struct tl_bars_head h = head_of(p, "SPX", TL_FREQ_1M, &st);
    assert_int_equal(st, TL_OK);
    assert_string_equal(h.zone, "America/New_York");
    assert_int_equal(h.raw.bars, 1);
    assert_true(h.provisional);
    assert_int_equal(h.first_ts, INT64_C(1572964200000)); /* 2019-11-05 14:30 UTC */
}

static void test_facts(void **state)
{
    struct place *p = *state;
    struct tl_import_options o = options(p);
    struct tl_import_summary s;
    struct tl_err err;
    struct tl_store_reader *r;
    struct tl_factors f = {0};
    struct tl_symbol symbol;
    int64_t *days;
    size_t n;
    o.kind = TL_IMPORT_FACTORS;
    write_file(p, "f.csv", "symbol,date,cash\nAAPL,2013-01-02,0.5\nAAPL,2014-01-02,0.25\n");
    assert_int_equal(import(p, path_of(p, "f.csv"), &o, &s, &err), TL_OK);
    o.kind = TL_IMPORT_CALENDAR;
    o.calendar = "CN";
    write_file(p, "c.csv", "date\n2013-01-04\n2013-01-02\n");
    assert_int_equal(import(p, path_of(p, "c.csv"), &o, &s, &err), TL_OK);
    assert_int_equal(tl_store_reader_new(p->store, &r, &err), TL_OK);
    assert_int_equal(tl_symbol_parse(TL_STR("AAPL"), TL_MARKET_NONE, &symbol, &err), TL_OK);
    assert_int_equal(tl_store_factors_read(r, &symbol, &f, &err), TL_OK);
    assert_int_equal(f.n, 2);
    assert_true(f.v[1].cash == 0.25);
    assert_int_equal(tl_store_calendar_read(r, "CN", &days, &n, &err), TL_OK);
    assert_int_equal(n, 2);
    assert_int_equal(days[0], INT64_C(1357084800000));
    free(days);
    tl_factors_release(&f);
    tl_store_reader_free(r);
}

int test_import_files(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stdin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_facts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_real_folder, setup, teardown),
    };
    return cmocka_run_group_tests_name("import: files and the store", tests, NULL, NULL);
}
