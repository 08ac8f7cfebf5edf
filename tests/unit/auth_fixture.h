/* SPDX-License-Identifier: Apache-2.0 */
/* A folder, a clock that stands still, and files in the folder, for the tests of src/auth. Include behind "support.h".
 */
#ifndef TL_TESTS_AUTH_FIXTURE_H
#define TL_TESTS_AUTH_FIXTURE_H

#include "auth/auth.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

struct auth_world {
    char dir[64], tokens[96], secret[96], rsa[96]; /* paths; nothing is there yet */
    int64_t wall_ms;
    uint64_t mono_ns;
    struct tl_clock clock;
    struct tl_err err;
};

static int64_t auth_wall(void *ctx)
{
    return ((struct auth_world *)ctx)->wall_ms;
}
static uint64_t auth_mono(void *ctx)
{
    return ((struct auth_world *)ctx)->mono_ns;
}

static inline int auth_setup(void **state)
{
    struct auth_world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->dir, sizeof w->dir, "/tmp/tl-auth-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->tokens, sizeof w->tokens, "%s/tokens", w->dir);
    snprintf(w->secret, sizeof w->secret, "%s/secret", w->dir);
    snprintf(w->rsa, sizeof w->rsa, "%s/rsa.pem", w->dir);
    w->wall_ms = INT64_C(1800000000000);
    w->clock = (struct tl_clock){auth_wall, auth_mono, w};
    *state = w;
    return 0;
}

static inline int auth_remove_one(const char *path, const struct stat *sb, int flag, struct FTW *ftw)
{
    (void)sb, (void)flag, (void)ftw;
    return remove(path);
}

static inline int auth_teardown(void **state)
{
    struct auth_world *w = *state;
    (void)nftw(w->dir, auth_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(w);
    return 0;
}

/* The file holds exactly this now; written in place. */
static inline void auth_put(const char *path, const void *p, size_t n, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(write(fd, p, n), (ssize_t)n);
    close(fd);
}

/* [own] NUL-terminated. */
static inline char *auth_get(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    off_t n = lseek(fd, 0, SEEK_END);
    char *text = calloc((size_t)n + 1, 1);
    assert_non_null(text);
    assert_int_equal(pread(fd, text, (size_t)n, 0), n);
    close(fd);
    return text;
}

/* The status, and a text that the error must have. */
#define auth_expect(w, call, status, has)                                                                              \
    do {                                                                                                               \
        (w)->err = (struct tl_err){0};                                                                                 \
        enum tl_status got_ = (call);                                                                                  \
        const char *has_ = (has);                                                                                      \
        if (got_ != (status) || (has_ && !strstr((w)->err.text, has_)))                                                \
            print_message("%s:%d: %s: %s:%d: %s\n", __FILE__, __LINE__, tl_status_name(got_), (w)->err.file,           \
                          (int)(w)->err.line, (w)->err.text);                                                          \
        assert_int_equal(got_, (status));                                                                              \
        if (has_) assert_non_null(strstr((w)->err.text, has_));                                                        \
    } while (0)

#endif
