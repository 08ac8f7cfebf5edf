/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of the WebSocket: the answer to a key, frames, UTF-8 against a decoder of another kind. Sockets are in
 * tests/protocol/test_ws.c. */
#include "support.h"

#include "base/util.h"
#include "ws/frame.h"
#include "ws/utf8.h"

static void accept_key(void **state)
{
    (void)state;
    char out[TL_WS_ACCEPT_MAX];
    struct tl_err err;
    assert_int_equal(tl_ws_accept(TL_STR("dGhlIHNhbXBsZSBub25jZQ=="), out, &err), TL_OK); /* RFC 6455, 1.3 */
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_int_equal(tl_ws_accept(TL_STR("AQIDBAUGBwgJCgsMDQ4PEA=="), out, &err), TL_OK);
    assert_string_equal(out, "C/0nmHhBztSRGR1CwL6Tf4ZjwpY=");
    static const char *const bad[] = {"",
                                      "dGhlIHNhbXBsZSBub25jZQ=",
                                      "dGhlIHNhbXBsZSBub25jZQ===",
                                      "dGhlIHNhbXBsZSBub25jZQAA",
                                      "dGhlIHNhbXBsZSBub25jZ===",
                                      "dGhlIHNhbXBsZSBub25j*Q==",
                                      "dGhlIHNhbXBsZSBub25-ZQ==",
                                      " dGhlIHNhbXBsZSBub25jZQ==",
                                      "dGhlIHNhbXBsZSBub25jZQ==\n"};
    for (size_t i = 0; i < TL_COUNT(bad); i++) {
        assert_int_equal(tl_ws_accept(tl_str(bad[i]), out, &err), TL_INVALID);
        assert_non_null(strstr(err.text, "Sec-WebSocket-Key"));
    }
}

static void frames(void **state)
{
    (void)state;
    static char payload[70000];
    static const struct {
        size_t n, header;
        unsigned char bytes[10];
    } rows[] = {
        {0, 2, {0x81, 0}},
        {1, 2, {0x81, 1}},
        {125, 2, {0x81, 125}},
        {126, 4, {0x81, 126, 0, 126}},
        {65535, 4, {0x81, 126, 0xFF, 0xFF}},
        {65536, 10, {0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
    };
    for (size_t i = 0; i < sizeof payload; i++) payload[i] = (char)(i * 7);
    for (size_t i = 0; i < TL_COUNT(rows); i++) {
        size_t cut = rows[i].n / 3;
        const struct tl_str parts[] = {{payload, cut}, {NULL, 0}, {payload + cut, rows[i].n - cut}};
        struct tl_ws_frame *f = tl_ws_frame_new(TL_WS_TEXT, parts, 3);
        assert_int_equal(tl_ws_frame_bytes(f), rows[i].header + rows[i].n);
        assert_memory_equal(f->bytes, rows[i].bytes, rows[i].header);
        assert_memory_equal(f->bytes + rows[i].header, payload, rows[i].n);
        assert_ptr_equal(tl_ws_frame_ref(f), f);
        tl_ws_frame_unref(f);
        assert_int_equal(f->bytes[0], 0x81);
        tl_ws_frame_unref(f);
    }
    tl_ws_frame_unref(NULL);
    const struct tl_str absurd[] = {{payload, SIZE_MAX}, {payload, 2}};
    assert_null(tl_ws_frame_new(TL_WS_BINARY, absurd, 2));
    assert_null(tl_ws_frame_new(TL_WS_BINARY, absurd, 1));
}

static void close_frames(void **state)
{
    (void)state;
    char reason[200];
    struct tl_ws_frame *f = tl_ws_frame_close(0, TL_STR("not said"));
    assert_int_equal(f->n, 2);
    tl_ws_frame_unref(f);
    /* Longer than what fits, the limit within a character of three bytes. */
    for (size_t i = 0; i + 3 < sizeof reason; i += 3) memcpy(reason + i, "\xE2\x82\xAC", 3);
    f = tl_ws_frame_close(1000, (struct tl_str){reason, 198});
    assert_int_equal(f->n, 4 + 123);
    tl_ws_frame_unref(f);
    memmove(reason + 1, reason, 198);
    reason[0] = 'x';
    f = tl_ws_frame_close(1000, (struct tl_str){reason, 199});
    assert_int_equal(f->n, 4 + 121); /* x and 40 characters */
    assert_int_equal(f->bytes[1], 123 - 2 + 2);
    tl_ws_frame_unref(f);
    for (unsigned code = 0; code < 6000; code++) {
        bool valid = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code < 5000);
        assert_int_equal(tl_ws_code_valid(code), valid);
    }
}

/* By value: decodes n bytes to a code point that encodes to the same bytes. */
static bool is_character(const uint8_t *p, size_t n)
{
    static const uint8_t marks[] = {0, 0, 0xC0, 0xE0, 0xF0};
    uint32_t c = n == 1 ? p[0] : p[0] & (0xFFu >> (n + 1));
    if (n == 1) return p[0] < 0x80;
    if ((p[0] & (0xFF00u >> (n + 1) & 0xFF)) != marks[n]) return false;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80) return false;
        c = c << 6 | (p[i] & 0x3F);
    }
    uint32_t least = n == 2 ? 0x80 : n == 3 ? 0x800 : 0x10000;
    return c >= least && c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
}

static bool whole(const uint8_t *p, size_t n)
{
    struct tl_ws_utf8 u = {0};
    return tl_ws_utf8_feed(&u, p, n) && tl_ws_utf8_complete(&u);
}

/* Every sequence of one to three bytes as one character, and of four with every third first and last byte. */
static void utf8_characters(void **state)
{
    (void)state;
    for (uint32_t v = 0; v < 1u << 24; v++) {
        const uint8_t p[4] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v, 0x80};
        bool three =
            is_character(p, 3) ||
            (is_character(p, 1) && (is_character(p + 1, 2) || (is_character(p + 1, 1) && is_character(p + 2, 1)))) ||
            (is_character(p, 2) && is_character(p + 2, 1));
        assert_true(whole(p, 3) == three);
        if (p[0] >= 0xF0) assert_true(whole(p, 4) == is_character(p, 4));
        if ((v & 0xFF) == 0)
            assert_true(whole(p, 2) == (is_character(p, 2) || (is_character(p, 1) && is_character(p + 1, 1))));
        if ((v & 0xFFFF) == 0) assert_true(whole(p, 1) == is_character(p, 1));
    }
}

/* Refused at the byte that no continuation can put right, wherever it is among ASCII. */
static void utf8_fails_fast(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t good; /* of it */
    } rows[] = {{"\x80", 0},
                {"\xC0", 0},
                {"\xC1", 0},
                {"\xC2\x41", 1},
                {"\xE0\x9F", 1},
                {"\xED\xA0", 1},
                {"\xE1\x80\xC0", 2},
                {"\xF0\x8F", 1},
                {"\xF4\x90", 1},
                {"\xF5", 0},
                {"\xF8", 0},
                {"\xFF", 0},
                {"\xF1\x80\x80\x41", 3},
                {"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xF4\x90", 12}};
    for (size_t i = 0; i < TL_COUNT(rows); i++)
        for (size_t before = 0; before < 20; before++) {
            char text[64];
            size_t n = strlen(rows[i].bytes);
            memset(text, 'a', sizeof text);
            memcpy(text + before, rows[i].bytes, n);
            for (size_t cut = 0; cut <= before + rows[i].good; cut++) {
                struct tl_ws_utf8 u = {0};
                assert_true(tl_ws_utf8_feed(&u, text, cut));
                assert_true(tl_ws_utf8_feed(&u, text + cut, before + rows[i].good - cut));
                assert_false(tl_ws_utf8_feed(&u, text + before + rows[i].good, 1));
            }
            assert_false(whole((const uint8_t *)text, sizeof text));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_key),      cmocka_unit_test(frames),          cmocka_unit_test(close_frames),
        cmocka_unit_test(utf8_characters), cmocka_unit_test(utf8_fails_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
