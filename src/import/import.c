/* SPDX-License-Identifier: Apache-2.0 */
/* Files, folders and stdin into the store. One file is one tl_store_import, begun when the file has been read whole and
 * found sound, so a bad file leaves nothing. A file that cannot be used does not stop a folder; the store's errors do,
 * because they would meet the next file as well. */
#include "import/import.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/util.h"
#include "import/parse.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the store as a sink ---- */

struct store_sink {
    struct tl_store *store;
    struct tl_store_import *import; /* NULL until the first call */
    bool failed;                    /* the store refused; not the file's fault */
};

static enum tl_status noted(struct store_sink *s, enum tl_status st)
{
    s->failed = st != TL_OK;
    return st;
}

static enum tl_status begun(struct store_sink *s, struct tl_err *err)
{
    return s->import ? TL_OK : noted(s, tl_store_import_begin(s->store, &s->import, err));
}

static enum tl_status put_bars(void *ctx, const struct tl_symbol *symbol, enum tl_freq freq, const char *zone,
                               const struct tl_bars *bars, bool last_provisional, struct tl_err *err)
{
    struct store_sink *s = ctx;
    const enum tl_status st = begun(s, err);
    if (st != TL_OK) return st;
    return noted(s, tl_store_import_bars(s->import, symbol, freq, zone, bars, last_provisional, err));
}

static enum tl_status put_factors(void *ctx, const struct tl_symbol *symbol, const struct tl_factors *factors,
                                  struct tl_err *err)
{
    struct store_sink *s = ctx;
    const enum tl_status st = begun(s, err);
    return st != TL_OK ? st : noted(s, tl_store_import_factors(s->import, symbol, factors, err));
}

static enum tl_status put_calendar(void *ctx, const char *calendar, const int64_t *days_ms, size_t n,
                                   struct tl_err *err)
{
    struct store_sink *s = ctx;
    const enum tl_status st = begun(s, err);
    return st != TL_OK ? st : noted(s, tl_store_import_calendar(s->import, calendar, days_ms, n, err));
}

/* ---- one file ---- */

struct job {
    struct tl_store *store;
    const struct tl_import_options *opt;
    struct tl_import_summary *sum;
    uint64_t bytes_before, bytes_total;
    bool store_failed;
};

static int64_t read_fd(void *ctx, char *p, size_t cap)
{
    const int fd = *(const int *)ctx;
    for (;;) {
        const ssize_t n = read(fd, p, cap);
        if (n >= 0) return n;
        if (errno != EINTR) return -errno;
    }
}

static void add_totals(struct tl_import_totals *to, const struct tl_import_totals *t)
{
    to->symbols += t->symbols;
    to->appended += t->appended;
    to->changed += t->changed;
    to->inserted += t->inserted;
    to->unchanged += t->unchanged;
    to->provisional += t->provisional;
}

static enum tl_status import_source(struct job *j, const struct tl_import_source *source,
                                    struct tl_import_counts *count, struct tl_err *err)
{
    struct store_sink s = {.store = j->store};
    const struct tl_import_sink sink = {.ctx = &s, .bars = put_bars, .factors = put_factors, .calendar = put_calendar};
    struct tl_import_totals totals = {0};
    enum tl_status st = tl_import_parse(source, j->opt, &sink, count, err);
    if (st == TL_OK && j->opt->cancelled && j->opt->cancelled(j->opt->ctx))
        st = tl_fail(err, TL_CANCELLED, "cancelled");
    if (st == TL_OK && s.import)
        st = noted(&s, tl_store_import_commit(s.import, &totals, err));
    else
        tl_store_import_abort(s.import);
    j->store_failed = s.failed;
    if (st == TL_OK) add_totals(&j->sum->stored, &totals);
    return st;
}

static void count_file(struct job *j, const struct tl_import_counts *count, enum tl_status st)
{
    j->sum->bytes += count->bytes;
    j->bytes_before += count->bytes;
    if (st != TL_OK) {
        j->sum->files_failed++;
        return;
    }
    j->sum->rows += count->rows;
    j->sum->rejected += count->rejected;
    j->sum->inconsistent += count->inconsistent;
    j->sum->duplicates += count->duplicates;
}

/* path is a file, or a pipe if in_folder is not set. */
static enum tl_status open_file(const char *path, bool in_folder, int *fd, struct tl_err *err)
{
    struct stat sb;
    *fd = open(path, O_RDONLY | O_CLOEXEC | (in_folder ? O_NONBLOCK : 0));
    enum tl_status st = TL_OK;
    if (*fd < 0)
        st = tl_fail_errno(err, errno, "cannot open");
    else if (fstat(*fd, &sb) != 0)
        st = tl_fail_errno(err, errno, "cannot look at");
    else if (S_ISDIR(sb.st_mode))
        st = tl_fail_errno(err, EISDIR, "not a file");
    else if (in_folder && !S_ISREG(sb.st_mode))
        st = tl_fail(err, TL_INVALID, "not a regular file");
    if (st != TL_OK && err) snprintf(err->file, sizeof err->file, "%s", path);
    if (st != TL_OK && *fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
    return st;
}

static enum tl_status import_file(struct job *j, const char *path, bool in_folder, struct tl_err *err)
{
    struct tl_import_counts count = {0};
    int fd = STDIN_FILENO;
    const bool is_stdin = !in_folder && strcmp(path, "-") == 0;
    j->store_failed = false;
    j->sum->files++;
    enum tl_status st = is_stdin ? TL_OK : open_file(path, in_folder, &fd, err);
    const struct tl_import_source source = {
        .read = read_fd, .ctx = &fd, .name = path, .bytes_before = j->bytes_before, .bytes_total = j->bytes_total};
    if (st == TL_OK) st = import_source(j, &source, &count, err);
    if (fd >= 0 && !is_stdin) (void)close(fd);
    count_file(j, &count, st);
    if (j->opt->on_progress) j->opt->on_progress(j->opt->ctx, path, j->bytes_before, j->bytes_total);
    return st;
}

/* ---- folders ---- */

struct names {
    char **v;
    size_t n, cap;
};

static void names_release(struct names *l)
{
    for (size_t i = 0; i < l->n; i++) free(l->v[i]);
    free(l->v);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_csv(const char *name)
{
    const char *dot = strrchr(name, '.');
    return name[0] != '.' && dot && (strcasecmp(dot, ".csv") == 0 || strcasecmp(dot, ".txt") == 0);
}

static enum tl_status add_name(struct names *l, const char *folder, const char *name, struct tl_err *err)
{
    if (l->n == l->cap) {
        char **v = tl_realloc(l->v, l->cap ? l->cap * 2 : 64, sizeof *v);
        if (!v) return tl_fail(err, TL_NOMEM, "no memory to list %s", folder);
        l->v = v;
        l->cap = l->cap ? l->cap * 2 : 64;
    }
    struct tl_buf b;
    tl_buf_init(&b, 0);
    const size_t n = strlen(folder);
    tl_buf_printf(&b, "%s%s%s", folder, n && folder[n - 1] == '/' ? "" : "/", name);
    char *path = tl_buf_take(&b, NULL);
    tl_buf_release(&b);
    if (!path) return tl_fail(err, TL_NOMEM, "no memory to list %s", folder);
    l->v[l->n++] = path;
    return TL_OK;
}

/* The *.csv and *.txt of a folder in byte order; not what is in its folders. */
static enum tl_status list_folder(const char *folder, struct names *l, uint64_t *bytes, struct tl_err *err)
{
    DIR *d = opendir(folder);
    if (!d) return tl_fail_errno(err, errno, "cannot read the folder %s", folder);
    enum tl_status st = TL_OK;
    errno = 0;
    for (struct dirent *e; st == TL_OK && (e = readdir(d)) != NULL; errno = 0)
        if (is_csv(e->d_name)) st = add_name(l, folder, e->d_name, err);
    if (st == TL_OK && errno) st = tl_fail_errno(err, errno, "cannot read the folder %s", folder);
    (void)closedir(d);
    if (st != TL_OK) return st;
    if (l->n == 0) return tl_fail(err, TL_NO_DATA, "no *.csv or *.txt in the folder %s", folder);
    qsort(l->v, l->n, sizeof *l->v, by_name);
    struct stat sb;
    for (size_t i = 0; i < l->n; i++)
        if (stat(l->v[i], &sb) == 0 && S_ISREG(sb.st_mode)) *bytes += (uint64_t)sb.st_size;
    return TL_OK;
}

/* Would stop the next file as well. */
static bool fatal(const struct job *j, enum tl_status st)
{
    return j->store_failed || st == TL_CANCELLED || st == TL_NOMEM;
}

/* A file that failed: line 0 says that it is the file as a whole, so the text takes the line. */
static void report_file(const struct tl_import_options *o, const struct tl_err *err)
{
    struct tl_err e = *err;
    if (err->line)
        tl_fail_at(&e, err->status, err->file, 0, 0, "line %llu: %s", (unsigned long long)err->line, err->text);
    e.column = 0;
    o->on_reject(o->ctx, &e);
}

static enum tl_status import_folder(struct job *j, const char *folder, struct tl_err *err)
{
    struct names l = {0};
    enum tl_status st = list_folder(folder, &l, &j->bytes_total, err);
    for (size_t i = 0; st == TL_OK && i < l.n; i++) {
        struct tl_err e = {0};
        if (j->opt->cancelled && j->opt->cancelled(j->opt->ctx)) {
            st = tl_fail(err, TL_CANCELLED, "cancelled");
            break;
        }
        const enum tl_status one = import_file(j, l.v[i], true, &e);
        if (one == TL_OK) continue;
        if (fatal(j, one)) {
            st = one;
            if (err) *err = e;
        } else if (j->opt->on_reject) {
            report_file(j->opt, &e);
        }
    }
    if (st == TL_OK && j->sum->files_failed)
        st = tl_fail(err, TL_SOME_FAILED, "%llu of %llu files of %s could not be imported",
                     (unsigned long long)j->sum->files_failed, (unsigned long long)j->sum->files, folder);
    names_release(&l);
    return st;
}

enum tl_status tl_import_path(struct tl_store *store, const char *path, const struct tl_import_options *opt,
                              struct tl_import_summary *sum, struct tl_err *err)
{
    struct job j = {.store = store, .opt = opt, .sum = sum};
    struct tl_import_summary scrap;
    struct stat sb;
    if (!sum) j.sum = &scrap;
    *j.sum = (struct tl_import_summary){0};
    const uint64_t begun_ns = tl_clock_mono_ns(&tl_clock_system);
    const bool known = strcmp(path, "-") != 0 && stat(path, &sb) == 0;
    enum tl_status st;
    if (known && S_ISDIR(sb.st_mode)) {
        st = import_folder(&j, path, err);
    } else {
        if (known && S_ISREG(sb.st_mode)) j.bytes_total = (uint64_t)sb.st_size;
        st = import_file(&j, path, false, err);
    }
    j.sum->seconds = (double)(tl_clock_mono_ns(&tl_clock_system) - begun_ns) / 1e9;
    return st;
}

static int64_t read_bytes(void *ctx, char *p, size_t cap)
{
    struct tl_str *left = ctx;
    const size_t n = TL_MIN(cap, left->n);
    if (n) memcpy(p, left->p, n);
    *left = (struct tl_str){left->p + n, left->n - n};
    return (int64_t)n;
}

enum tl_status tl_import_bytes(struct tl_store *store, struct tl_str bytes, const char *name,
                               const struct tl_import_options *opt, struct tl_import_summary *sum, struct tl_err *err)
{
    struct job j = {.store = store, .opt = opt, .sum = sum, .bytes_total = bytes.n};
    struct tl_import_counts count = {0};
    *sum = (struct tl_import_summary){.files = 1};
    const struct tl_import_source source = {.read = read_bytes, .ctx = &bytes, .name = name, .bytes_total = bytes.n};
    const uint64_t begun_ns = tl_clock_mono_ns(&tl_clock_system);
    const enum tl_status st = import_source(&j, &source, &count, err);
    count_file(&j, &count, st);
    sum->seconds = (double)(tl_clock_mono_ns(&tl_clock_system) - begun_ns) / 1e9;
    return st;
}
