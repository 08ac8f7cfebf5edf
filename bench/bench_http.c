/* SPDX-License-Identifier: Apache-2.0 */
/* GET of a 2 KiB answer over 64 keep-alive connections, one request under way on each: our server answering from shared
 * bytes, nginx serving the same bytes from a file (set up as it is fastest for
 * small ones: without sendfile), and libmicrohttpd with a thread of its own, each in a process of its
 * own on a loopback port, in turns, in one run; medians. The load client is this process: it sends, reads whole answers
 * and compares the first of each connection. Beside the rates stands the CPU time of the server's process for a
 * request, which is the steadier figure where the machine is shared. */
#include "http_load.h"

#include "http/http.h"

#include <uv.h>
#ifdef TL_BENCH_MHD
#include <microhttpd.h>
#endif

enum { BODY = 2048 };

static char body[BODY];

/* ---- servers ---- */

static void answer(void *ctx, struct tl_http_request *r)
{
    struct tl_http_answer a = {
        .status = 200, .type = "application/octet-stream", .body = tl_http_body_ref(ctx), .etag = "\"1-2-3\""};
    tl_http_reply(r, &a);
}

static void run_ours(int port, const char *dir)
{
    char address[32];
    const char *listen[] = {address};
    struct tl_http *http;
    (void)dir;
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    struct tl_http_options o = {
        .listen = listen, .n_listen = 1, .handle = answer, .ctx = tl_http_body_wrap(body, BODY, NULL, NULL)};
    must(tl_http_start(uv_default_loop(), &o, &http, NULL) == TL_OK, "cannot start");
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

#ifdef TL_BENCH_MHD
static enum MHD_Result mhd_answer(void *ctx, struct MHD_Connection *c, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_n, void **state)
{
    static int seen;
    (void)url, (void)method, (void)version, (void)upload, (void)upload_n;
    if (!*state) {
        *state = &seen;
        return MHD_YES;
    }
    return MHD_queue_response(c, 200, ctx);
}

static void run_mhd(int port, const char *dir)
{
    (void)dir;
    struct MHD_Response *r = MHD_create_response_from_buffer(BODY, body, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(r, "Content-Type", "application/octet-stream");
    MHD_add_response_header(r, "ETag", "\"1-2-3\"");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    must(MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD, (uint16_t)port, NULL, NULL, mhd_answer, r,
                          MHD_OPTION_END) != NULL,
         "libmicrohttpd cannot start");
    for (;;) pause();
}
#endif

static void rows(struct web *ours, struct web *nginx, struct web *mhd)
{
    double rate = bench_median(ours->rate, ROUNDS), cpu = bench_median(ours->cpu_us, ROUNDS);
    double their_rate = bench_median(nginx->rate, ROUNDS), their_cpu = bench_median(nginx->cpu_us, ROUNDS);
    bench_row("http_get_2k", rate, "/s", "nginx", their_rate, rate / their_rate, ">= 0.8 x peer",
              rate >= 0.8 * their_rate);
    bench_row("http_get_2k_cpu", cpu, "us", "nginx", their_cpu, cpu / their_cpu, NULL, false);
    if (!mhd) return;
    their_cpu = bench_median(mhd->cpu_us, ROUNDS);
    bench_row("http_get_2k_cpu_library", cpu, "us", "libmicrohttpd", their_cpu, cpu / their_cpu, "<= peer + 1 us",
              cpu <= their_cpu + 1);
}

int main(void)
{
    char dir[40] = "/tmp/tl-bench-http-XXXXXX", root[64];
    struct web ours = {.name = "ours", .target = "/file", .body = body, .body_n = BODY}, nginx = ours, *mhd = NULL;
    nginx.name = "nginx";
    for (size_t i = 0; i < BODY; i++) body[i] = (char)('a' + i % 26);
    must(mkdtemp(dir) != NULL, "no temporary folder");
    snprintf(root, sizeof root, "%s/root", dir);
    must(mkdir(root, 0755) == 0 && chmod(dir, 0755) == 0, "no temporary folder");
    write_file(root, "file", body, BODY);
    ours.pid = spawn(run_ours, ours.port = free_port(), dir);
    nginx.pid = spawn(run_nginx, nginx.port = free_port(), dir);
#ifdef TL_BENCH_MHD
    struct web library = ours;
    library.name = "libmicrohttpd";
    library.pid = spawn(run_mhd, library.port = free_port(), dir);
    mhd = &library;
#endif
    for (int i = 0; i < ROUNDS; i++) {
        measure(&ours, i);
        measure(&nginx, i);
        if (mhd) measure(mhd, i);
    }
    rows(&ours, &nginx, mhd);
    stop(&ours);
    stop(&nginx);
    if (mhd) stop(mhd);
    remove_files(dir);
    return 0;
}
