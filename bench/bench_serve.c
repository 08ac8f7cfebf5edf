/* SPDX-License-Identifier: Apache-2.0 */
/* The server as a whole, the real binary: GET of a cached indicator of 2 KiB over 64 keep-alive connections beside
 * nginx serving as many bytes from a file, in turns; and how long an event takes from being published in this process,
 * through Redis and the server, to the frame at a WebSocket client. */
#include "http_load.h"

#include "event/bus.h"

#include <spawn.h>

extern char **environ;

enum { ROWS = 79, EVENTS = 2000, EVERY_US = 2000 };

struct files {
    char dir[40], store[64], market[64], bars[80];
};

static pid_t start(const char *const argv[], bool quiet)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    if (quiet) posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    must(posix_spawn(&pid, argv[0], &actions, NULL, (char **)(uintptr_t)argv, environ) == 0, "cannot run the binary");
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void run(const char *const argv[])
{
    int status = 0;
    pid_t pid = start(argv, true);
    must(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0, "a command failed");
}

static pid_t serve(const char *binary, const struct files *f, int port, const char *redis)
{
    char listen[32];
    snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
    setenv("TIERLINE_SERVER_ACCESS_LOG", "false", 1);
    return start((const char *[]){binary, "serve", "--store", f->store, "--redis", redis, "--listen", listen,
                                  "--log-level", "error", NULL},
                 false);
}

static void end(pid_t pid)
{
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

/* ---- a cached indicator ---- */

/* The answer to one GET, whole. */
static size_t body_of(int port, const char *target, char *out, size_t cap)
{
    char text[ANSWER_MAX];
    int fd = connect_to(port);
    must(fcntl(fd, F_SETFL, 0) == 0, "fcntl");
    int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", target);
    must(send(fd, text, (size_t)n, MSG_NOSIGNAL) == n, "send");
    size_t got = 0;
    for (ssize_t k; (k = recv(fd, text + got, sizeof text - got, 0)) > 0;) got += (size_t)k;
    close(fd);
    const char *body = memmem(text, got, "\r\n\r\n", 4);
    must(body && memcmp(text, "HTTP/1.1 200 ", 13) == 0, "no answer to the GET");
    size_t body_n = got - (size_t)(body + 4 - text);
    must(body_n <= cap, "the answer is larger than expected");
    memcpy(out, body + 4, body_n);
    return body_n;
}

static void cached_indicator(const char *binary, struct files *f)
{
    static char body[ANSWER_MAX];
    char root[64], target[128];
    struct web ours = {.name = "serve", .any_body = true}, nginx = {.name = "nginx", .target = "/file"};
    ours.port = free_port();
    ours.pid = serve(binary, f, ours.port, "none");
    snprintf(target, sizeof target, "/api/v1/indicators/600000.SH/RSI(14)?format=csv&last=%d", ROWS);
    ours.target = target;
    (void)body_of(ours.port, target, body, sizeof body); /* computed now, then read from the tiers */
    ours.body = body;
    ours.body_n = body_of(ours.port, target, body, sizeof body);
    ours.any_body = false;
    nginx.body = body;
    nginx.body_n = ours.body_n;
    snprintf(root, sizeof root, "%s/root", f->dir);
    must(mkdir(root, 0755) == 0 && chmod(f->dir, 0755) == 0, "no temporary folder");
    write_file(root, "file", body, ours.body_n);
    nginx.pid = spawn(run_nginx, nginx.port = free_port(), f->dir);
    for (int i = 0; i < ROUNDS; i++) {
        measure(&ours, i);
        measure(&nginx, i);
    }
    double rate = bench_median(ours.rate, ROUNDS), cpu = bench_median(ours.cpu_us, ROUNDS);
    double their_rate = bench_median(nginx.rate, ROUNDS), their_cpu = bench_median(nginx.cpu_us, ROUNDS);
    bench_row("serve_indicator_bytes", (double)ours.body_n, "B", NULL, 0, 0, NULL, true);
    bench_row("serve_get_indicator", rate, "/s", "nginx, the same bytes from a file", their_rate, rate / their_rate,
              ">= 0.8 x peer", rate >= 0.8 * their_rate);
    bench_row("serve_get_indicator_cpu", cpu, "us", "nginx, the same bytes from a file", their_cpu, cpu / their_cpu,
              NULL, true);
    end(ours.pid);
    stop(&nginx);
    char command[128];
    snprintf(command, sizeof command, "cd '%s' && rm -rf root [bpfus] conf pid", f->dir); /* nginx' */
    must(system(command) == 0, "rm");
}

/* ---- from the publisher to the frame ---- */

static int subscribe(int port)
{
    static const char hello[] = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    static const char ask[] = "{\"op\":\"subscribe\",\"topics\":[\"task/bench\"]}";
    unsigned char frame[6 + sizeof ask - 1] = {0x81, 0x80 | (sizeof ask - 1), 0, 0, 0, 0};
    char text[2048];
    int fd = connect_to(port);
    must(fcntl(fd, F_SETFL, 0) == 0, "fcntl");
    must(send(fd, hello, sizeof hello - 1, MSG_NOSIGNAL) == (ssize_t)sizeof hello - 1, "send");
    size_t got = 0;
    while (got < 4 || memcmp(text + got - 4, "\r\n\r\n", 4) != 0)
        must(got < sizeof text && recv(fd, text + got, 1, 0) == 1, "no answer to the upgrade"), got++;
    must(memcmp(text, "HTTP/1.1 101", 12) == 0, "the upgrade was refused");
    memcpy(frame + 6, ask, sizeof ask - 1);
    must(send(fd, frame, sizeof frame, MSG_NOSIGNAL) == (ssize_t)sizeof frame, "send");
    must(fcntl(fd, F_SETFL, O_NONBLOCK) == 0, "fcntl");
    return fd;
}

struct hearing {
    int fd;
    char bytes[1 << 16];
    size_t n;
    double us[EVENTS];
    size_t heard;
    bool snapshot;
};

/* "at":<ns> in what came: each is one event. */
static void hear(struct hearing *h)
{
    ssize_t got = recv(h->fd, h->bytes + h->n, sizeof h->bytes - h->n - 1, 0);
    if (got < 0 && errno == EAGAIN) return;
    must(got > 0, "the server ended the connection");
    uint64_t now = bench_now_ns();
    h->n += (size_t)got;
    h->bytes[h->n] = '\0';
    char *from = h->bytes, *at;
    if (!h->snapshot && memmem(h->bytes, h->n, "\"snapshot\"", 10)) h->snapshot = true;
    while ((at = memmem(from, h->n - (size_t)(from - h->bytes), "\"at\":", 5))) {
        char *stop = NULL;
        uint64_t then = strtoull(at + 5, &stop, 10);
        if (*stop != '}') break; /* not whole yet */
        must(h->heard < EVENTS, "more events than were published");
        h->us[h->heard++] = (double)(now - then) / 1e3;
        from = stop;
    }
    h->n -= (size_t)(from - h->bytes);
    memmove(h->bytes, from, h->n);
    if (h->n > sizeof h->bytes / 2) h->n = 0;
}

static void raise_flag(void *ctx)
{
    *(bool *)ctx = true;
}

static void latency(const char *binary, struct files *f)
{
    static struct hearing h;
    struct server redis = {.pid = 0};
    struct tl_cache *cache;
    struct tl_bus *bus;
    uv_loop_t loop;
    struct tl_task *task;
    char url[64];
    start_server(&redis);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/0", redis.port);
    int port = free_port();
    pid_t server = serve(binary, f, port, url);
    h.fd = subscribe(port);
    uv_loop_init(&loop);
    const struct tl_cache_options co = {.redis_url = url, .memory_bytes = 1 << 20, .log_level = -1};
    must(tl_cache_open(&loop, &co, &cache, NULL) == TL_OK, "cache");
    must(tl_bus_open(cache, &(struct tl_bus_options){.redis_url = url, .prefix = NULL}, &bus, NULL) == TL_OK, "bus");
    const struct tl_task_options o = {.id = "bench", .name = "bench"};
    must(tl_task_open(bus, &o, &task, NULL) == TL_OK, "task");
    for (int i = 0; i < 500 && !h.snapshot; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        hear(&h);
        usleep(1000);
    }
    for (int i = 0; i < EVENTS; i++) {
        char data[64];
        snprintf(data, sizeof data, "{\"symbol\":\"S\",\"at\":%llu}", (unsigned long long)bench_now_ns());
        must(tl_task_event(task, "task.item.completed.v1", tl_str(data), NULL) == TL_OK, "event");
        for (uint64_t until = bench_now_ns() + EVERY_US * UINT64_C(1000); bench_now_ns() < until;) {
            uv_run(&loop, UV_RUN_NOWAIT);
            hear(&h);
        }
    }
    for (uint64_t until = bench_now_ns() + UINT64_C(5000000000); h.heard < EVENTS && bench_now_ns() < until;) {
        uv_run(&loop, UV_RUN_NOWAIT);
        hear(&h);
    }
    must(h.heard == EVENTS, "events were lost");
    double median = bench_median(h.us, EVENTS), p99 = h.us[EVENTS * 99 / 100];
    bench_row("serve_publish_to_frame_p50_us", median, "us", NULL, 0, 0, NULL, true);
    bench_row("serve_publish_to_frame_p99_us", p99, "us", NULL, 0, 0, "<= 2000", p99 <= 2000);
    tl_task_abandon(task);
    bool closed = false;
    tl_bus_close(bus, 0, raise_flag, &closed);
    while (!closed) uv_run(&loop, UV_RUN_ONCE);
    tl_cache_close(cache, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    close(h.fd);
    end(server);
    stop_server(&redis);
}

int main(int argc, char **argv)
{
    must(argc == 2, "usage: bench_serve TIERLINE");
    struct files f = {.dir = "/tmp/tl-bench-serve-XXXXXX"};
    char command[64];
    must(mkdtemp(f.dir) != NULL, "no temporary folder");
    snprintf(f.store, sizeof f.store, "%s/store.db", f.dir);
    snprintf(f.market, sizeof f.market, "%s/market", f.dir);
    snprintf(f.bars, sizeof f.bars, "%s/market/bars", f.dir);
    run((const char *[]){argv[1], "sample", f.market, "--symbols", "30", "--years", "5", "--quiet", NULL});
    run((const char *[]){argv[1], "import", f.bars, "--store", f.store, "--quiet", NULL});
    cached_indicator(argv[1], &f);
    latency(argv[1], &f);
    snprintf(command, sizeof command, "rm -rf '%s'", f.dir); /* a name that mkdtemp made */
    must(system(command) == 0, "rm");
    return 0;
}
