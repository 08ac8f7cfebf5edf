/* SPDX-License-Identifier: Apache-2.0 */
/* The load of HTTP benchmarks, and nginx beside it: GETs of one target over keep-alive connections, one request under
 * way on each, whole answers compared with what is expected; requests a second, and CPU time of the server's process
 * for each. */
#ifndef TL_BENCH_HTTP_LOAD_H
#define TL_BENCH_HTTP_LOAD_H

#include "server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>

enum { ROUNDS = 7, CONNECTIONS = 64, REQUESTS = 100000, WARM = 5000, ANSWER_MAX = 8192 };

struct web {
    const char *name, *target; /* "/file" */
    const char *body;          /* expected */
    size_t body_n;
    bool any_body; /* of that length: what it says may differ from answer to answer */
    pid_t pid;
    int port;
    double rate[ROUNDS], cpu_us[ROUNDS];
};

/* ---- servers ---- */

static inline pid_t spawn(void (*run)(int port, const char *dir), int port, const char *dir)
{
    pid_t parent = getpid(), pid = fork();
    must(pid >= 0, "cannot fork");
    if (pid > 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent) run(port, dir);
    _exit(127);
}

static inline void write_file(const char *dir, const char *name, const void *p, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    must(fd >= 0 && write(fd, p, n) == (ssize_t)n && close(fd) == 0, "cannot write a file");
}

static inline void run_nginx(int port, const char *dir)
{
    char text[2048], path[128];
    int n =
        snprintf(text, sizeof text,
                 "daemon off; master_process off; worker_processes 1; pid %s/pid; error_log stderr crit;\n"
                 "events { worker_connections 512; use epoll; }\n"
                 "http { access_log off; sendfile off; tcp_nodelay on; etag on;\n"
                 "  keepalive_requests 100000000; open_file_cache max=10 inactive=1h; open_file_cache_valid 1h;\n"
                 "  client_body_temp_path %s/b; proxy_temp_path %s/p; fastcgi_temp_path %s/f; uwsgi_temp_path %s/u;\n"
                 "  scgi_temp_path %s/s; server { listen 127.0.0.1:%d; root %s/root; } }\n",
                 dir, dir, dir, dir, dir, dir, port, dir);
    write_file(dir, "conf", text, (size_t)n);
    snprintf(path, sizeof path, "%s/conf", dir);
    execlp("nginx", "nginx", "-c", path, "-p", dir, (char *)NULL);
    execl("/usr/sbin/nginx", "nginx", "-c", path, "-p", dir, (char *)NULL);
}

static inline void stop(struct web *w)
{
    kill(w->pid, SIGKILL);
    waitpid(w->pid, NULL, 0);
}

static inline void remove_files(const char *dir)
{
    static const char *const names[] = {"root/file", "root", "conf", "pid", "b", "p", "f", "u", "s"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)remove(path);
    }
    must(rmdir(dir) == 0, "the temporary folder has more than was expected");
}

/* ---- the load ---- */

struct conn {
    struct web *web;
    int fd;
    size_t got, whole; /* bytes of an answer; 0: not known yet */
    char answer[ANSWER_MAX];
};

static inline int connect_to(int port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int tries = 0; tries < 500; tries++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) {
            must(fcntl(fd, F_SETFL, O_NONBLOCK) == 0, "fcntl");
            return fd;
        }
        close(fd);
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    must(false, "a server does not answer (is nginx installed?)");
    return -1;
}

static inline void ask(struct conn *c)
{
    char get[512];
    int n = snprintf(get, sizeof get, "GET %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n",
                     c->web->target);
    c->got = c->whole = 0;
    must(send(c->fd, get, (size_t)n, MSG_NOSIGNAL) == n, "send");
}

/* true: an answer is whole. */
static inline bool take(struct conn *c)
{
    ssize_t n = recv(c->fd, c->answer + c->got, sizeof c->answer - c->got, 0);
    if (n < 0 && errno == EAGAIN) return false;
    must(n > 0, "a server ended a connection");
    c->got += (size_t)n;
    if (c->whole == 0) {
        char *end = memmem(c->answer, c->got, "\r\n\r\n", 4);
        if (!end) return false;
        c->whole = (size_t)(end + 4 - c->answer) + c->web->body_n;
    }
    must(c->got <= c->whole, "more than an answer");
    if (c->got < c->whole) return false;
    must(memcmp(c->answer, "HTTP/1.1 200 ", 13) == 0, "not the answer");
    const char *body = c->answer + c->whole - c->web->body_n;
    must(c->web->any_body || memcmp(body, c->web->body, c->web->body_n) == 0, "not the answer");
    return true;
}

static inline double cpu_seconds(pid_t pid)
{
    clockid_t clock;
    struct timespec t;
    must(clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &t) == 0, "no CPU time of a server");
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline void load(int epoll, struct conn *conns, unsigned n)
{
    struct epoll_event events[CONNECTIONS];
    unsigned sent = 0, done = 0;
    for (unsigned i = 0; i < CONNECTIONS; i++, sent++) ask(&conns[i]);
    while (done < n) {
        int ready = epoll_wait(epoll, events, CONNECTIONS, 10000);
        must(ready > 0, "a server is silent");
        for (int i = 0; i < ready; i++) {
            struct conn *c = events[i].data.ptr;
            if (!take(c)) continue;
            done++;
            if (sent >= n) continue;
            sent++;
            ask(c);
        }
    }
}

static inline void measure(struct web *w, int round)
{
    static struct conn conns[CONNECTIONS];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < CONNECTIONS; i++) {
        conns[i] = (struct conn){.web = w, .fd = connect_to(w->port)};
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &conns[i]};
        must(epoll_ctl(epoll, EPOLL_CTL_ADD, conns[i].fd, &e) == 0, "epoll");
    }
    load(epoll, conns, WARM);
    double cpu = cpu_seconds(w->pid);
    uint64_t start = bench_now_ns();
    load(epoll, conns, REQUESTS);
    w->rate[round] = REQUESTS * 1e9 / (double)(bench_now_ns() - start);
    w->cpu_us[round] = (cpu_seconds(w->pid) - cpu) * 1e6 / REQUESTS;
    for (int i = 0; i < CONNECTIONS; i++) close(conns[i].fd);
    close(epoll);
}

#endif
