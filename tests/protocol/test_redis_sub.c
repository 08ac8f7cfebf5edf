/* SPDX-License-Identifier: Apache-2.0 */
/* Pub/Sub against real servers and scripted peers: messages of every kind arrive in order, a lost subscription is
 * renewed, and a server that says nothing is given up. */
#include "support.h"

#include "client.h"
#include "peer.h"
#include "redis_server.h"

enum { MESSAGES = 5000 };

struct sub {
    struct client client; /* its loop, states and options; its command connection publishes */
    struct tl_redis_sub *sub;
    struct tl_redis_sub_options options;
    unsigned ups, downs, closed, messages, of_channel[3];
    char why[512];
    const char *expected; /* payload; NULL: a number, which counts up */
    size_t n_expected;
    bool wrong, close_at_message;
};

static const char *const channels[] = {"one", "two words", "three"};

static void on_state(void *ctx, bool up, const struct tl_err *why)
{
    struct sub *s = ctx;
    if (up)
        s->ups++;
    else
        s->downs++;
    if (why) snprintf(s->why, sizeof s->why, "%s", why->text);
}

static void on_closed(void *ctx)
{
    ((struct sub *)ctx)->closed++;
}

static void on_message(void *ctx, struct tl_str channel, struct tl_str payload)
{
    struct sub *s = ctx;
    char number[16];
    snprintf(number, sizeof number, "%u", s->messages);
    struct tl_str expected = s->expected ? (struct tl_str){s->expected, s->n_expected} : tl_str(number);
    bool known = false;
    for (size_t i = 0; i < 3; i++)
        if (tl_str_eq(channel, tl_str(channels[i]))) s->of_channel[i]++, known = true;
    s->wrong = s->wrong || !known || !tl_str_eq(payload, expected);
    s->messages++;
    if (s->close_at_message) tl_redis_sub_close(s->sub, on_closed, s);
}

static void sub_init(struct sub *s, uint16_t port, size_t n_channels)
{
    *s = (struct sub){.closed = 0};
    client_init(&s->client, port);
    s->options = (struct tl_redis_sub_options){
        .base = s->client.options, .channels = channels, .n_channels = n_channels, .on_message = on_message};
    s->options.base.on_state = on_state;
    s->options.base.ctx = s;
}

static void sub_start(struct sub *s)
{
    struct tl_err err = {.text = ""};
    assert_int_equal(tl_redis_sub_start(&s->client.loop, &s->options, &s->sub, &err), TL_OK);
}

static void sub_end(struct sub *s)
{
    if (!s->closed) tl_redis_sub_close(s->sub, on_closed, s);
    WAIT(&s->client, s->closed == 1);
    client_end(&s->client);
    assert_int_equal(s->closed, 1);
    assert_false(s->wrong);
}

static void publish(struct sub *s, size_t channel, const char *payload, size_t n)
{
    struct call a = {.ended = 0};
    call_words(&a, &s->client, WORDS("PUBLISH", channels[channel], ""));
    a.argv[2] = (struct tl_str){payload, n};
    assert_int_equal(tl_redis_submit(s->client.redis, &a.cmd, 10000, NULL), TL_OK);
    call_wait(&a, TL_OK, "1");
}

static void begin(struct redis_server *server, struct sub *s)
{
    redis_server_start(server, NULL);
    sub_init(s, (uint16_t)server->port, 3);
    client_start(&s->client);
    client_up(&s->client);
    sub_start(s);
    WAIT(&s->client, tl_redis_sub_up(s->sub));
    assert_int_equal(s->ups, 1);
}

static void messages_arrive(void **state)
{
    (void)state;
    static char bytes[200000];
    struct redis_server server;
    struct sub s;
    begin(&server, &s);
    for (unsigned i = 0; i < 9; i++) {
        char number[16];
        publish(&s, i % 3, number, (size_t)snprintf(number, sizeof number, "%u", i));
    }
    WAIT(&s.client, s.messages == 9);
    for (size_t i = 0; i < 3; i++) assert_int_equal(s.of_channel[i], 3);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7);
    static const size_t sizes[] = {0, 1, 256, sizeof bytes};
    for (size_t i = 0; i < 4; i++) {
        s.expected = bytes;
        s.n_expected = sizes[i];
        publish(&s, 1, bytes, sizes[i]);
        WAIT(&s.client, s.messages == 10 + i);
    }
    s.expected = "last";
    s.n_expected = 4;
    s.close_at_message = true;
    publish(&s, 0, "last", 4);
    WAIT(&s.client, s.closed == 1);
    assert_int_equal(s.downs, 0);
    sub_end(&s);
    redis_server_stop(&server);
}

/* Many in one script: they arrive in order, all of them. */
static void many_messages(void **state)
{
    (void)state;
    struct redis_server server;
    struct sub s;
    char count[16];
    begin(&server, &s);
    struct call a = {.ended = 0};
    snprintf(count, sizeof count, "%d", MESSAGES - 1);
    CALL(&a, &s.client, 10000, "EVAL", "for i = 0, tonumber(ARGV[1]) do redis.call('PUBLISH', 'one', i) end", "0",
         count);
    call_wait(&a, TL_OK, "nil");
    WAIT(&s.client, s.messages == MESSAGES);
    sub_end(&s);
    redis_server_stop(&server);
}

static void subscribed_again(void **state)
{
    (void)state;
    struct redis_server server;
    struct sub s;
    char out[64];
    begin(&server, &s);
    publish(&s, 0, "0", 1);
    assert_true(redis_do(&server, out, "CLIENT", "KILL", "TYPE", "pubsub"));
    assert_string_equal(out, ":1\r\n");
    WAIT(&s.client, s.ups == 2);
    assert_int_equal(s.downs, 1);
    assert_true(s.why[0] != '\0');
    for (size_t i = 0; i < 3; i++) publish(&s, i, &"123"[i], 1);
    WAIT(&s.client, s.messages == 4);
    redis_server_restart(&server);
    WAIT(&s.client, s.ups == 3);
    client_up(&s.client);
    publish(&s, 2, "4", 1);
    WAIT(&s.client, s.messages == 5);
    sub_end(&s);
    redis_server_stop(&server);
}

static void forbidden_channel(void **state)
{
    (void)state;
    struct redis_server server;
    struct sub s;
    char out[64];
    redis_server_start(&server, NULL);
    assert_true(redis_do(&server, out, "ACL", "SETUSER", "u", "on", ">p@ss", "+@all", "resetchannels", "&one"));
    sub_init(&s, (uint16_t)server.port, 3);
    snprintf(s.options.base.address.user, sizeof s.options.base.address.user, "u");
    snprintf(s.options.base.address.password, sizeof s.options.base.address.password, "p@ss");
    sub_start(&s);
    WAIT(&s.client, s.downs >= 2);
    assert_int_equal(s.ups, 0);
    assert_non_null(strstr(s.why, "NOPERM"));
    assert_true(redis_do(&server, out, "ACL", "SETUSER", "u", "allchannels"));
    WAIT(&s.client, tl_redis_sub_up(s.sub));
    sub_end(&s);
    redis_server_stop(&server);
}

#define PING      "*1\r\n$4\r\nPING\r\n"
#define SUBSCRIBE "*2\r\n$9\r\nSUBSCRIBE\r\n$3\r\none\r\n"
#define CONFIRMED "*3\r\n$9\r\nsubscribe\r\n$3\r\none\r\n:1\r\n"
#define PONG      "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
#define MESSAGE_0 "*3\r\n$7\r\nmessage\r\n$3\r\none\r\n$1\r\n0\r\n"

/* Answers the first PING, not the second: given up, and the next connection is subscribed. */
static void silent_peer(void **state)
{
    (void)state;
    static const struct peer_step steps[] = {ACCEPT,
                                             EXPECT(SUBSCRIBE),
                                             SEND_SPLIT(CONFIRMED MESSAGE_0),
                                             EXPECT(PING),
                                             SEND_SPLIT(PONG),
                                             EXPECT(PING),
                                             HANG,
                                             ACCEPT,
                                             EXPECT(SUBSCRIBE),
                                             SEND(CONFIRMED),
                                             HANG};
    struct peer p;
    struct sub s;
    peer_start(&p, steps, sizeof steps / sizeof steps[0]);
    sub_init(&s, p.port, 1);
    s.options.ping_ms = 200;
    sub_start(&s);
    WAIT(&s.client, s.ups == 1);
    uint64_t start = client_now_ms();
    WAIT(&s.client, s.downs == 1);
    assert_in_range(client_now_ms() - start, 350, 3000); /* two turns of PING at least */
    assert_non_null(strstr(s.why, "no sign of life"));
    WAIT(&s.client, s.ups == 2);
    assert_int_equal(s.messages, 1);
    sub_end(&s);
    peer_stop(&p);
}

/* Whatever is no answer of Pub/Sub ends the connection, before and after the confirmation. */
static void broken_peers(void **state)
{
    (void)state;
    static const struct peer_step rows[] = {
        CLOSE,
        RESET,
        SEND("+OK\r\n"),
        SEND("*0\r\n"),
        SEND("*3\r\n:1\r\n:2\r\n:3\r\n"),
        SEND("*3\r\n$7\r\nmessage\r\n:2\r\n$1\r\nx\r\n"),
        SEND("*3\r\n$7\r\nmessage\r\n$3\r\none\r\n*-1\r\n"),
        SEND("*-1\r\n"),
        SEND("*1000000000\r\n"),
        SEND("-ERR no\r\n"),
        SEND("HTTP/1.1 400 Bad Request\r\n"),
    };
    for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
        struct peer p;
        struct sub s;
        bool confirmed = i % 2 == 0;
        const struct peer_step steps[] = {ACCEPT,
                                          EXPECT(SUBSCRIBE),
                                          {PEER_SEND, CONFIRMED, confirmed ? sizeof CONFIRMED - 1 : 0},
                                          rows[i / 2],
                                          ACCEPT,
                                          EXPECT(SUBSCRIBE),
                                          SEND(CONFIRMED),
                                          HANG};
        peer_start(&p, steps, sizeof steps / sizeof steps[0]);
        sub_init(&s, p.port, 1);
        sub_start(&s);
        WAIT(&s.client, s.downs == 1 && tl_redis_sub_up(s.sub));
        if (rows[i / 2].kind != PEER_RESET) /* which may overtake the confirmation */
            assert_int_equal(s.ups, confirmed ? 2 : 1);
        assert_int_equal(s.messages, 0);
        sub_end(&s);
        peer_stop(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_arrive),   cmocka_unit_test(many_messages), cmocka_unit_test(subscribed_again),
        cmocka_unit_test(forbidden_channel), cmocka_unit_test(silent_peer),   cmocka_unit_test(broken_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
