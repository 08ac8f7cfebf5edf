/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of Redis servers: what they mean, and that no text quotes a piece of their credentials. */
#include "support.h"

#include "redis/tls.h"

static void good_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *user, *password, *text;
        uint16_t port;
        uint32_t db;
    } rows[] = {
        {"redis://localhost", "localhost", "", "", "localhost:6379/0", 6379, 0},
        {"redis://localhost/", "localhost", "", "", "localhost:6379/0", 6379, 0},
        {"redis://127.0.0.1:1/15", "127.0.0.1", "", "", "127.0.0.1:1/15", 1, 15},
        {"redis://h:65535/65535", "h", "", "", "h:65535/65535", 65535, 65535},
        {"redis://:pw@h", "h", "", "pw", "h:6379/0", 6379, 0},
        {"redis://u:pw@h:7/2", "h", "u", "pw", "h:7/2", 7, 2},
        {"redis://u:p%40%2f%3A%25@h", "h", "u", "p@/:%", "h:6379/0", 6379, 0},
        {"redis://a%3ab:c:d@h", "h", "a:b", "c:d", "h:6379/0", 6379, 0},
        {"redis://u:p@w@h", "h", "u", "p@w", "h:6379/0", 6379, 0},
        {"redis://[::1]", "::1", "", "", "[::1]:6379/0", 6379, 0},
        {"redis://u:p@[fe80::1%eth0]:6380/3", "fe80::1%eth0", "u", "p", "[fe80::1%eth0]:6380/3", 6380, 3},
        {"redis+unix:///run/redis.sock", "/run/redis.sock", "", "", "/run/redis.sock/0", 0, 0},
        {"redis+unix:///run/a%20b?db=4", "/run/a b", "", "", "/run/a b/4", 0, 4},
        {"redis+unix://u:p@/s", "/s", "u", "p", "/s/0", 0, 0},
        {"redis+unix:///run/a@b", "/run/a@b", "", "", "/run/a@b/0", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tl_redis_address a;
        struct tl_err err = {.text = ""};
        char text[300];
        print_message("%s\n", rows[i].url);
        assert_int_equal(tl_redis_address_parse(rows[i].url, &a, &err), TL_OK);
        assert_string_equal(a.host, rows[i].host);
        assert_string_equal(a.user, rows[i].user);
        assert_string_equal(a.password, rows[i].password);
        assert_int_equal(a.port, rows[i].port);
        assert_int_equal(a.db, rows[i].db);
        tl_redis_address_format(&a, text, sizeof text);
        assert_string_equal(text, rows[i].text);
    }
}

/* Wherever the URL breaks, no piece of "SECRET" is in the text. */
static void bad_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        enum tl_status status;
    } rows[] = {
        {"", TL_INVALID},
        {"localhost:6379", TL_INVALID},
        {"http://h", TL_INVALID},
        {"redis://", TL_INVALID},
        {"redis://:6379", TL_INVALID},
        {"redis:///0", TL_INVALID},
        {"redis://h:", TL_INVALID},
        {"redis://h:0", TL_INVALID},
        {"redis://h:65536", TL_INVALID},
        {"redis://h:6x", TL_INVALID},
        {"redis://h/x", TL_INVALID},
        {"redis://h/-1", TL_INVALID},
        {"redis://h/65536", TL_INVALID},
        {"redis://h/99999999999999999999", TL_INVALID},
        {"redis://h/0?x=1", TL_INVALID},
        {"redis://h h", TL_INVALID},
        {"redis://h\nh", TL_INVALID},
        {"redis://[::1", TL_INVALID},
        {"redis://[]", TL_INVALID},
        {"redis://[::1]x", TL_INVALID},
        {"redis://::1", TL_INVALID},
        {"redis://user@h", TL_INVALID},
        {"redis://user:@h", TL_INVALID},
        {"redis://:p%4@h", TL_INVALID},
        {"redis://:p%zz@h", TL_INVALID},
        {"redis://:p%00@h", TL_INVALID},
        {"redis+unix://", TL_INVALID},
        {"redis+unix://run/s", TL_INVALID},
        {"redis+unix:///s?x=1", TL_INVALID},
        {"redis+unix:///s?db=x", TL_INVALID},
        {"redis+sentinel://u:SECRET@h", TL_UNSUPPORTED},
        {"redis+cluster://u:SECRET@h", TL_UNSUPPORTED},
        {"u:SECRET@redis://h", TL_INVALID},
        {"redis://SECRET@h", TL_INVALID},
        {"redis://u:SECRET%4@h", TL_INVALID},
        {"redis://u:SECRET@h:x", TL_INVALID},
        {"redis://u:SECRET/SECRET@h", TL_INVALID},
        {"redis://u:SECRET?SECRET@h", TL_INVALID},
        {"redis://u:a@b/SECRET@h", TL_INVALID},
        {"redis://u:a@b:SECRET/c@h", TL_INVALID},
        {"redis://u:a@[SECRET/c@h", TL_INVALID},
        {"redis+unix://u:SECRET/x@/s", TL_INVALID},
        {"redis+unix://u:a@/b?SECRET@/s", TL_INVALID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tl_redis_address a;
        struct tl_err err = {.text = ""};
        enum tl_status st = tl_redis_address_parse(rows[i].url, &a, &err);
        print_message("%s -> %s\n", rows[i].url, err.text);
        assert_int_equal(st, rows[i].status);
        assert_true(err.text[0] != '\0');
        assert_null(strstr(err.text, "SECRET"));
    }
    char url[700] = "redis://:", path[200] = "redis+unix:///";
    struct tl_redis_address a;
    memset(url + 9, 'p', 300);
    strcpy(url + 309, "@h");
    assert_int_equal(tl_redis_address_parse(url, &a, NULL), TL_INVALID);
    memset(url + 8, 'h', 300);
    url[308] = '\0';
    assert_int_equal(tl_redis_address_parse(url, &a, NULL), TL_INVALID);
    memset(path + 14, 's', 100);
    assert_int_equal(tl_redis_address_parse(path, &a, NULL), TL_INVALID);
}

/* Where TLS is not built in, every one of them is refused by name. */
static void with_tls(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        enum tl_status status;
        const char *ca, *cert, *key;
    } rows[] = {
        {"rediss://u:SECRET@h", TL_OK, "", "", ""},
        {"rediss://:SECRET@[::1]:7/2?ca=/etc/ca.pem", TL_OK, "/etc/ca.pem", "", ""},
        {"rediss://h?cert=a%20b&key=%3f&ca=c", TL_OK, "c", "a b", "?"},
        {"rediss://h/3?cert=a", TL_OK, "", "a", ""},
        {"rediss://u:SECRET@h?key=a", TL_INVALID, NULL, NULL, NULL},
        {"rediss://u:SECRET@h?ca=", TL_INVALID, NULL, NULL, NULL},
        {"rediss://u:SECRET@h?ca=a&&cert=b", TL_INVALID, NULL, NULL, NULL},
        {"rediss://u:SECRET@h?verify=no", TL_INVALID, NULL, NULL, NULL},
        {"rediss://u:SECRET@h?ca=%0", TL_INVALID, NULL, NULL, NULL},
        {"rediss://u:SECRET?ca=SECRET@h", TL_INVALID, NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tl_redis_address a;
        struct tl_err err = {.text = ""};
        enum tl_status st = tl_redis_address_parse(rows[i].url, &a, &err);
        print_message("%s -> %s\n", rows[i].url, err.text);
        assert_null(strstr(err.text, "SECRET"));
        assert_int_equal(st, tl_tls_built() ? rows[i].status : TL_UNSUPPORTED);
        if (st != TL_OK) continue;
        assert_true(a.tls && a.port > 0);
        assert_string_equal(a.ca, rows[i].ca);
        assert_string_equal(a.cert, rows[i].cert);
        assert_string_equal(a.key, rows[i].key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_addresses),
        cmocka_unit_test(bad_addresses),
        cmocka_unit_test(with_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
