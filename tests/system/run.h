/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the real binary (TL_TEST_BINARY, set by Meson) in a folder of its own, with an environment of its own, and keeps
 * what it wrote. Include behind "support.h". */
#ifndef TL_TESTS_SYSTEM_RUN_H
#define TL_TESTS_SYSTEM_RUN_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { RUN_ARGS_MAX = 24, RUN_ENV_MAX = 16 };

struct run {
    char dir[64];                       /* working directory, HOME and TMPDIR of the program */
    const char *extra_env[RUN_ENV_MAX]; /* "NAME=value", NULL ends */
    const char *out_path;               /* standard output goes there instead; NULL: it is kept */
    const char *in_path;                /* NULL: /dev/null */
    int tty;                            /* master of a pseudo-terminal that gets both streams; -1: none */
    /* results */
    int code;        /* exit code, 128 + number of the signal that ended it */
    char *out, *err; /* NUL-terminated; of the last run */
};

static inline void run_init(struct run *r)
{
    *r = (struct run){.tty = -1};
    const char *tmp = getenv("TMPDIR");
    snprintf(r->dir, sizeof r->dir, "%s/tl-system-XXXXXX", tmp && strlen(tmp) < 32 ? tmp : "/tmp");
    assert_non_null(mkdtemp(r->dir));
}

static inline int run_remove_one(const char *path, const struct stat *sb, int flag, struct FTW *ftw)
{
    (void)sb, (void)flag, (void)ftw;
    return remove(path);
}

static inline void run_release(struct run *r)
{
    free(r->out);
    free(r->err);
    if (r->tty >= 0) close(r->tty);
    (void)nftw(r->dir, run_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline char *run_text_of(int fd)
{
    off_t n = lseek(fd, 0, SEEK_END);
    assert_true(n >= 0);
    char *text = calloc((size_t)n + 1, 1);
    assert_non_null(text);
    for (off_t at = 0; at < n;) {
        ssize_t got = pread(fd, text + at, (size_t)(n - at), at);
        assert_true(got > 0);
        at += got;
    }
    close(fd);
    return text;
}

enum { RUN_ENV_ALL = RUN_ENV_MAX + 12 };

/* [own] each text and env[n]: NULL. */
static inline void run_env(const struct run *r, char *env[RUN_ENV_ALL])
{
    char text[1100];
    size_t n = 0; /* the first of two of one name counts: extra_env may set PATH or TERM anew */
    memset(env, 0, RUN_ENV_ALL * sizeof *env);
    for (size_t i = 0; i < RUN_ENV_MAX && r->extra_env[i]; i++) env[n++] = strdup(r->extra_env[i]);
    const char *const usual[][2] = {{"HOME", r->dir},
                                    {"TMPDIR", r->dir},
                                    {"TIER", getenv("TL_TEST_BINARY")},
                                    {"PATH", "/usr/local/bin:/usr/bin:/bin"},
                                    {"TERM", "xterm"}};
    for (size_t i = 0; i < 5; i++) {
        snprintf(text, sizeof text, "%s=%s", usual[i][0], usual[i][1]);
        env[n++] = strdup(text);
    }
    for (char **e = environ; *e; e++) {
        bool sanitizer = strstr(*e, "SAN_OPTIONS=") != NULL && strcspn(*e, "=") < 14;
        if (sanitizer && n < RUN_ENV_ALL - 1) env[n++] = strdup(*e);
    }
}

static inline void run_env_free(char *env[RUN_ENV_ALL])
{
    for (size_t i = 0; env[i]; i++) free(env[i]);
}

/* argv[0] is found on PATH unless it has a slash. */
static inline pid_t run_start(struct run *r, const char *const argv[], int *out_fd, int *err_fd)
{
    char *env[RUN_ENV_ALL];
    run_env(r, env);
    char *args[RUN_ARGS_MAX + 1] = {NULL};
    for (size_t i = 0; argv[i]; i++) args[i] = strdup(argv[i]);

    posix_spawn_file_actions_t actions;
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    posix_spawn_file_actions_addchdir_np(&actions, r->dir);
    posix_spawn_file_actions_addopen(&actions, 0, r->in_path ? r->in_path : "/dev/null", O_RDONLY, 0);
    if (r->tty >= 0) {
        posix_spawn_file_actions_addopen(&actions, 1, ptsname(r->tty), O_RDWR | O_NOCTTY, 0);
        posix_spawn_file_actions_adddup2(&actions, 1, 2);
    } else {
        *out_fd = memfd_create("out", MFD_CLOEXEC);
        *err_fd = memfd_create("err", MFD_CLOEXEC);
        if (r->out_path)
            posix_spawn_file_actions_addopen(&actions, 1, r->out_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        else
            posix_spawn_file_actions_adddup2(&actions, *out_fd, 1);
        posix_spawn_file_actions_adddup2(&actions, *err_fd, 2);
    }
    pid_t pid = 0;
    int rc = posix_spawnp(&pid, args[0], &actions, NULL, args, env);
    if (rc != 0) print_message("%s: %s\n", args[0], strerror(rc));
    assert_int_equal(rc, 0);
    posix_spawn_file_actions_destroy(&actions);
    for (size_t i = 0; args[i]; i++) free(args[i]);
    run_env_free(env);
    return pid;
}

static inline void run_finish(struct run *r, pid_t pid, int out_fd, int err_fd)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) assert_int_equal(errno, EINTR);
    r->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    free(r->out);
    free(r->err);
    r->out = r->tty >= 0 ? NULL : run_text_of(out_fd);
    r->err = r->tty >= 0 ? NULL : run_text_of(err_fd);
}

static inline void run_argv(struct run *r, const char *const argv[])
{
    int out_fd = -1, err_fd = -1;
    pid_t pid = run_start(r, argv, &out_fd, &err_fd);
    run_finish(r, pid, out_fd, err_fd);
}

/* run(r, "calc", "--json"): the binary with these arguments. */
#define run(r, ...)        run_argv(r, (const char *const[]){getenv("TL_TEST_BINARY"), __VA_ARGS__ __VA_OPT__(, ) NULL})
/* A line for bash, in which $TIER is the binary. */
#define run_shell(r, line) run_argv(r, (const char *const[]){"bash", "-c", line, NULL})

static inline void run_put(const struct run *r, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* Fails with everything that the program said. */
static inline void run_expect(const struct run *r, int code, const char *out_has, const char *err_has, const char *file,
                              int line)
{
    bool ok = r->code == code && (!out_has || strstr(r->out, out_has)) && (!err_has || strstr(r->err, err_has));
    if (ok) return;
    print_message(
        "%s:%d: exit %d, expected %d\nexpected in stdout: %s\nexpected in stderr: %s\nstdout: %s\nstderr: %s\n", file,
        line, r->code, code, out_has ? out_has : "-", err_has ? err_has : "-", r->out, r->err);
    fail();
}
#define expect(r, code, out_has, err_has) run_expect(r, code, out_has, err_has, __FILE__, __LINE__)

#endif
