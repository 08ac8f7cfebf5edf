/* SPDX-License-Identifier: Apache-2.0 */
/* Reading keys and tokens. Invariants: the permissions are those of the open file, not of a name that may have been
 * swapped since; a pipe, device or folder is refused before a byte is read; a buffer that held a key is overwritten
 * before it is freed or grown. Does not look at the folders above. */
#include "auth/file.h"

#include "base/err.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <unistd.h>

enum { MODE_BITS = 07777, NOT_FOR_OTHERS = 0027, NOT_TO_WRITE = 0022 };

enum tl_status tl_file_fail(struct tl_err *err, const char *path, int errnum, const char *what)
{
    struct tl_err why;
    enum tl_status st = tl_fail_errno(&why, errnum, "%s", what);
    (void)tl_fail_at(err, st, path, 0, 0, "%s", why.text);
    if (err) err->native = errnum;
    return st;
}

enum tl_status tl_file_open(const char *path, enum tl_file_kind kind, int flags, int *fd, struct stat *sb,
                            struct tl_err *err)
{
    /* Nonblocking: a pipe without a writer would hold the loop. */
    *fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    if (*fd < 0) return tl_file_fail(err, path, errno, "cannot open it");
    enum tl_status st = TL_OK;
    mode_t refused = kind == TL_FILE_SECRET ? NOT_FOR_OTHERS : NOT_TO_WRITE;
    if (fstat(*fd, sb) != 0)
        st = tl_file_fail(err, path, errno, "cannot look at it");
    else if (!S_ISREG(sb->st_mode))
        st = tl_fail_at(err, TL_INVALID, path, 0, 0, "is no regular file");
    else if (sb->st_mode & refused)
        st = tl_fail_at(err, TL_DENIED, path, 0, 0, "others may %s it (mode %04o): chmod %s",
                        sb->st_mode & NOT_TO_WRITE ? "write" : "read", (unsigned)(sb->st_mode & MODE_BITS),
                        kind == TL_FILE_SECRET ? "600" : "644");
    if (st == TL_OK) return TL_OK;
    close(*fd);
    *fd = -1;
    return st;
}

enum tl_status tl_file_read_fd(int fd, const char *path, struct tl_buf *out, struct tl_err *err)
{
    struct stat sb;
    if (fstat(fd, &sb) != 0) return tl_file_fail(err, path, errno, "cannot look at it");
    if (sb.st_size < 0 || (uint64_t)sb.st_size > out->max_bytes)
        return tl_fail_at(err, TL_TOO_LARGE, path, 0, 0, "has more than %zu bytes", out->max_bytes);
    /* All the room at once: growing would leave copies behind. A file that grows meanwhile is read up to its size. */
    size_t left = (size_t)sb.st_size;
    if (!tl_buf_reserve(out, left)) return tl_fail_at(err, TL_NOMEM, path, 0, 0, "no memory to read it");
    for (off_t at = 0; left > 0;) {
        ssize_t n = pread(fd, out->p + out->n, left, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tl_file_fail(err, path, errno, "cannot read it");
        if (n == 0) break;
        out->n += (size_t)n;
        left -= (size_t)n;
        at += n;
    }
    out->p[out->n] = '\0';
    return TL_OK;
}

enum tl_status tl_file_read(const char *path, enum tl_file_kind kind, struct tl_buf *out, struct stat *sb,
                            struct tl_err *err)
{
    int fd;
    enum tl_status st = tl_file_open(path, kind, O_RDONLY, &fd, sb, err);
    if (st != TL_OK) return st;
    st = tl_file_read_fd(fd, path, out, err);
    close(fd);
    return st;
}

void tl_file_wipe(struct tl_buf *b)
{
    if (b->p) OPENSSL_cleanse(b->p, b->cap);
    tl_buf_release(b);
}
