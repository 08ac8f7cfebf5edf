/* SPDX-License-Identifier: Apache-2.0 */
/* TLS against a real redis-server with certificates of the test's own (made by openssl(1)): who is believed and who is
 * not, large values both ways, a server that dies, Pub/Sub, one that speaks no TLS. */
#include "support.h"

#include "client.h"
#include "redis_server.h"

#include "redis/tls.h"

enum { MANY = 20000, BIG = 5000000 };

struct world {
    char dir[64];
    struct redis_server s;
    int port; /* with TLS */
    char port_text[8], files[5][96];
};
enum { CA, CERT, KEY, OTHER_CA, CLIENT };

static void shell(const char *dir, const char *script)
{
    char command[2048];
    snprintf(command, sizeof command, "cd %s && { %s; } >openssl.log 2>&1", dir, script);
    if (system(command) != 0) fail_msg("openssl failed in %s", dir);
}

static int setup(void **state)
{
    static struct world w;
    static const char *const names[] = {"ca.pem", "server.pem", "server.key", "other.pem", "client.pem"};
    *state = NULL;
    if (!tl_tls_built() || access("/usr/bin/openssl", X_OK) != 0) return 0;
    snprintf(w.dir, sizeof w.dir, "/tmp/tl-tls-XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    for (int i = 0; i < 5; i++) snprintf(w.files[i], sizeof w.files[i], "%s/%s", w.dir, names[i]);
    shell(w.dir,
          "new='openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'; "
          "$new -subj /CN=ca -keyout ca.key -out ca.pem && $new -subj /CN=ca -keyout other.key -out other.pem && "
          "for who in server client; do "
          "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$who -keyout $who.key "
          "-out $who.csr -addext subjectAltName=IP:127.0.0.1 && "
          "openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy "
          "-out $who.pem; done && cat client.key >>client.pem");
    w.port = redis_free_port();
    snprintf(w.port_text, sizeof w.port_text, "%d", w.port);
    const char *extra[] = {
        "--tls-port", w.port_text,          "--tls-cert-file", w.files[CERT],        "--tls-key-file",
        w.files[KEY], "--tls-ca-cert-file", w.files[CA],       "--tls-auth-clients", "no",
        NULL};
    redis_server_start(&w.s, extra);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    if (!w) return 0;
    redis_server_stop(&w->s);
    (void)nftw(w->dir, redis_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static struct world *world(void **state)
{
    if (!*state) print_message("built without TLS, or openssl is not installed\n");
    if (!*state) skip();
    return *state;
}

/* files: "ca=...&cert=..." */
static void address(struct client *c, const char *host, int port, const char *query)
{
    char url[512];
    struct tl_err err;
    snprintf(url, sizeof url, "rediss://%s:%d/0%s%s", host, port, query[0] ? "?" : "", query);
    client_init(c, 1);
    enum tl_status st = tl_redis_address_parse(url, &c->options.address, &err);
    if (st != TL_OK) print_message("%s\n", err.text);
    assert_int_equal(st, TL_OK);
}

static void with_ca(const struct world *w, struct client *c)
{
    char query[128];
    snprintf(query, sizeof query, "ca=%s", w->files[CA]);
    address(c, "127.0.0.1", w->port, query);
}

static void refused(struct client *c, const char *why)
{
    client_start(c);
    WAIT(c, c->redis && tl_redis_why(c->redis)[0]);
    if (!strstr(tl_redis_why(c->redis), why)) print_message("%s\n", tl_redis_why(c->redis));
    assert_non_null(strstr(tl_redis_why(c->redis), why));
    assert_int_equal(c->ups, 0);
    client_end(c);
}

static unsigned answered;

static void count_answer(struct tl_redis_cmd *cmd, enum tl_status st, const struct tl_reply *reply,
                         const struct tl_err *err)
{
    (void)cmd, (void)err;
    assert_int_equal(st, TL_OK);
    assert_string_equal(reply->str.p, "PONG");
    answered++;
}

static void large_and_many(void **state)
{
    const struct world *w = world(state);
    struct client c;
    struct call a = {.ended = 0};
    static char big[BIG];
    static struct tl_redis_cmd cmds[MANY];
    static const struct tl_str ping[] = {{"PING", 4}};
    with_ca(w, &c);
    client_start(&c);
    client_up(&c);
    for (size_t i = 0; i < BIG; i++) big[i] = (char)(i * 2654435761u >> 24);
    call_words(&a, &c, WORDS("SET", "big", ""));
    a.argv[2] = (struct tl_str){big, BIG};
    assert_int_equal(tl_redis_submit(c.redis, &a.cmd, 10000, NULL), TL_OK);
    call_wait(&a, TL_OK, "+OK");
    a.ended = 0;
    CALL(&a, &c, 10000, "STRLEN", "big");
    call_wait(&a, TL_OK, "5000000");
    a.ended = 0;
    CALL(&a, &c, 10000, "GETRANGE", "big", "0", "-1");
    call_wait(&a, TL_OK, NULL);
    answered = 0;
    for (int i = 0; i < MANY; i++) {
        cmds[i] = (struct tl_redis_cmd){.argv = ping, .argc = 1, .cb = count_answer};
        assert_int_equal(tl_redis_submit(c.redis, &cmds[i], 10000, NULL), TL_OK);
    }
    WAIT(&c, answered == MANY);
    assert_int_equal(c.downs, 0);
    client_end(&c);
}

static void who_is_believed(void **state)
{
    const struct world *w = world(state);
    struct client c;
    char query[400], out[64];
    snprintf(query, sizeof query, "ca=%s", w->files[OTHER_CA]);
    address(&c, "127.0.0.1", w->port, query);
    refused(&c, "not believed");
    address(&c, "127.0.0.1", w->port, ""); /* the CAs of the system do not know it */
    refused(&c, "not believed");
    snprintf(query, sizeof query, "ca=%s", w->files[CA]);
    address(&c, "localhost", w->port, query); /* the certificate is of the address */
    refused(&c, "not believed");
    address(&c, "127.0.0.1", w->s.port, query); /* speaks no TLS: takes the hello for half a command */
    c.options.connect_ms = 300;
    refused(&c, "no answer within 300 ms");
    snprintf(query, sizeof query, "ca=%s/none.pem", w->dir);
    address(&c, "127.0.0.1", w->port, query);
    refused(&c, "none.pem cannot be used");
    snprintf(query, sizeof query, "ca=%s&cert=%s", w->files[CA], w->files[CERT]);
    address(&c, "127.0.0.1", w->port, query); /* has no key in it */
    refused(&c, "key");
    struct redis_server s = w->s;
    assert_true(redis_do(&s, out, "CONFIG", "SET", "tls-auth-clients", "yes"));
    with_ca(w, &c);
    refused(&c, "connection"); /* after the handshake: the server hangs up */
    snprintf(query, sizeof query, "ca=%s&cert=%s", w->files[CA], w->files[CLIENT]);
    address(&c, "127.0.0.1", w->port, query);
    client_start(&c);
    client_up(&c);
    client_end(&c);
    assert_true(redis_do(&s, out, "CONFIG", "SET", "tls-auth-clients", "no"));
}

static void killed_and_restarted(void **state)
{
    struct world *w = world(state);
    struct client c;
    struct call a = {.ended = 0};
    with_ca(w, &c);
    client_start(&c);
    client_up(&c);
    CALL(&a, &c, 60000, "BLPOP", "none", "0");
    client_run_ms(&c, 20);
    redis_server_kill(&w->s);
    call_wait(&a, TL_IO, NULL);
    redis_server_restart(&w->s);
    client_up(&c);
    a.ended = 0;
    CALL(&a, &c, 5000, "PING");
    call_wait(&a, TL_OK, "+PONG");
    client_end(&c);
}

static unsigned messages;

static void on_message(void *ctx, struct tl_str channel, struct tl_str payload)
{
    (void)ctx;
    assert_true(tl_str_eq(channel, TL_STR("news")) && tl_str_eq(payload, TL_STR("hello")));
    messages++;
}

static void published(void **state)
{
    struct world *w = world(state);
    struct client c;
    struct tl_err err;
    struct tl_redis_sub *sub;
    static const char *const channels[] = {"news"};
    char out[64];
    with_ca(w, &c);
    struct tl_redis_sub_options o = {
        .base = c.options, .channels = channels, .n_channels = 1, .on_message = on_message};
    messages = 0;
    assert_int_equal(tl_redis_sub_start(&c.loop, &o, &sub, &err), TL_OK);
    WAIT(&c, tl_redis_sub_up(sub));
    for (int i = 0; i < 100; i++) assert_true(redis_do(&w->s, out, "PUBLISH", "news", "hello"));
    WAIT(&c, messages == 100);
    tl_redis_sub_close(sub, client_closed, &c);
    WAIT(&c, c.closed == 1);
    client_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_and_many),
        cmocka_unit_test(who_is_believed),
        cmocka_unit_test(killed_and_restarted),
        cmocka_unit_test(published),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
