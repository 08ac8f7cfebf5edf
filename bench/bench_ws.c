/* SPDX-License-Identifier: Apache-2.0 */
/* WebSockets: 1,000 subscribers in a process of its own, messages of 200 bytes to all of them. CPU of this process for
 * a delivery and how late it comes at 50,000 deliveries a second; deliveries a second when as much as goes is
 * published, in turns with nginx and nchan on the same work; memory of an idle connection.
 *
 * A write to a socket costs the kernel the way through TCP to the other end, which does not depend on what is in it: so
 * the cost of a delivery is told for messages that come alone and for messages that come together, as a job's do. */
#include "bench.h"

#include "ws/ws.h"
#include "nchan.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>
#include <uv.h>

enum {
    SUBSCRIBERS = 1000,
    RATE = 50000,
    STEADY_MS = 3000,
    SATURATED_MS = 2000,
    ROUNDS = 3,
    IDLE = 4000,
    TOGETHER = 10
};

struct hub {
    uv_loop_t *loop;
    struct tl_ws_loop *ws;
    struct tl_ws *sockets[IDLE];
    unsigned n;
    int listener, port;
    uv_poll_t accepts;
    uv_timer_t timer;
    unsigned together; /* messages that are published at once */
    uint64_t published;
};

/* ---- ours ---- */

static void on_closed(void *ctx, unsigned code, const char *why)
{
    (void)code;
    (void)why;
    ((struct hub *)ctx)->n--;
}

static void on_accept(uv_poll_t *poll, int status, int events)
{
    struct hub *h = poll->data;
    const struct tl_ws_handler handler = {.on_closed = on_closed, .ctx = h};
    struct tl_err err;
    (void)events;
    must(status == 0, "accept");
    for (int fd; (fd = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        must(h->n < IDLE, "too many connections");
        must(tl_ws_start(h->ws, fd, (struct tl_str){NULL, 0}, &handler, &h->sockets[h->n], &err) == TL_OK, err.text);
        h->n++;
    }
}

static void hub_start(struct hub *h)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    h->loop = uv_default_loop();
    h->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    must(bind(h->listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(h->listener, 4096) == 0, "cannot listen");
    must(getsockname(h->listener, (struct sockaddr *)&a, &n) == 0, "cannot listen");
    h->port = ntohs(a.sin_port);
    must(tl_ws_loop_start(h->loop, &(struct tl_ws_loop_options){.ping_ms = 3600000}, &h->ws, NULL) == TL_OK, "start");
    uv_poll_init(h->loop, &h->accepts, h->listener);
    uv_timer_init(h->loop, &h->timer);
    h->accepts.data = h->timer.data = h;
    uv_poll_start(&h->accepts, UV_READABLE, on_accept);
}

/* A message of now to all. false: somebody's queue is full (nobody gets it twice: it is published to who has room). */
static bool publish(struct hub *h)
{
    char text[WS_BYTES + 1];
    bool all = true;
    ws_message(text);
    struct tl_ws_frame *f = tl_ws_frame_new(TL_WS_TEXT, &(struct tl_str){text, WS_BYTES}, 1);
    must(f != NULL, "no memory");
    for (unsigned i = 0; i < h->n; i++) all &= tl_ws_send(h->sockets[i], f) == TL_OK;
    tl_ws_frame_unref(f);
    h->published++;
    return all;
}

static void on_timer(uv_timer_t *timer)
{
    struct hub *h = timer->data;
    for (unsigned i = 0; i < h->together; i++) must(publish(h), "a queue is full at a rate that is to be borne");
}

static void turn_until(struct hub *h, uint64_t end_ns)
{
    while (bench_now_ns() < end_ns) uv_run(h->loop, UV_RUN_ONCE);
}

static void on_wake(uv_timer_t *timer)
{
    (void)timer;
}

/* Until the condition, or a deadline: the loop is woken each 10 ms. */
#define TURN_WHILE(h, condition, what)                                                                                 \
    do {                                                                                                               \
        uint64_t until_ = bench_now_ns() + UINT64_C(20000000000);                                                      \
        uv_timer_start(&(h)->timer, on_wake, 10, 10);                                                                  \
        while ((condition) && bench_now_ns() < until_) uv_run((h)->loop, UV_RUN_ONCE);                                 \
        uv_timer_stop(&(h)->timer);                                                                                    \
        must(!(condition), what);                                                                                      \
    } while (0)

static double cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void steady(struct hub *h, struct ws_load *l, unsigned together, double *us, double *p50, double *p99)
{
    uint64_t ms = (uint64_t)together * SUBSCRIBERS * 1000 / RATE;
    ws_forget(l->figures);
    h->together = together;
    h->published = 0;
    double before = cpu_us();
    uv_timer_start(&h->timer, on_timer, ms, ms);
    turn_until(h, bench_now_ns() + STEADY_MS * UINT64_C(1000000));
    uv_timer_stop(&h->timer);
    uint64_t sent = h->published * SUBSCRIBERS;
    *us = (cpu_us() - before) / (double)sent;
    TURN_WHILE(h, atomic_load(&l->figures->messages) < sent, "messages are missing");
    *p50 = ws_late_ms(l->figures, 0.5);
    *p99 = ws_late_ms(l->figures, 0.99);
}

/* Whenever nobody has more than a few kilobytes waiting, the next are published. */
static double saturated(struct hub *h, struct ws_load *l, double *us)
{
    ws_forget(l->figures);
    struct tl_ws_stats s;
    double before = cpu_us();
    uint64_t start = bench_now_ns(), end = start + SATURATED_MS * UINT64_C(1000000);
    uv_timer_start(&h->timer, on_wake, 1, 1);
    while (bench_now_ns() < end) {
        tl_ws_stats(h->ws, &s);
        if (s.queued_bytes < (size_t)SUBSCRIBERS * 16384)
            for (int i = 0; i < 16; i++) (void)publish(h);
        uv_run(h->loop, UV_RUN_NOWAIT);
    }
    uv_timer_stop(&h->timer);
    double got = (double)atomic_load(&l->figures->messages);
    *us = (cpu_us() - before) / got;
    double rate = got * 1e9 / (double)(bench_now_ns() - start);
    TURN_WHILE(h, (tl_ws_stats(h->ws, &s), s.queued_bytes > 0), "the queues do not empty");
    return rate;
}

/* ---- what the kernel alone takes ---- */

/* One send(2) for each socket and message, from a loop that does nothing else. */
static void bare(const int *fds, struct ws_load *l, double *us, double *p50, double *p99)
{
    char frame[4 + WS_BYTES + 1] = {(char)0x81, 126, 0, (char)WS_BYTES};
    unsigned passes = STEADY_MS * (RATE / SUBSCRIBERS) / 1000;
    ws_forget(l->figures);
    double before = cpu_us();
    for (unsigned i = 0; i < passes; i++) {
        uint64_t next = bench_now_ns() + UINT64_C(1000000000) * SUBSCRIBERS / RATE;
        ws_message(frame + 4);
        for (int k = 0; k < SUBSCRIBERS; k++)
            must(send(fds[k], frame, 4 + WS_BYTES, MSG_NOSIGNAL | MSG_DONTWAIT) == 4 + WS_BYTES, "a bare send");
        for (uint64_t now; (now = bench_now_ns()) < next;) usleep((useconds_t)((next - now) / 1000 + 1));
    }
    *us = (cpu_us() - before) / ((double)passes * SUBSCRIBERS);
    for (int i = 0; i < 1000 && atomic_load(&l->figures->messages) < passes * SUBSCRIBERS; i++) usleep(10000);
    *p50 = ws_late_ms(l->figures, 0.5);
    *p99 = ws_late_ms(l->figures, 0.99);
}

static void accept_bare(int *fds, struct ws_load *l)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int one = 1, sndbuf = 131072, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(bind(listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(listener, 4096) == 0, "cannot listen");
    must(getsockname(listener, (struct sockaddr *)&a, &n) == 0, "cannot listen");
    ws_load_start(l, SUBSCRIBERS, ntohs(a.sin_port), NULL);
    for (int i = 0; i < SUBSCRIBERS; i++) {
        fds[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        must(fds[i] >= 0, "accept");
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof sndbuf);
    }
    close(listener);
}

/* ---- memory ---- */

static double resident_kb(void)
{
    unsigned long all = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    must(f && fscanf(f, "%lu %lu", &all, &resident) == 2, "statm");
    fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1024;
}

static double heap_kb(void)
{
    struct mallinfo2 m = mallinfo2();
    return (double)(m.uordblks + m.hblkhd) / 1024;
}

/* Of connections that have been sent a message and are idle now. */
static void idle_memory(struct hub *h)
{
    struct ws_load l;
    double resident = resident_kb(), heap = heap_kb();
    ws_load_start(&l, IDLE, h->port, NULL);
    TURN_WHILE(h, h->n < IDLE, "not all connected");
    must(publish(h), "a message to all");
    TURN_WHILE(h, atomic_load(&l.figures->messages) < IDLE, "messages are missing");
    resident = (resident_kb() - resident) / IDLE;
    heap = (heap_kb() - heap) / IDLE;
    ws_load_stop(&l);
    TURN_WHILE(h, h->n > 0, "not all are gone");
    double most = resident > heap ? resident : heap;
    bench_row("ws_idle_connection", most, "KB", NULL, 0, 0, "<= 4", most <= 4);
}

/* ---- all of it ---- */

struct rounds {
    double us[ROUNDS], p50[ROUNDS], p99[ROUNDS];
};

static void steady_rows(struct hub *h, struct ws_load *l)
{
    static int fds[SUBSCRIBERS];
    static struct rounds alone, together, floor;
    struct ws_load bare_load;
    accept_bare(fds, &bare_load);
    for (int r = 0; r < ROUNDS; r++) {
        steady(h, l, 1, &alone.us[r], &alone.p50[r], &alone.p99[r]);
        bare(fds, &bare_load, &floor.us[r], &floor.p50[r], &floor.p99[r]);
        steady(h, l, TOGETHER, &together.us[r], &together.p50[r], &together.p99[r]);
    }
    ws_load_stop(&bare_load);
    for (int i = 0; i < SUBSCRIBERS; i++) close(fds[i]);
    static const char peer[] = "a send(2) for each";
    double us = bench_median(alone.us, ROUNDS), bare_us = bench_median(floor.us, ROUNDS);
    double p99 = bench_median(alone.p99, ROUNDS), bare_p99 = bench_median(floor.p99, ROUNDS);
    double p50 = bench_median(alone.p50, ROUNDS), bare_p50 = bench_median(floor.p50, ROUNDS);
    double joined = bench_median(together.us, ROUNDS), joined_p99 = bench_median(together.p99, ROUNDS);
    bench_row("ws_delivery_alone_cpu", us, "us", peer, bare_us, us / bare_us, "<= 1.2 x peer", us <= 1.2 * bare_us);
    bench_row("ws_delivery_alone_p50", p50, "ms", peer, bare_p50, p50 / bare_p50, NULL, true);
    bench_row("ws_delivery_alone_p99", p99, "ms", peer, bare_p99, p99 / bare_p99, "<= 10", p99 <= 10);
    bench_row("ws_delivery_10_together_cpu", joined, "us", peer, bare_us, joined / bare_us, "<= 1.5", joined <= 1.5);
    bench_row("ws_delivery_10_together_p50", bench_median(together.p50, ROUNDS), "ms", NULL, 0, 0, NULL, true);
    bench_row("ws_delivery_10_together_p99", joined_p99, "ms", NULL, 0, 0, "<= 10", joined_p99 <= 10);
}

static void saturated_rows(struct hub *h, struct ws_load *l)
{
    double ours[ROUNDS], theirs[ROUNDS], us[ROUNDS];
    struct nchan nchan;
    struct ws_load nchan_load;
    bool there = nchan_start(&nchan);
    if (there) {
        ws_load_start(&nchan_load, SUBSCRIBERS, nchan.port, "/sub");
        for (int i = 0; i < 2000 && atomic_load(&nchan_load.figures->ready) < SUBSCRIBERS; i++) usleep(10000);
        must(atomic_load(&nchan_load.figures->ready) == SUBSCRIBERS, "not all subscribed to nchan");
    }
    for (int r = 0; r < ROUNDS; r++) {
        ours[r] = saturated(h, l, &us[r]);
        theirs[r] = there ? nchan_saturated(&nchan, &nchan_load, SATURATED_MS) : 0;
    }
    if (there) ws_load_stop(&nchan_load);
    nchan_stop(&nchan);
    double a = bench_median(ours, ROUNDS), b = bench_median(theirs, ROUNDS);
    bench_row("ws_saturated", a, "deliveries/s", there ? "nginx + nchan" : "nginx + nchan (not installed)", b,
              there ? a / b : 0, ">= 2 x peer", there && a >= 2 * b);
    bench_row("ws_saturated_cpu", bench_median(us, ROUNDS), "us", NULL, 0, 0, NULL, true);
}

static void on_hub_closed(void *ctx)
{
    ((struct hub *)ctx)->ws = NULL;
}

int main(void)
{
    static struct hub h;
    struct ws_load l;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    ws_pin(0);
    hub_start(&h);
    idle_memory(&h);
    ws_load_start(&l, SUBSCRIBERS, h.port, NULL);
    TURN_WHILE(&h, h.n < SUBSCRIBERS, "not all subscribed");
    steady_rows(&h, &l);
    saturated_rows(&h, &l);
    ws_load_stop(&l);
    tl_ws_loop_close(h.ws, on_hub_closed, &h);
    uv_close((uv_handle_t *)&h.accepts, NULL);
    uv_close((uv_handle_t *)&h.timer, NULL);
    uv_run(h.loop, UV_RUN_DEFAULT);
    must(h.ws == NULL, "the end of the loop");
    close(h.listener);
    return 0;
}
