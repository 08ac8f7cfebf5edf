/* SPDX-License-Identifier: Apache-2.0 */
/* A redis-server of the benchmark's own on a loopback port, with its files in a temporary folder. */
#ifndef TL_BENCH_SERVER_H
#define TL_BENCH_SERVER_H

#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
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

/* SET NX PX and DEL one after the other, a second. */
static inline double bench_set_and_del(int port, int depth, int n)
{
    static const char *const commands[] = {"SET key:__rand_int__ value NX PX 60000", "DEL key:__rand_int__"};
    double seconds = 0;
    for (int i = 0; i < 2; i++) {
        char command[256], line[512];
        double rate = 0;
        snprintf(command, sizeof command, "redis-benchmark -p %d -c 1 -P %d -n %d -r 64 --csv %s 2>/dev/null", port,
                 depth, n, commands[i]);
        FILE *f = popen(command, "r");
        must(f != NULL, "redis-benchmark cannot run");
        while (fgets(line, sizeof line, f)) {
            const char *figure = strstr(line, "\",\"");
            if (figure && strncmp(line, "\"test\"", 6) != 0) rate = atof(figure + 3);
        }
        must(pclose(f) == 0 && rate > 0, "redis-benchmark gave no figures");
        seconds += 1 / rate;
    }
    return 1 / seconds;
}

#endif
