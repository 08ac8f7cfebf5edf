# SPDX-License-Identifier: Apache-2.0
"""Servers of a test's own: `tierline serve` and redis-server on free loopback ports, in a temporary folder, ended by
process id; and requests to them. Python's standard library alone."""
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

BINARY = os.environ.get("TL_TEST_BINARY", "build/test/tierline")
SKIPPED = 77  # Meson's


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what, check, seconds=15.0):
    """The first true result of check()."""
    end = time.monotonic() + seconds
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.01)


@contextlib.contextmanager
def folder():
    path = tempfile.mkdtemp(prefix="tl-serving-")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def redis(path):
    """The URL of a redis-server; None where there is no such program."""
    program = shutil.which("redis-server")
    if not program:
        print("redis-server is not installed: skipped", file=sys.stderr)
        yield None
        return
    port = free_port()
    with open(os.path.join(path, "redis.log"), "w") as log:
        process = subprocess.Popen([program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly",
                                    "no", "--dir", path], stdout=log, stderr=log)
    try:
        until("redis-server", lambda: answers(port))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as s:
            s.sendall(b"PING\r\n")
            return s.recv(16).startswith(b"+PONG")
    except OSError:
        return False


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:600]!r}"


class Server:
    """`tierline serve`; its log is kept beside the store."""

    def __init__(self, path, name, *options, env=None):
        self.log = os.path.join(path, f"{name}.log")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([BINARY, "serve", "--listen", "127.0.0.1:0", *options], cwd=path,
                                            stdout=log, stderr=log, env={**os.environ, "HOME": path, **(env or {})})
        self.address = until("the server's address", self.listening)
        self.base = f"http://{self.address}"

    def listening(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}: {open(self.log).read()}")
        found = re.search(r"listening address=([0-9.]+:[0-9]+)", open(self.log).read())
        return found and found.group(1)

    def connect(self):
        return http.client.HTTPConnection(self.address, timeout=60)

    def ask(self, method, path, body=None, content=None, headers=None, **query):
        return ask(self.base, method, path, body, content, headers, **query)

    def stop(self):
        """SIGTERM, and a clean end."""
        if self.process.poll() is not None:
            return self.process.returncode
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the server did not end within 20 s of SIGTERM")


@contextlib.contextmanager
def server(path, name, *options, env=None):
    s = Server(path, name, *options, env=env)
    try:
        yield s
    except BaseException:
        print(f"---- the end of {name}.log\n" + "".join(open(s.log).readlines()[-20:]), file=sys.stderr)
        s.process.kill()
        s.process.wait()
        raise
    code = s.stop()
    if code != 0:
        raise AssertionError(f"{name} ended with {code}:\n" + "".join(open(s.log).readlines()[-40:]))


def ask(base, method, path, body=None, content=None, headers=None, **query):
    """One request on a connection of its own."""
    url = base + urllib.parse.quote(path if path.startswith("/") else "/api/v1/" + path, safe="/%?&=(),:")
    if query:
        url += "?" + urllib.parse.urlencode(query)
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode() if isinstance(body, (dict, list)) else body
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    if data is not None:
        request.add_header("Content-Type", content or "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as r:
            return Answer(r.status, r.headers, r.read())
    except urllib.error.HTTPError as e:
        with e:
            return Answer(e.code, e.headers, e.read())


def check(condition, *what):
    """An assertion that also stands under python -O, and says what it saw."""
    if not condition:
        raise AssertionError(" ".join(str(w) for w in what))


def run_all(tests):
    """Runs (name, function) in order; exit code."""
    failed = []
    for name, test in tests:
        began = time.monotonic()
        try:
            test()
            print(f"ok    {name} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception as e:  # the next one still runs
            import traceback
            traceback.print_exc()
            print(f"FAIL  {name}: {e}", flush=True)
            failed.append(name)
    return 1 if failed else 0
