/* SPDX-License-Identifier: Apache-2.0 */
/* A redis-server of the benchmark's own on a loopback port, with its files in a temporary folder. */
#ifndef TL_BENCH_SERVER_H
#define TL_BENCH_SERVER_H

#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static inline void must(bool ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
    exit(1);
}

struct server {
    pid_t pid;
    int port;
    char dir[40];
};

static inline void stop_server(struct server *s)
{
    char log[64];
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
    }
    snprintf(log, sizeof log, "%s/log", s->dir);
    unlink(log);
    rmdir(s->dir);
}

static inline int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0, "no free port");
    must(getsockname(fd, (struct sockaddr *)&a, &n) == 0, "no free port");
    close(fd);
    return ntohs(a.sin_port);
}

static inline void start_server(struct server *s)
{
    char port[8];
    strcpy(s->dir, "/tmp/tl-bench-redis-XXXXXX");
    must(mkdtemp(s->dir) != NULL, "no temporary folder");
    s->port = free_port();
    snprintf(port, sizeof port, "%d", s->port);
    pid_t parent = getpid();
    s->pid = fork();
    must(s->pid >= 0, "cannot fork");
    if (s->pid > 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", s->dir, "--save", "",
           "--appendonly", "no", "--daemonize", "no", "--logfile", "log", (char *)NULL);
    _exit(127);
}

#endif
