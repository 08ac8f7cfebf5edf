#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""clients.py BINARY: foreign clients against a real server of its own, on a free loopback port in a temporary folder:
python3-websockets over /ws, http.client over /events. Exit code 77: python3-websockets is not installed."""
import asyncio
import http.client
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

try:
    import websockets
    import websockets.exceptions
    try:
        from websockets.legacy.client import connect  # the one interface that Debian 12 to 13 and Ubuntu 24.04 share
    except ImportError:
        from websockets.client import connect
except ImportError:
    print("python3-websockets is not installed: nothing is tested")
    sys.exit(77)

SECONDS = 10
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
API = json.loads((ROOT / "docs/asyncapi.json").read_text())


def load(path):
    loader = importlib.machinery.SourceFileLoader("check_protocol", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("check_protocol", loader))
    loader.exec_module(module)
    return module


sys.dont_write_bytecode = True
protocol = load(ROOT / "tools/check-protocol")


def as_documented(document):
    """Everything that a server sends is what docs/asyncapi.json says."""
    mistakes = protocol.check_document(API, document, ["out"])
    assert not mistakes, (mistakes, document)
    return document


class Server:
    def __init__(self, binary):
        self.folder = tempfile.mkdtemp(prefix="tl-clients-")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.log = open(os.path.join(self.folder, "log"), "w+", encoding="utf-8")
        env = dict(os.environ, HOME=self.folder)
        self.process = subprocess.Popen([binary, "serve", "--store", "s.db", "--redis", "none", "--listen",
                                         f"127.0.0.1:{self.port}"], cwd=self.folder, env=env, stderr=self.log)
        end = time.monotonic() + SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.02)

    def post(self, path, document):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(document).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return json.load(answer)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Socket:
    """A connection whose messages are cut into documents."""

    def __init__(self, server, **options):
        options.setdefault("subprotocols", ["tierline.v1"])
        self.connecting = connect(f"ws://127.0.0.1:{server.port}/ws", **options)
        self.documents = []

    async def __aenter__(self):
        self.ws = await asyncio.wait_for(self.connecting.__aenter__(), SECONDS)
        return self

    async def __aexit__(self, *what):
        await self.connecting.__aexit__(*what)

    async def send(self, *documents):
        await self.ws.send("\n".join(json.dumps(d) for d in documents))

    async def take(self):
        while not self.documents:
            text = await asyncio.wait_for(self.ws.recv(), SECONDS)
            self.documents = [as_documented(json.loads(line)) for line in text.split("\n") if line]
        return self.documents.pop(0)

    async def expect(self, **members):
        document = await self.take()
        for name, value in members.items():
            assert document.get(name) == value, f"{name} is not {value!r} in {document}"
        return document

    async def closed(self):
        try:
            while True:
                await asyncio.wait_for(self.ws.recv(), SECONDS)
        except websockets.exceptions.ConnectionClosed:
            return self.ws.close_code


async def watch(server):
    async with Socket(server) as s:
        assert s.ws.subprotocol == "tierline.v1"
        assert s.ws.extensions == []
        await s.expect(op="hello", protocol="tierline.v1", name="local", scope="admin", expires_ms=None)
        await s.send({"op": "subscribe", "id": "one", "topics": ["task/watched", "tasks"]})
        await s.expect(op="subscribed", id="one", topic="task/watched")
        await s.expect(op="subscribed", id="one", topic="tasks")
        await s.expect(op="snapshot", topic="task/watched", position=None, recovered=False, data=None)
        await s.expect(op="snapshot", topic="tasks", data={"tasks": [], "more": False})
        term = server.post("/api/v1/tasks/watched/events?name=python", [
            {"type": "task.started.v1", "data": {"total": 3}}] + [
            {"type": "task.item.completed.v1", "data": {"item": f"S{i}"}} for i in range(3)])["term"]
        server.post(f"/api/v1/tasks/watched/events?term={term}", [{"type": "task.completed.v1", "data": {"done": 3}}])
        own, all_tasks = [], []
        while len(own) < 5 or len(all_tasks) < 2:
            event = await s.take()
            assert event["specversion"] == "1.0" and event["subject"] == "task/watched", event
            if event["type"] != "task.progress.v1":
                (all_tasks if event.get("via") == "tasks" else own).append(event)
        assert [e["type"] for e in all_tasks] == ["task.started.v1", "task.completed.v1"], all_tasks
        assert [e["type"] for e in own] == ["task.started.v1"] + 3 * ["task.item.completed.v1"] + ["task.completed.v1"]
        epochs = {e["sequence"].split("-")[0] for e in own}
        numbers = [int(e["sequence"].split("-")[1]) for e in own]
        assert len(epochs) == 1 and numbers == sorted(set(numbers)), own
        assert own[-1]["data"]["state"] == "completed" and own[-1]["data"]["done"] == 3, own[-1]
        await s.ws.close(1000)
        assert s.ws.close_code == 1000
    async with Socket(server) as s:  # from the middle
        await s.expect(op="hello")
        await s.send({"op": "subscribe", "topics": ["task/watched"], "since": {"task/watched": own[1]["sequence"]}})
        await s.expect(op="subscribed")
        await s.expect(op="snapshot", recovered=True, position=own[1]["sequence"], data=None)
        rest = [await s.take() for _ in own[2:]]
        assert [e["sequence"] for e in rest if e["type"] != "task.progress.v1"][:1] == [own[2]["sequence"]], rest
        await s.send({"op": "history", "id": 7, "topic": "task/watched", "limit": 2})
        page = await s.expect(op="history", id=7, topic="task/watched", complete=True, more=True)
        assert len(page["events"]) == 2 and page["position"] == page["events"][1]["sequence"], page
        await s.send({"op": "unsubscribe", "topics": ["task/watched"]}, {"op": "unsubscribe", "topics": ["task/watched"]})
        await s.expect(op="unsubscribed", topic="task/watched")
        await s.expect(op="error", code="NOT_FOUND", topic="task/watched")
    return own


BAD = [
    ("{", "PARSE"), ("[]", "PARSE"), ("1", "PARSE"), ('{"op":"ping","op":"ping"}', "PARSE"), ("{}", "INVALID"),
    ('{"op":5}', "INVALID"), ('{"op":"fly"}', "INVALID"), ('{"op":"ping","id":{}}', "INVALID"),
    ('{"op":"ping","id":1.5}', "INVALID"), ('{"op":"ping","id":"' + 65 * "x" + '"}', "INVALID"),
    ('{"op":"subscribe"}', "INVALID"), ('{"op":"subscribe","topics":[]}', "INVALID"),
    ('{"op":"subscribe","topics":"tasks"}', "INVALID"), ('{"op":"subscribe","topics":[7]}', "INVALID"),
    ('{"op":"subscribe","topics":["nothing"]}', "INVALID"), ('{"op":"subscribe","topics":["task/{a}"]}', "INVALID"),
    ('{"op":"subscribe","topics":["market/' + 300 * "x" + '"]}', "INVALID"),
    ('{"op":"subscribe","topics":["tasks"],"mode":"fast"}', "INVALID"),
    ('{"op":"subscribe","topics":["tasks"],"mode":1}', "INVALID"),
    ('{"op":"subscribe","topics":["tasks"],"max_hz":-1}', "INVALID"),
    ('{"op":"subscribe","topics":["tasks"],"max_hz":"2"}', "INVALID"),
    ('{"op":"subscribe","topics":["task/a"],"since":"yesterday"}', "INVALID"),
    ('{"op":"subscribe","topics":["task/a"],"since":{"task/a":5}}', "INVALID"),
    ('{"op":"subscribe","topics":["task/a"],"since":[]}', "INVALID"),
    ('{"op":"unsubscribe","topics":["task/never"]}', "NOT_FOUND"), ('{"op":"history"}', "INVALID"),
    ('{"op":"history","topic":"tasks"}', "INVALID"), ('{"op":"history","topic":"task/a","limit":0}', "INVALID"),
    ('{"op":"history","topic":"task/a","limit":501}', "INVALID"),
    ('{"op":"history","topic":"task/a","since":"x"}', "INVALID"), ('{"op":"cancel"}', "INVALID"),
    ('{"op":"cancel","task":"nobody"}', "NOT_FOUND"), ('{"op":"retry","task":"nobody"}', "NOT_FOUND"),
    ('{"op":"auth"}', "UNAUTHENTICATED"), ('{"op":"token","token":"tl_x"}', "UNAUTHENTICATED"),
]


async def mistakes(server):
    async with Socket(server) as s:
        await s.expect(op="hello")
        for text, code in BAD:
            await s.ws.send(text)
            document = await s.expect(op="error", code=code)
            assert document["detail"], document
        await s.ws.send("\r\n \n" + '{"op":"ping","id":1}\r\n\n{"op":"ping"}')  # blank lines do not count
        await s.expect(op="pong", id=1)
        assert "id" not in await s.expect(op="pong")
        await s.ws.send(['{"op":"pi', 'ng","id":', '"in pieces"}'])
        await s.expect(op="pong", id="in pieces")
        await s.send(*[{"op": "ping", "id": i} for i in range(101)])
        for i in range(100):
            await s.expect(op="pong", id=i)
        await s.expect(op="error", code="TOO_LARGE")
        await s.ws.send('{"op":"ping","id":2,"x":"' + "x" * 65000 + '"}')
        await s.expect(op="pong", id=2)
        for _ in range(3):
            await asyncio.wait_for(await s.ws.ping(), SECONDS)
        await s.send({"op": "subscribe", "topics": [f"task/t{i}" for i in range(200)]})
        for i in range(200):
            await s.expect(op="subscribed", topic=f"task/t{i}")
        await s.send({"op": "subscribe", "topics": ["task/one-more", "task/t5"]})
        rest = [await s.take() for _ in range(203)]
        assert [d["topic"] for d in rest if d["op"] == "error" and d["code"] == "FULL"] == ["task/one-more"]
        assert sum(d["op"] == "subscribed" and d["topic"] == "task/t5" for d in rest) == 1
        await s.send(*[{"op": "history", "id": i, "topic": "task/watched"} for i in range(8)])
        answers = [await s.take() for _ in range(8)]
        assert sum(d["op"] == "history" for d in answers) == 4, answers
        assert sum(d["op"] == "error" and d["code"] == "FULL" for d in answers) == 4, answers
    for message, code in ((b"\x00\x01", 1003), ("x" * 70000, 1009)):
        async with Socket(server) as s:
            await s.expect(op="hello")
            await s.ws.send(message)
            assert await s.closed() == code, (code, s.ws.close_code)
    for options, status in (({"subprotocols": ["chat"]}, 400), ({"origin": "https://elsewhere.example"}, 403),
                            ({"extra_headers": {"Authorization": "Bearer tl_wrong"}}, 401)):
        try:
            async with Socket(server, **options):
                raise AssertionError(f"{options} was let in")
        except websockets.exceptions.InvalidStatusCode as refused:
            assert refused.status_code == status, (options, refused.status_code)


class Stream:
    """GET /events: blocks of name, id and data."""

    def __init__(self, server, query, headers=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
        self.connection.request("GET", "/events?" + query, headers=headers or {})
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, (self.answer.status, self.answer.read())
        assert self.answer.getheader("Content-Type").startswith("text/event-stream")

    def take(self):
        block = {}
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            if not line and "data" in block:
                return block.get("event"), block.get("id"), as_documented(json.loads(block["data"]))
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                block[name] = value
            elif not line:
                block = {}

    def close(self):
        self.connection.close()


def streams(server, own):
    s = Stream(server, "topic=task/watched,tasks&since=task/watched=" + own[1]["sequence"])
    seen, ids = [], []
    while len(seen) < 3:
        name, position, document = s.take()
        if name == "snapshot":
            assert document["op"] == "snapshot" and document["recovered"] == (document["topic"] == "task/watched")
        elif name != "task.progress.v1":
            assert name == document["type"]
            seen.append(document["sequence"])
            ids.append(position)
    assert seen == [e["sequence"] for e in own[2:]], seen
    assert ids[0] == "task/watched=" + own[2]["sequence"], ids
    s.close()
    s = Stream(server, "topic=task/watched", {"Last-Event-ID": ids[0]})
    s.take()
    rest = [s.take() for _ in range(2)]
    assert [d["sequence"] for _, _, d in rest if d["type"] != "task.progress.v1"][0] == own[3]["sequence"], rest
    s.close()
    s = Stream(server, "topic=tasks,indicator/AAPL/1d/macd(12,26,9),locks&max_hz=2")
    topics = {document.get("topic", document.get("subject")) for _, _, document in (s.take() for _ in range(3))}
    assert {"tasks", "indicator/AAPL/1d/MACD(12,26,9)", "locks"} <= topics, topics
    s.close()


async def goodbye(server):
    stream = Stream(server, "topic=task/quiet")
    async with Socket(server) as s, Socket(server) as other:
        await s.expect(op="hello")
        await other.expect(op="hello")
        server.process.send_signal(signal.SIGTERM)
        for one in (s, other):
            bye = await one.expect(op="bye")
            assert bye["retry_ms"] > 0 and bye["reason"], bye
            assert await one.closed() == 1001, one.ws.close_code
    name, _, document = stream.take()
    while name == "snapshot":
        name, _, document = stream.take()
    assert name == "bye" and document["op"] == "bye" and document["retry_ms"] > 0, document
    stream.close()
    assert server.process.wait(20) == 0, server.process.returncode


def main():
    server = Server(sys.argv[1])
    try:
        own = asyncio.run(watch(server))
        asyncio.run(mistakes(server))
        streams(server, own)
        asyncio.run(goodbye(server))
        print(f"websockets {websockets.__version__}: watched, {len(BAD)} mistakes answered, streamed, said goodbye to")
    except BaseException:
        server.log.flush()
        with open(server.log.name, encoding="utf-8") as log:
            sys.stderr.write(log.read()[-4000:])
        raise
    finally:
        server.close()


if __name__ == "__main__":
    main()
