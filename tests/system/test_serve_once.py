#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs in another language compute once and lock through `tierline serve`: processes with nothing but urllib, one
of them killed, on one server without a Redis and on two that share one. The longest function takes 6 s;
TIERLINE_TEST_FULL=1: 20 s."""
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

from serving import SKIPPED, ask, check, folder, redis, run_all, server, until

PROCESSES = 8
LONGEST = 20.0 if os.environ.get("TIERLINE_TEST_FULL") else 6.0
LEASE_MS = 2000
TAKES = {"a": 0.01, "b": 0.05, "c": 0.2, "d": 0.5, "e": 1.0, "victim": 1.5, "long": LONGEST}


# ---- a process of its own: compute ----

def append(path, line):
    with open(path, "a") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        f.write(line + "\n")


def lines(path):
    return open(path).read().split("\n")[:-1] if os.path.exists(path) else []


def make(bases, key, lease, journal):
    """The function: as long as it takes, renewed now and then, and a value that no other call makes."""
    append(journal, f"{key} {os.getpid()}")
    end, turn = time.monotonic() + TAKES[key], 0
    while time.monotonic() < end:
        time.sleep(min(LEASE_MS / 3000, max(end - time.monotonic(), 0)))
        turn += 1
        if time.monotonic() < end:
            renewed = ask(bases[turn % len(bases)], "POST", f"compute/{key}/renew", lease=lease, lease_ms=LEASE_MS)
            check(renewed.status == 204, "renewal", key, renewed)
    return f"{key} by {os.getpid()} {random.getrandbits(64):x}"


def get(bases, key, journal):
    while True:
        a = ask(random.choice(bases), "POST", f"compute/{key}", lease_ms=LEASE_MS, wait_ms=30000)
        if a.status == 200:
            return a.text
        if a.status == 409:
            continue
        check(a.status == 201, "compute", key, a)
        value = make(bases, key, a.json["lease"], journal)
        put = ask(random.choice(bases), "PUT", f"compute/{key}", value, "application/octet-stream", lease=a.json["lease"])
        check(put.status == 204, "PUT", key, put)
        return value


def compute_process(bases, journal, results, seed):
    keys = list(TAKES)
    random.seed(int(seed))
    random.shuffle(keys)
    got = {key: get(bases.split(","), key, journal) for key in keys}
    append(results, json.dumps(got))


# ---- a process of its own: lock ----

class Register:
    """What a lease protects: a number, and the token that it was written under. It refuses lower ones."""

    def __init__(self, path):
        self.path = path

    def change(self, token, number):
        with open(self.path, "a+") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            have_token, have = self.parse(f)
            if token <= have_token:
                return False
            check(number == have + 1, "two held it at once:", number, "after", have)
            f.truncate(0)
            f.write(f"{token} {number}")
            return True

    def read(self):
        with open(self.path, "a+") as f:
            fcntl.flock(f, fcntl.LOCK_SH)
            return self.parse(f)

    @staticmethod
    def parse(f):
        f.seek(0)
        return tuple(int(x) for x in (f.read() or "0 0").split())


def lock_process(bases, path, results, seed):
    bases, register = bases.split(","), Register(path)
    random.seed(int(seed))
    accepted = refused = 0
    for turn in range(12):
        a = ask(random.choice(bases), "POST", "locks/register", ttl="500ms", wait="30s")
        check(a.status == 200, "acquire", a)
        lease, token = a.json["lease"], a.json["token"]
        number = register.read()[1] + 1
        sleeps = turn == int(seed) % 12 and int(seed) < 3  # some sleep beyond their lease, and wake as a zombie
        time.sleep(0.9 if sleeps else random.random() * 0.02)
        if sleeps:
            until("the next holder's write", lambda: register.read()[0] > token, 60)
        if register.change(token, number):
            accepted += 1
        else:
            refused += 1
        released = ask(random.choice(bases), "DELETE", "locks/register", lease=lease)
        check(released.status == (409 if sleeps else 204), "release", sleeps, released)
    append(results, json.dumps([accepted, refused]))


def start(*arguments):
    return subprocess.Popen([sys.executable, os.path.abspath(__file__), *arguments])


def wait_for(processes, but=None):
    for p in processes:
        code = p.wait(120)
        check(p.pid == but or code == 0, "a process failed with", code)


# ---- the tests ----

def computes_once(path, bases):
    journal, results = os.path.join(path, "journal"), os.path.join(path, "results")
    processes = [start("compute", ",".join(bases), journal, results, str(i)) for i in range(PROCESSES)]

    def victim():
        return next((int(l.split()[1]) for l in lines(journal) if l.startswith("victim ")), None)

    killed = until("somebody computes the victim", victim, 60)
    time.sleep(0.3)
    os.kill(killed, signal.SIGKILL)  # one of `processes`
    check(killed in [p.pid for p in processes], "another's process")
    wait_for(processes, but=killed)
    made = [l.split()[0] for l in lines(journal)]
    counts = {key: made.count(key) for key in TAKES}
    check(counts == {key: 2 if key == "victim" else 1 for key in TAKES}, "computed", counts)
    got = [json.loads(l) for l in lines(results)]
    check(len(got) == PROCESSES - 1, len(got), "ended")
    check(all(g == got[0] for g in got), "not the same values:", got)
    check(f"by {killed} " not in got[0]["victim"], "a value of the dead:", got[0])


def locks_exclude(path, bases):
    register, results = os.path.join(path, "register"), os.path.join(path, "locked")
    processes = [start("lock", ",".join(bases), register, results, str(i)) for i in range(PROCESSES)]
    wait_for(processes)
    done = [json.loads(l) for l in lines(results)]
    accepted, refused = sum(d[0] for d in done), sum(d[1] for d in done)
    check(accepted + refused == 12 * PROCESSES, accepted, refused)
    check(refused == 3, "writes of three zombies were to be refused, not", refused)
    check(Register(register).read()[1] == accepted, "lost", accepted)


def in_background(function):
    out = []
    thread = threading.Thread(target=lambda: out.append((function(), time.monotonic())))
    thread.start()
    return thread, out


def lock_life(bases):
    first, last = bases[0], bases[-1]
    a = ask(first, "POST", "locks/a%2Fb%20%7Bc%7D", ttl="700ms")
    check(a.status == 200 and a.json["name"] == "a/b {c}" and a.json["ttl_ms"] == 700, a)
    lease = a.json["lease"]
    name = "locks/a%2Fb%20%7Bc%7D"
    for turn in range(6):
        time.sleep(0.25)
        check(ask(last, "POST", name, ttl="1s").status == 409, "held twice")
        renewed = ask(bases[turn % len(bases)], "PUT", name, lease=lease, ttl="700ms")
        check(renewed.status == 200 and renewed.json["token"] == a.json["token"], renewed)
    listed = ask(last, "GET", "locks")
    check("a/b {c}" in [l["name"] for l in listed.json["locks"]], listed)
    thread, out = in_background(lambda: ask(last, "POST", name, ttl="5s", wait="20s"))
    time.sleep(0.3)
    at = time.monotonic()
    check(ask(last, "DELETE", name, lease=lease).status == 204, "release")
    thread.join()
    granted, when = out[0]
    check(granted.status == 200 and granted.json["token"] > a.json["token"], granted)
    check(when - at < 1.0, "woken after", when - at)
    check(ask(first, "DELETE", name, lease=lease).status == 409, "released twice")
    check(ask(first, "PUT", name, lease=lease, ttl="1s").status == 409, "renewed what was released")
    check(ask(first, "DELETE", name, lease=granted.json["lease"]).status == 204, "release")
    waited = time.monotonic()
    held = ask(first, "POST", name, ttl="20s")
    busy = ask(last, "POST", name, wait="400ms")
    check(busy.status == 409 and busy.json["code"] == "BUSY", busy)
    check(0.35 < time.monotonic() - waited < 3, "waited", time.monotonic() - waited)
    check(ask(first, "DELETE", name, lease=held.json["lease"]).status == 204, "release")


def ends_with_its_connection(servers):
    """bind=connection: the client dies, and the next is granted long before the lease has run out."""
    first, last = servers[0], servers[-1]
    for path, wait in (("locks/bound?ttl=5m", "wait"), ("compute/bound?lease_ms=5m", "wait_ms")):
        c = first.connect()
        c.request("POST", f"/api/v1/{path}&bind=connection")
        r = c.getresponse()
        bound = json.loads(r.read())
        check(r.status in (200, 201), r.status, bound)
        bare = path.split("?")[0]
        check(last.ask("POST", bare).status == 409, "not held")
        thread, out = in_background(lambda: ask(last.base, "POST", f"/api/v1/{path}&{wait}=20s"))
        time.sleep(0.3)
        check(not out, "granted while the connection stands", out)
        at = time.monotonic()
        c.close()
        thread.join()
        granted, when = out[0]
        check(granted.status in (200, 201) and granted.json["lease"] != bound["lease"], granted)
        check(when - at < 2.0, "granted after", when - at)
        check(last.ask("DELETE", bare, lease=granted.json["lease"]).status == 204, "release")
        # A client that is killed.
        script = ("import http.client,sys,time; c=http.client.HTTPConnection(sys.argv[1]); "
                  "c.request('POST',sys.argv[2]); print(c.getresponse().read(),flush=True); time.sleep(60)")
        client = subprocess.Popen([sys.executable, "-c", script, first.address, f"/api/v1/{path}&bind=connection"],
                                  stdout=subprocess.PIPE)
        check(b"lease" in client.stdout.readline(), "not lent")
        check(last.ask("POST", bare).status == 409, "not held by the client")
        client.kill()
        client.wait()
        client.stdout.close()
        granted = ask(last.base, "POST", f"/api/v1/{path}&{wait}=20s")
        check(granted.status in (200, 201), granted)
        # What ended before its connection does is nobody's to end again.
        c = first.connect()
        check(last.ask("DELETE", bare, lease=granted.json["lease"]).status == 204, "release")
        c.request("POST", f"/api/v1/{path}&bind=connection")
        lease = json.loads(c.getresponse().read())["lease"]
        check(last.ask("DELETE", bare, lease=lease).status == 204, "release")
        other = last.ask("POST", path.split("?")[0])
        c.close()
        time.sleep(0.3)
        check(last.ask("POST", bare).status == 409, "another's lease ended with the connection")
        check(last.ask("DELETE", bare, lease=other.json["lease"]).status == 204, "release")


def bound_again_and_again(servers):
    """A connection that binds and releases all day keeps nothing of it; what is bound at a time has a maximum."""
    for path in ("locks/day?ttl=5m", "compute/day?lease_ms=5m"):
        bare = path.split("?")[0]
        c = servers[0].connect()
        for _ in range(1100):
            c.request("POST", f"/api/v1/{path}&bind=connection")
            r = c.getresponse()
            lease = json.loads(r.read()).get("lease")
            check(r.status in (200, 201), r.status)
            c.request("DELETE", f"/api/v1/{bare}?lease={lease}")
            r = c.getresponse()
            r.read()
            check(r.status == 204, "release", r.status)
        for i in range(1001):
            c.request("POST", f"/api/v1/{path.replace('day', f'day{i}')}&bind=connection")
            r = c.getresponse()
            body = json.loads(r.read())
            check(r.status in (200, 201) if i < 1000 else body["code"] == "FULL", i, r.status, body)
        again = servers[-1].ask("POST", bare.replace("day", "day1000"))
        check(again.status in (200, 201), "what was refused is held", again)
        check(servers[-1].ask("DELETE", bare.replace("day", "day1000"), lease=again.json["lease"]).status == 204, "release")
        c.close()


def waiters_that_leave(servers):
    """Who hangs up while it waits is not granted anything."""
    first, last = servers[0], servers[-1]
    for path, wait in (("locks/left", "wait"), ("compute/left", "wait_ms")):
        held = first.ask("POST", path)
        check(held.status in (200, 201), held)
        leaving = [s.connect() for s in servers for _ in range(3)]
        for c in leaving:
            c.request("POST", f"/api/v1/{path}?{wait}=60s")
        time.sleep(0.3)
        for c in leaving:
            c.close()
        time.sleep(0.2)
        check(first.ask("DELETE", path, lease=held.json["lease"]).status == 204, "release")
        at = time.monotonic()
        granted = ask(last.base, "POST", f"/api/v1/{path}?{wait}=10s")
        check(granted.status in (200, 201), granted)
        check(time.monotonic() - at < 3, "a waiter that had left was in the way for", time.monotonic() - at)
        check(last.ask("DELETE", path, lease=granted.json["lease"]).status == 204, "release")


def failures_and_values(servers):
    first, last = servers[0], servers[-1]
    lent = first.ask("POST", "compute/broken", lease_ms="10s")
    check(lent.status == 201 and lent.headers["Tierline-Compute"] == "GRANTED", lent)
    thread, out = in_background(lambda: last.ask("POST", "compute/broken", wait_ms="20s"))
    time.sleep(0.3)
    put = last.ask("PUT", "compute/broken", "no data for it", "text/plain", lease=lent.json["lease"], error="no_data")
    check(put.status == 204, put)
    thread.join()
    failed = out[0][0]
    check(failed.status == 424 and failed.json["code"] == "NO_DATA" and failed.json["detail"] == "no data for it", failed)
    again = first.ask("POST", "compute/broken")
    check(again.status == 424, again)
    # Any bytes; types are keys of their own.
    blob = bytes(range(256)) * 64
    for type_ in ("compute", "factor"):
        lent = first.ask("POST", "compute/blob", type=type_)
        check(lent.status == 201, lent)
        check(last.ask("PUT", "compute/blob", blob[::-1] if type_ == "factor" else blob, "application/octet-stream",
                       lease=lent.json["lease"], type=type_, ttl="1h").status == 204, "PUT")
    for type_ in ("compute", "factor"):
        got = last.ask("POST", "compute/blob", type=type_)
        check(got.status == 200 and got.body == (blob[::-1] if type_ == "factor" else blob), got)
        check(got.headers["Tierline-Compute"] in ("HIT", "WAITED"), got)
    empty = first.ask("POST", "compute/empty")
    check(first.ask("PUT", "compute/empty", b"", "application/octet-stream", lease=empty.json["lease"]).status == 204, "PUT")
    got = last.ask("POST", "compute/empty")
    check(got.status == 200 and got.body == b"", got)
    # Invalidated while it is made: not kept.
    lent = first.ask("POST", "compute/old")
    check(first.ask("POST", "cache/invalidate", by="symbol", symbol="old").status == 204, "invalidate")
    put = first.ask("PUT", "compute/old", "old", "text/plain", lease=lent.json["lease"])
    check(put.status == 409 and put.json["code"] == "CONFLICT", put)
    check(last.ask("POST", "compute/old").status == 201, "the old value is served")


def every_way(path, servers):
    bases = [s.base for s in servers]
    return [("computed once", lambda: computes_once(path, bases)), ("mutual exclusion", lambda: locks_exclude(path, bases)),
            ("the life of a lock", lambda: lock_life(bases)), ("bound to a connection", lambda: ends_with_its_connection(servers)),
            ("bound again and again", lambda: bound_again_and_again(servers)),
            ("waiters that leave", lambda: waiters_that_leave(servers)),
            ("failures and values", lambda: failures_and_values(servers))]


def main():
    failed = 0
    with folder() as path, server(path, "alone", "--store", "alone.db", "--redis", "none") as s:
        failed |= run_all(("alone: " + n, t) for n, t in every_way(path, [s]))
    with folder() as path, redis(path) as url:
        if not url:
            return failed or SKIPPED
        with server(path, "one", "--store", "team.db", "--redis", url) as one, \
                server(path, "two", "--store", "team.db", "--redis", url) as two:
            failed |= run_all(("two: " + n, t) for n, t in every_way(path, [one, two]))
    return failed


if __name__ == "__main__":
    if sys.argv[1:2] == ["compute"]:
        compute_process(*sys.argv[2:])
    elif sys.argv[1:2] == ["lock"]:
        lock_process(*sys.argv[2:])
    else:
        sys.exit(main())
