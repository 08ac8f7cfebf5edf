/* SPDX-License-Identifier: Apache-2.0 */
/* Giving back without waiting for it: what was held, or what may have been granted to a question whose answer nobody
 * waits for any more. Behind the question on the same connection, so that it comes after it. */
#include "lock/locks.h"

#include "base/util.h"

struct parting {
    struct tl_locks *locks;
    struct tl_redis_cmd cmd;
    struct tl_str argv[5];
    char keys[2][TL_LOCK_KEY_MAX], owner[LEASE_OWNER_MAX];
};

static void on_parted(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                      const struct tl_err *err)
{
    struct parting *p = cmd->user;
    struct tl_locks *c = p->locks;
    (void)status, (void)reply, (void)err; /* it expires by itself otherwise */
    free(p);
    tl_locks_parted(c);
}

void tl_lease_part(struct lease *l)
{
    struct tl_locks *c = l->locks;
    struct parting *p = c->redis_up ? tl_calloc(1, sizeof *p) : NULL;
    if (!p) return;
    p->locks = c;
    memcpy(p->keys[0], l->keys[0], sizeof p->keys[0]);
    memcpy(p->keys[1], l->keys[2], sizeof p->keys[1]);
    memcpy(p->owner, l->owner, sizeof p->owner);
    struct tl_str args[] = {TL_STR("2"), tl_str(p->keys[0]), tl_str(p->keys[1]), tl_str(p->owner), tl_str(c->channel)};
    memcpy(p->argv, args, sizeof args);
    p->cmd = (struct tl_redis_cmd){.argv = p->argv, .argc = TL_COUNT(args), .cb = on_parted, .user = p};
    if (tl_redis_eval(c->redis, &p->cmd, TL_LOCK_RELEASE, c->timeout_ms, NULL) == TL_OK)
        c->partings++;
    else
        free(p);
}
