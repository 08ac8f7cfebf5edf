/* SPDX-License-Identifier: Apache-2.0 */
/* Check, lock, check, compute as a model: N processes want one key. Each atomic block is one script inside Redis, or one
 * turn of a process' loop; everything may happen between them. What is checked:
 *   - a value is visible once, only its lease's holder makes it so, and tokens rise (assertions);
 *   - it is computed at most 1 + leases lost times (assertion);
 *   - nobody waits for ever (no invalid end state), in -DQUIET without alarms: the messages alone suffice then.
 * -DROUGH: leases expire while they are held, processes die, messages are lost, replies are lost, and alarms ring.
 * -DQUIET: none of that, but a holder may give up.
 * -DPLANT_UNFENCED, -DPLANT_DEAF: mistakes that must be found. */

#define N 3

#ifdef ROUGH
#define LOSSES 2   /* leases that expire under their holder, or whose holder dies */
#define MESSAGES 2 /* messages that are lost */
#define REPLIES 1  /* replies that are lost: the question is asked again */
#define GIVE_UPS 0
#else
#define LOSSES 0
#define MESSAGES 0
#define REPLIES 0
#define GIVE_UPS 2
#endif

/* Redis */
byte lock = 0;   /* 1 + who has the lease, 0: nobody */
byte token = 0;  /* of the lease */
byte fence = 0;  /* the last token given out */
byte entry = 0;  /* token of the value, 0: none */
bool wait_flag = false;

/* the world */
byte computed = 0, lost = 0, messages_lost = 0, replies_lost = 0, gave_up = 0;

/* the processes: what a message finds */
bool asked[N], busy[N], woken[N];

inline publish() {
    if
    :: wait_flag ->
        wait_flag = false;
        byte i = 0;
        do
        :: i < N ->
            if
#ifdef PLANT_DEAF
            :: busy[i] -> woken[i] = true
#else
            :: (asked[i] || busy[i]) -> woken[i] = true
#endif
            :: (asked[i] || busy[i]) && messages_lost < MESSAGES -> messages_lost++
            :: else -> skip
            fi;
            i++
        :: else -> break
        od
    :: else -> skip
    fi
}

mtype = { HIT, GRANTED, BUSY };

inline acquire(me) {
    if
    :: entry != 0 -> answer = HIT
    :: entry == 0 && lock == me + 1 -> answer = GRANTED; mine = token
    :: entry == 0 && lock == 0 -> fence++; token = fence; lock = me + 1; answer = GRANTED; mine = token
    :: entry == 0 && lock != 0 && lock != me + 1 -> wait_flag = true; answer = BUSY
    fi
}

proctype process(byte me) {
    mtype answer;
    byte mine = 0;
    bool made = false, fenced = false;
ask:
    atomic { asked[me] = true; busy[me] = false }
again:
    atomic { acquire(me) }
    if
    :: replies_lost < REPLIES -> atomic { replies_lost++ }; goto again /* asked for again, by the same name */
    :: true
    fi;
    atomic {
        asked[me] = false;
        if
        :: answer == HIT -> goto done
        :: answer == GRANTED -> woken[me] = false
        :: answer == BUSY && woken[me] -> woken[me] = false; goto ask
        :: answer == BUSY && !woken[me] -> busy[me] = true; goto waiting
        fi
    }
    if
    :: made /* under a lease that was lost: handed in, not computed again */
    :: !made -> atomic { computed++; assert(computed <= 1 + lost + gave_up); made = true }
    :: gave_up < GIVE_UPS ->
        atomic {
            gave_up++;
            if
            :: lock == me + 1 -> lock = 0; publish()
            :: else
            fi
        };
        goto done
    fi;
commit:
    atomic {
#ifdef PLANT_UNFENCED
        if
        :: true ->
#else
        if
        :: lock == me + 1 && token == mine ->
#endif
            assert(entry == 0 && mine > entry);
            entry = mine;
            lock = 0;
            fenced = false;
            publish()
        :: entry == mine -> fenced = false /* by the call whose reply was lost */
        :: !(lock == me + 1 && token == mine) && entry != mine -> fenced = true
        fi
    };
    if
    :: replies_lost < REPLIES -> atomic { replies_lost++ }; goto commit
    :: fenced -> goto ask
    :: !fenced -> goto done
    fi;
waiting:
    if
    :: atomic { woken[me] -> woken[me] = false; busy[me] = false }; goto ask
#ifdef ROUGH
    :: atomic { lock == 0 || entry != 0 -> busy[me] = false; woken[me] = false }; goto ask /* its time is over */
#endif
    fi;
done:
    skip
}

#ifdef ROUGH
/* Leases expire at any time; who held it is dead, or too slow. */
proctype time_passes() {
end:
    do
    :: atomic { lock != 0 && lost < LOSSES -> lock = 0; lost++ }
    od
}
#endif

init {
    byte n = 0;
    atomic {
        do
        :: n < N -> run process(n); n++
        :: else -> break
        od;
#ifdef ROUGH
        run time_passes()
#endif
    }
}
