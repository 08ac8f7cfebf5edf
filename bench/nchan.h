/* SPDX-License-Identifier: Apache-2.0 */
/* nginx with nchan: one worker, its messages in memory, on a free loopback port with its files in a temporary folder;
 * and publishing to it by HTTP POST, as fast as it takes it, on PUBLISHERS connections that are kept open. */
#ifndef TL_BENCH_NCHAN_H
#define TL_BENCH_NCHAN_H

#include "ws_load.h"

#include <poll.h>

enum { NCHAN_PUBLISHERS = 4 };
#define NCHAN_MODULE "/usr/lib/nginx/modules/ngx_nchan_module.so"

struct nchan {
    pid_t pid; /* nginx' master; 0: not there */
    int port;
    char dir[40];
};

static inline void nchan_write_config(const struct nchan *s)
{
    char path[80];
    snprintf(path, sizeof path, "%s/nginx.conf", s->dir);
    FILE *f = fopen(path, "we");
    must(f != NULL, "no configuration for nginx");
    fprintf(f, "daemon off;\nworker_processes 1;\nworker_cpu_affinity 01;\nload_module %s;\n", NCHAN_MODULE);
    fprintf(f, "pid %s/pid;\nerror_log %s/log error;\nworker_rlimit_nofile 8192;\n", s->dir, s->dir);
    fprintf(f, "events { worker_connections 4096; }\nhttp {\naccess_log off;\nkeepalive_requests 100000000;\n");
    static const char *const temporary[] = {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"};
    for (size_t i = 0; i < 5; i++) fprintf(f, "%s_temp_path %s/%s;\n", temporary[i], s->dir, temporary[i]);
    fprintf(f, "server {\nlisten 127.0.0.1:%d;\n", s->port);
    fprintf(f, "location = /sub { nchan_subscriber websocket; nchan_channel_id bench; "
               "nchan_subscriber_first_message newest; }\n");
    fprintf(f, "location = /pub { nchan_publisher http; nchan_channel_id bench; }\n}\n}\n");
    must(fclose(f) == 0, "no configuration for nginx");
}

static inline bool nchan_answers(int port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool there = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0) close(fd);
    return there;
}

/* false: it is not installed. */
static inline bool nchan_start(struct nchan *s)
{
    char path[80];
    s->pid = 0;
    if (access(NCHAN_MODULE, R_OK) != 0 || access("/usr/sbin/nginx", X_OK) != 0) return false;
    strcpy(s->dir, "/tmp/tl-bench-nchan-XXXXXX");
    must(mkdtemp(s->dir) != NULL, "no temporary folder");
    s->port = free_port();
    nchan_write_config(s);
    snprintf(path, sizeof path, "%s/nginx.conf", s->dir);
    pid_t parent = getpid();
    s->pid = fork();
    must(s->pid >= 0, "cannot fork");
    if (s->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) _exit(1);
        execl("/usr/sbin/nginx", "nginx", "-p", s->dir, "-e", "log", "-c", path, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 500 && !nchan_answers(s->port); i++) usleep(10000);
    must(nchan_answers(s->port), "nginx does not answer");
    return true;
}

static inline void nchan_stop(struct nchan *s)
{
    static const char *const files[] = {"nginx.conf", "log", "pid"};
    static const char *const folders[] = {"client_body", "proxy", "fastcgi", "uwsgi", "scgi", ""};
    char path[80];
    if (s->pid == 0) return;
    kill(s->pid, SIGTERM);
    waitpid(s->pid, NULL, 0);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", s->dir, files[i]);
        unlink(path);
    }
    for (size_t i = 0; i < 6; i++) {
        snprintf(path, sizeof path, "%s/%s", s->dir, folders[i]);
        rmdir(path);
    }
}

static inline void nchan_post(int fd)
{
    char message[WS_BYTES + 1], text[512];
    ws_message(message);
    int n =
        snprintf(text, sizeof text,
                 "POST /pub HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
                 WS_BYTES, message);
    must(send(fd, text, (size_t)n, MSG_NOSIGNAL) == n, "nchan takes no message");
}

/* Deliveries a second. */
static inline double nchan_saturated(const struct nchan *s, struct ws_load *l, unsigned ms)
{
    struct pollfd fds[NCHAN_PUBLISHERS];
    char answer[4096];
    for (int i = 0; i < NCHAN_PUBLISHERS; i++) fds[i] = (struct pollfd){ws_connect(s->port), POLLIN, 0};
    ws_forget(l->figures);
    uint64_t start = bench_now_ns(), end = start + ms * UINT64_C(1000000);
    for (int i = 0; i < NCHAN_PUBLISHERS; i++) nchan_post(fds[i].fd);
    while (bench_now_ns() < end) {
        must(poll(fds, NCHAN_PUBLISHERS, 5000) > 0, "nchan does not answer");
        for (int i = 0; i < NCHAN_PUBLISHERS; i++) {
            if (!fds[i].revents) continue;
            ssize_t n = recv(fds[i].fd, answer, sizeof answer, 0); /* a short answer: one segment */
            must(n > 12 && memcmp(answer, "HTTP/1.1 20", 11) == 0, "nchan refuses a message");
            nchan_post(fds[i].fd);
        }
    }
    double rate = (double)atomic_load(&l->figures->messages) * 1e9 / (double)(bench_now_ns() - start);
    usleep(300000); /* what is under way arrives before the next round */
    for (int i = 0; i < NCHAN_PUBLISHERS; i++) close(fds[i].fd);
    return rate;
}

#endif
