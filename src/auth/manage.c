/* SPDX-License-Identifier: Apache-2.0 */
/* Changing the tokens file: create, list, revoke, from any process. Invariants: who changes it holds an exclusive
 * flock on the very inode that has the name; the new content is written beside it, synced and renamed over it, so a
 * reader sees the file before or after a change and needs no lock; owner and mode stay; a failed change leaves the file
 * as it was. A symbolic link stays a link. Whoever reads keeps the old file open until it has read it. */
#include "auth/file.h"
#include "auth/tokens.h"

#include "base/err.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_NS       UINT64_C(5000000000)
#define LAST_TIME_MS  INT64_C(253402300799000) /* 9999-12-31T23:59:59Z */
#define PERMISSIONS   07777
#define LOCK_PAUSE_US 2000

struct change {
    const char *file;    /* as it was named; in errors */
    char path[PATH_MAX]; /* behind links */
    int fd;
    struct stat sb;
    struct tl_buf text; /* the file's */
    struct tl_tokens *tokens;
};

/* ---- the lock ---- */

/* OK: the lock is held on the inode that has the name now. BUSY: to be tried again. */
static enum tl_status try_lock(struct change *c, int flags, struct tl_err *err)
{
    struct stat named;
    enum tl_status st = tl_file_open(c->file, TL_FILE_SECRET, flags, &c->fd, &c->sb, err);
    if (st != TL_OK) return st;
    bool ours = flock(c->fd, LOCK_EX | LOCK_NB) == 0;
    if (ours && realpath(c->file, c->path) && stat(c->path, &named) == 0 && named.st_ino == c->sb.st_ino &&
        named.st_dev == c->sb.st_dev)
        return TL_OK;
    st = ours || errno == EWOULDBLOCK || errno == EINTR ? TL_BUSY : tl_file_fail(err, c->file, errno, "cannot lock it");
    close(c->fd);
    c->fd = -1;
    return st;
}

static enum tl_status lock(struct change *c, int flags, struct tl_err *err)
{
    uint64_t until = tl_clock_mono_ns(&tl_clock_system) + LOCK_NS;
    for (;;) {
        enum tl_status st = try_lock(c, flags, err);
        if (st != TL_BUSY) return st;
        if (tl_clock_mono_ns(&tl_clock_system) >= until)
            return tl_fail_at(err, TL_BUSY, c->file, 0, 0, "another process has been changing it for 5 s");
        usleep(LOCK_PAUSE_US);
    }
}

static void end(struct change *c)
{
    if (c->fd >= 0) close(c->fd); /* the lock goes with it */
    tl_buf_release(&c->text);
    tl_tokens_free(c->tokens);
}

static enum tl_status begin(struct change *c, const char *file, int flags, struct tl_err *err)
{
    *c = (struct change){.file = file, .fd = -1};
    tl_buf_init(&c->text, TL_TOKENS_FILE_MAX);
    enum tl_status st = lock(c, flags, err);
    if (st == TL_OK) st = tl_file_read_fd(c->fd, file, &c->text, err);
    if (st == TL_OK) st = tl_tokens_parse(tl_buf_str(&c->text), file, &c->tokens, err);
    return st;
}

/* ---- replacing ---- */

static int write_all(int fd, struct tl_str text)
{
    while (text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        text.p += n;
        text.n -= (size_t)n;
    }
    return 0;
}

/* As the old one: who may read the tokens stays who may. */
static int keep_owner(int fd, const struct stat *old)
{
    struct stat sb;
    if (fstat(fd, &sb) != 0) return -1;
    if ((sb.st_uid != old->st_uid || sb.st_gid != old->st_gid) && fchown(fd, old->st_uid, old->st_gid) != 0) return -1;
    return fchmod(fd, old->st_mode & PERMISSIONS);
}

/* The name is durable, too; a file system that cannot sync folders is as good as it is. */
static void sync_folder(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash) return;
    slash[slash == path ? 1 : 0] = '\0';
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

static enum tl_status replace(struct change *c, struct tl_str text, struct tl_err *err)
{
    char aside[PATH_MAX + 8];
    snprintf(aside, sizeof aside, "%s.new", c->path);
    (void)unlink(aside); /* of one that died; the lock says that nobody is at it */
    int fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return tl_file_fail(err, aside, errno, "cannot create it");
    const char *what = keep_owner(fd, &c->sb) != 0 ? "cannot give it the owner and mode of the old file"
                       : write_all(fd, text) != 0  ? "cannot write it"
                       : fsync(fd) != 0            ? "cannot sync it"
                                                   : NULL;
    int why = errno;
    if (close(fd) != 0 && !what) {
        what = "cannot write it";
        why = errno;
    }
    if (!what && rename(aside, c->path) != 0) {
        what = "cannot put it into its place";
        why = errno;
    }
    if (what) {
        (void)unlink(aside);
        return tl_file_fail(err, aside, why, what);
    }
    sync_folder(c->path);
    return TL_OK;
}

/* ---- create ---- */

static enum tl_status check_wish(const char *name, unsigned may, int64_t expires_ms, int64_t now_ms, struct tl_err *err)
{
    if (!tl_token_name_valid(tl_str(name)))
        return tl_fail(err, TL_INVALID,
                       "'%.80s' is no name of a token: up to 71 letters, digits, '.', '_', '@' and '-', and not 12 hex "
                       "digits, which would be an id",
                       name);
    if (!(may & (TL_MAY_READ | TL_MAY_WRITE | TL_MAY_ADMIN)))
        return tl_fail(err, TL_INVALID, "a token needs a scope: read, write or admin");
    if (expires_ms <= now_ms) return tl_fail(err, TL_INVALID, "the token would be expired already");
    if (expires_ms != INT64_MAX && expires_ms > LAST_TIME_MS)
        return tl_fail(err, TL_INVALID, "the token would expire after the year 9999");
    return TL_OK;
}

/* A token whose salt no row has, and its row's hash. */
static bool make(const struct tl_tokens *tokens, char out[TL_TOKEN_MAX], struct tl_token_entry *e)
{
    unsigned char raw[TL_TOKEN_BYTES];
    struct tl_str salt = {(const char *)e->salt, sizeof e->salt};
    do {
        if (RAND_priv_bytes(raw, sizeof raw) != 1) {
            ERR_clear_error();
            return false;
        }
        memcpy(e->salt, raw, sizeof e->salt);
    } while (tl_map_get(tokens->by_salt, salt));
    memcpy(out, "tl_", 3);
    tl_base64url(raw, sizeof raw, out + 3);
    OPENSSL_cleanse(raw, sizeof raw);
    return tl_sha256(salt, tl_str(out), e->hash);
}

static void put_row(struct tl_buf *b, const struct tl_token_entry *e)
{
    char expires[TL_RFC3339_MAX] = "never", created[TL_RFC3339_MAX];
    char salt[2 * TL_TOKEN_SALT + 1], hash[2 * TL_SHA256 + 1];
    if (e->row.expires_ms != INT64_MAX) tl_rfc3339(e->row.expires_ms, expires);
    tl_rfc3339(e->row.created_ms, created);
    tl_hex(e->salt, sizeof e->salt, salt);
    tl_hex(e->hash, sizeof e->hash, hash);
    if (b->n > 0 && b->p[b->n - 1] != '\n') tl_buf_putc(b, '\n');
    tl_buf_printf(b, "%s %s %s sha256:%s:%s %s\n", e->row.name, tl_may_name(e->row.may), expires, salt, hash, created);
}

enum tl_status tl_tokens_create(const char *file, const char *name, unsigned may, int64_t expires_ms, int64_t now_ms,
                                char out[TL_TOKEN_MAX], struct tl_err *err)
{
    struct change c;
    struct tl_token_entry e = {.row = {.may = may, .expires_ms = expires_ms, .created_ms = now_ms}};
    out[0] = '\0';
    enum tl_status st = check_wish(name, may, expires_ms, now_ms, err);
    if (st != TL_OK) return st;
    memcpy(e.row.name, name, strlen(name));
    st = begin(&c, file, O_RDWR | O_CREAT, err);
    if (st == TL_OK && tl_map_get(c.tokens->by_name, tl_str(name)))
        st = tl_fail_at(err, TL_CONFLICT, file, 0, 0, "there is a token named '%s' already", name);
    if (st == TL_OK && c.tokens->n == TL_TOKENS_MAX)
        st = tl_fail_at(err, TL_TOO_LARGE, file, 0, 0, "has %d tokens already", TL_TOKENS_MAX);
    if (st == TL_OK && !make(c.tokens, out, &e)) st = tl_fail(err, TL_INTERNAL, "no random numbers for a token");
    if (st == TL_OK) {
        put_row(&c.text, &e);
        st = tl_buf_status(&c.text, err);
    }
    if (st == TL_OK) st = replace(&c, tl_buf_str(&c.text), err);
    if (st != TL_OK) OPENSSL_cleanse(out, TL_TOKEN_MAX);
    end(&c);
    return st;
}

/* ---- list, revoke ---- */

enum tl_status tl_tokens_list(const char *file, bool (*cb)(void *ctx, const struct tl_token_row *), void *ctx,
                              struct tl_err *err)
{
    struct tl_buf text;
    struct stat sb;
    struct tl_tokens *tokens = NULL;
    tl_buf_init(&text, TL_TOKENS_FILE_MAX);
    enum tl_status st = tl_file_read(file, TL_FILE_SECRET, &text, &sb, err);
    if (st == TL_NOT_FOUND) return TL_OK; /* nobody has created one yet */
    if (st == TL_OK) st = tl_tokens_parse(tl_buf_str(&text), file, &tokens, err);
    tl_buf_release(&text);
    for (size_t i = 0; st == TL_OK && i < tokens->n; i++)
        if (!cb(ctx, &tokens->entries[i].row)) break;
    tl_tokens_free(tokens);
    return st;
}

enum tl_status tl_tokens_revoke(const char *file, const char *name, struct tl_err *err)
{
    struct change c;
    enum tl_status st = begin(&c, file, O_RDWR, err);
    const struct tl_token_entry *e = st == TL_OK ? tl_tokens_named(c.tokens, name) : NULL;
    if (st == TL_OK && !e) st = tl_fail_at(err, TL_NOT_FOUND, file, 0, 0, "there is no token '%.80s'", name);
    if (e) {
        memmove(c.text.p + e->from, c.text.p + e->to, c.text.n - e->to);
        c.text.n -= e->to - e->from;
        st = replace(&c, tl_buf_str(&c.text), err);
    }
    end(&c);
    return st;
}
