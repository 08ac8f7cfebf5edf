/* SPDX-License-Identifier: Apache-2.0 */
/* Leases that change hands: let go of by one process, and taken up by another with owner and token. */
#include "support.h"

#include "lock_fixture.h"

static enum tl_status resume(struct held *h, struct side *s, const char *name, const char *owner, uint64_t token)
{
    *h = (struct held){.side = s, .progress = true};
    h->lease =
        (struct tl_lease){.ttl_ms = 1000, .token = token, .in_progress = in_progress, .on_lost = on_lost, .user = h};
    enum tl_status st = tl_lease_resume(s->locks, &h->lease, name, owner, on_acquired, NULL);
    if (st != TL_OK) return st;
    assert_int_equal(h->ended, 0);
    UNTIL(s, 3000, h->ended == 1);
    return h->status;
}

static void changes_hands(void **state)
{
    struct world *w = *state;
    struct held a, b, c;
    char owner[TL_LEASE_OWNER_MAX], again[TL_LEASE_OWNER_MAX];
    assert_int_equal(get(&a, &w->a, "baton", 1000, 0), TL_OK);
    tl_lease_owner(&a.lease, owner);
    assert_int_equal(strspn(owner, "0123456789abcdef"), 16);
    assert_int_equal(owner[16], ':');
    uint64_t token = a.lease.token;
    tl_lease_forget(&a.lease);
    tl_lease_forget(&a.lease); /* no-op */
    tl_lease_owner(&a.lease, again);
    assert_string_equal(again, "");
    assert_int_equal(tl_lease_left_ms(&a.lease), 0);
    assert_int_equal(tl_lease_release(&a.lease, on_released, NULL), TL_LOCK_LOST);
    assert_int_equal(get(&b, &w->b, "baton", 1000, 0), TL_BUSY); /* it is held, by nobody here */
    assert_int_equal(resume(&b, &w->b, "baton", owner, token), TL_OK);
    assert_in_range(tl_lease_left_ms(&b.lease), 500, 1000);
    tl_lease_owner(&b.lease, again); /* it stays who it is, and goes on */
    assert_string_equal(again, owner);
    tl_lease_forget(&b.lease);
    assert_int_equal(resume(&c, &w->a, "baton", again, token), TL_OK);
    turn(&w->a, 2500); /* renewed, as if it had been acquired */
    assert_int_equal(c.lost, 0);
    ask_for(&b, &w->b, "baton", 1000, 5000);
    turn(&w->b, 100);
    assert_int_equal(b.ended, 0);
    assert_int_equal(give_back(&c), TL_OK);
    UNTIL(&w->b, 1000, b.ended == 1); /* who waits is woken */
    assert_int_equal(b.status, TL_OK);
    assert_true(b.lease.token > token);
    assert_int_equal(resume(&c, &w->a, "baton", owner, token), TL_LOCK_LOST);
    assert_int_equal(give_back(&b), TL_OK);
    assert_int_equal(a.lost + b.lost + c.lost, 0);
}

/* The whole lease, or nothing: parts of it are parts of others, too. */
static void only_the_whole_lease(void **state)
{
    struct world *w = *state;
    struct held a, b;
    char owner[TL_LEASE_OWNER_MAX], part[TL_LEASE_OWNER_MAX + 1];
    assert_int_equal(get(&a, &w->a, "whole", 5000, 0), TL_OK);
    tl_lease_owner(&a.lease, owner);
    assert_int_equal(resume(&b, &w->b, "whole", owner, a.lease.token + 1), TL_LOCK_LOST);
    assert_int_equal(resume(&b, &w->b, "whole", owner, a.lease.token / 10), TL_LOCK_LOST);
    assert_int_equal(resume(&b, &w->b, "other", owner, a.lease.token), TL_LOCK_LOST);
    snprintf(part, sizeof part, "%s0", owner);
    assert_int_equal(resume(&b, &w->b, "whole", part, a.lease.token), TL_LOCK_LOST);
    static const char *const bad[] = {"",
                                      "0123456789abcdef",
                                      "0123456789abcdef:",
                                      "123:1",
                                      "0123456789abcdef:1:",
                                      "0123456789abcdef:1:2",
                                      "0123456789ABCDEF:1",
                                      "0123456789abcdef:00000000000000001"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(resume(&b, &w->b, "whole", bad[i], 1), TL_INVALID);
    snprintf(part, sizeof part, "%.16s", owner); /* of every lease of that process */
    assert_int_equal(resume(&b, &w->b, "whole", part, a.lease.token), TL_INVALID);
    assert_int_equal(resume(&b, &w->b, "", owner, a.lease.token), TL_INVALID);
    turn(&w->a, 50);
    assert_int_equal(give_back(&a), TL_OK); /* nothing has touched it */
}

/* Who stops taking a lease up, or is closed meanwhile, leaves it to its holder. */
static void taking_up_ends(void **state)
{
    struct world *w = *state;
    struct held a, b;
    struct side third;
    char owner[TL_LEASE_OWNER_MAX];
    assert_int_equal(get(&a, &w->a, "kept", 5000, 0), TL_OK);
    tl_lease_owner(&a.lease, owner);
    for (int turns = 0; turns < 4; turns++) {
        b = (struct held){.side = &w->b};
        b.lease = (struct tl_lease){.ttl_ms = 5000, .token = a.lease.token, .user = &b};
        assert_int_equal(tl_lease_resume(w->b.locks, &b.lease, "kept", owner, on_acquired, NULL), TL_OK);
        for (int i = 0; i < turns && b.ended == 0; i++) uv_run(&w->b.loop, UV_RUN_NOWAIT);
        tl_lease_cancel(&b.lease);
        UNTIL(&w->b, 3000, b.ended == 1);
        assert_true(b.status == TL_CANCELLED || b.status == TL_OK);
        if (b.status == TL_OK) tl_lease_forget(&b.lease);
        turn(&w->b, 20);
    }
    side_open(&third, w->s.url);
    UNTIL(&third, 3000, third.locks->redis_up);
    b = (struct held){.side = &third};
    b.lease = (struct tl_lease){.ttl_ms = 5000, .token = a.lease.token, .user = &b};
    assert_int_equal(tl_lease_resume(third.locks, &b.lease, "kept", owner, on_acquired, NULL), TL_OK);
    side_close(&third);
    assert_int_equal(b.ended, 1);
    assert_int_equal(b.status, TL_CANCELLED);
    assert_int_equal(get(&b, &w->b, "kept", 1000, 0), TL_BUSY);
    assert_int_equal(give_back(&a), TL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(changes_hands, setup, teardown),
        cmocka_unit_test_setup_teardown(only_the_whole_lease, setup, teardown),
        cmocka_unit_test_setup_teardown(taking_up_ends, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
