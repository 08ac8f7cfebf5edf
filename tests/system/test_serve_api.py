#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The HTTP API as a table of requests and expected answers, against a running server without a Redis. Every route is
asked for something good and something bad (the OpenAPI document says which there are), and every JSON answer has the
form that the document promises, no more and no less."""
import contextlib
import gzip
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time

from serving import BINARY, SKIPPED, Answer, ask, check, folder, run_all, server, until

ORIGIN = "https://app.example.org"
F64 = "application/vnd.tierline.f64"


# ---- the document, and answers against it ----

class Document:
    def __init__(self, doc):
        self.doc = doc
        self.routes = {}  # (method, pattern): operation
        for pattern, item in doc["paths"].items():
            for method, operation in item.items():
                self.routes[(method.upper(), pattern)] = operation
        self.asked = {key: set() for key in self.routes}

    def find(self, method, path):
        method = "GET" if method == "HEAD" else method
        best = None
        for (m, pattern), operation in self.routes.items():
            form = re.sub(r"\{[^}]*\}", "[^/]+", pattern)
            if m == method and re.fullmatch(form, path) and (best is None or pattern.count("{") < best[1].count("{")):
                best = (m, pattern, operation)
        return best

    def resolve(self, schema):
        while "$ref" in schema:
            at = self.doc
            for part in schema["$ref"].lstrip("#/").split("/"):
                at = at[part]
            schema = at
        return schema

    def faults(self, value, schema, where="answer"):
        schema = self.resolve(schema)
        types = schema.get("type")
        names = types if isinstance(types, list) else [types] if types else []
        kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}

        def is_a(name):
            if name in ("integer", "number"):
                return isinstance(value, int if name == "integer" else (int, float)) and not isinstance(value, bool)
            return isinstance(value, kinds[name])

        if names and not any(is_a(n) for n in names):
            return [f"{where}: {value!r} is no {types}"]
        if "enum" in schema and value not in schema["enum"]:
            return [f"{where}: {value!r} is none of {schema['enum']}"]
        found = []
        if isinstance(value, dict) and "properties" in schema:
            found += [f"{where}.{k}: missing" for k in schema.get("required", []) if k not in value]
            for k, v in value.items():
                if k in schema["properties"]:
                    found += self.faults(v, schema["properties"][k], f"{where}.{k}")
                else:
                    found.append(f"{where}.{k}: not in the document")
        if isinstance(value, list) and "items" in schema:
            for i, v in enumerate(value):
                found += self.faults(v, schema["items"], f"{where}[{i}]")
        return found

    def judge(self, method, path, answer):
        """Notes the request, and checks the answer against what the route promises."""
        route = self.find(method, path)
        if not route:
            return
        self.asked[route[:2]].add(answer.status // 100)
        kind = (answer.headers.get("Content-Type") or "").split(";")[0]
        if answer.status >= 400:
            check(kind == "application/problem+json" or method == "HEAD", "no problem document:", answer)
            if answer.body:
                problem = answer.json
                faults = self.faults(problem, {"$ref": "#/components/schemas/Problem"})
                check(not faults and problem["status"] == answer.status, faults, answer)
            return
        if answer.status in (304, 101):
            return
        promised = route[2]["responses"].get(str(answer.status))
        check(promised, f"{method} {path}: {answer.status} is not in the document")
        content = promised.get("content", {})
        if not content:
            check(not answer.body, "a body that is not in the document:", answer)
            return
        check(kind in content, f"{method} {path}: {kind} is not in the document")
        if kind == "application/json" and answer.body:
            faults = self.faults(answer.json, content[kind].get("schema", {}))
            check(not faults, f"{method} {path}:", *faults)


class World:
    server = path = document = None


def req(method, path, body=None, content=None, headers=None, **query):
    full = path if path.startswith("/") else "/api/v1/" + path
    if "from_" in query:
        query["from"] = query.pop("from_")
    a = ask(World.server.base, method, full, body, content, headers, **query)
    World.document.judge(method, full.split("?")[0], a)
    return a


def good(method, path, *arguments, status=None, **options):
    a = req(method, path, *arguments, **options)
    check(a.status == status if status else a.status in (200, 201, 202, 204), f"{method} {path}:", a)
    return a


def bad(status, parameter, method, path, *arguments, says=None, **options):
    a = req(method, path, *arguments, **options)
    check(a.status == status, f"{method} {path} {options}: not {status} but", a)
    check(a.json.get("parameter") == parameter, f"{method} {path} {options}: names", a.json.get("parameter"), "not", parameter)
    check(a.json.get("detail"), "without a word", a)
    if says:
        check(says in a.json["detail"], f"{method} {path}: does not say '{says}':", a.json["detail"])
    return a


# ---- data ----

def rows(n, start=100.0):
    """(date, open, high, low, close, volume, amount) on weekdays from 2024-01-01."""
    out, close, day = [], start, 19723
    while len(out) < n:
        if (day + 3) % 7 < 5:
            close = round(close * (1 + ((len(out) * 37) % 11 - 5) / 500), 2)
            date = time.strftime("%Y-%m-%d", time.gmtime(day * 86400))
            out.append((date, round(close - 0.5, 2), round(close + 1, 2), round(close - 1, 2), close, 1000.0 + len(out),
                        round((1000 + len(out)) * close, 2)))
        day += 1
    return out


def csv_of(data, symbol=None):
    head = ("symbol," if symbol else "") + "date,open,high,low,close,volume,amount"
    return "\n".join([head] + [(f"{symbol}," if symbol else "") + ",".join(str(v) for v in r) for r in data]) + "\n"


def f64_of(times, values):
    width = len(values[0])
    head = struct.pack("<4sIQqQ", b"TLF1", width, len(times), times[0], 32 + 8 * len(times))
    return head + struct.pack(f"<{len(times)}q", *times) + b"".join(struct.pack(f"<{width}d", *r) for r in values)


def read_f64(body):
    magic, width, n, first, at = struct.unpack_from("<4sIQqQ", body)
    check(magic == b"TLF1" and at == 32 + 8 * n and len(body) == at + 8 * n * width, "not what its header says", body[:40])
    times = list(struct.unpack_from(f"<{n}q", body, 32))
    check(not n or times[0] == first, "first time")
    return times, [list(struct.unpack_from(f"<{width}d", body, at + 8 * width * i)) for i in range(n)]


def bits(values):
    return [[struct.pack("<d", float("nan") if v is None else v) for v in row] for row in values]


# ---- the tests ----

def operation():
    check(good("GET", "/livez").text == "ok\n", "livez")
    check(good("GET", "/readyz").json == {"status": "ok", "redis": "none", "store": "ok"}, "readyz")
    info = good("GET", "info").json
    check(info["pid"] == World.server.process.pid and info["store"] and not info["redis"], info)
    config = good("GET", "config").json
    names = [s.get("name") or s.get("key") for s in config["settings"]]
    check("server.listen" in names and "auth.jwt_hs256" in names, names)
    who = good("GET", "whoami").json
    check(who == {"name": "local", "scope": "admin", "expires_ms": None}, who)
    check(len(good("POST", "tickets", status=201).json["ticket"]) > 20, "ticket")
    check(good("GET", "openapi.json").json["openapi"] == "3.1.0", "openapi")


def metrics():
    for _ in range(2):
        text = good("GET", "/metrics").text
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    check(len(types) > 10, types)
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        found = re.fullmatch(r'([a-z_:][a-z0-9_:]*)(\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)*\})? (-?[0-9.e+-]+|NaN|[+-]Inf)', line)
        check(found, "no sample:", line)
        name = re.sub(r"_(bucket|sum|count)$", "", found.group(1))
        check(name in types or found.group(1) in types, "a sample without a type:", line)
        check(types.get(found.group(1)) != "counter" or found.group(1).endswith("_total"), "a counter's name:", line)
    program = shutil.which("promtool")
    if not program:
        print("promtool is not installed: /metrics was not given to it", flush=True)
        return
    r = subprocess.run([program, "check", "metrics"], input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    check(r.returncode == 0 and not r.stdout.strip(), "promtool:", r.stdout.decode())


def bars_in_three_forms():
    data = rows(120)
    counts = good("PUT", "bars/600519.SH", csv_of(data), "text/csv").json
    check(counts["rows"] == 120 and counts["appended"] == 120 and counts["errors"] == [], counts)
    whole = good("GET", "bars/600519.SH").json
    check(len(whole["ts"]) == 120 and whole["columns"] == ["open", "high", "low", "close", "volume", "amount"], whole["columns"])
    check(whole["values"] == [list(r[1:]) for r in data], "not what was put")
    flat = f64_of(whole["ts"], whole["values"])
    again = {"columns": whole["columns"], "ts": whole["ts"], "values": whole["values"]}
    for form, kind in ((csv_of(data), "text/csv; charset=utf-8"), (again, "application/json"), (flat, F64)):
        counts = good("PUT", "bars/sh600519", form, kind).json  # the same again changes nothing
        check(counts["unchanged"] == 120 and counts["appended"] + counts["changed"] + counts["inserted"] == 0, kind, counts)
        check(good("GET", "bars/600519.SH").json["version"] == whole["version"], kind, "changed the version")
    for i, (form, kind) in enumerate(((csv_of(data), "text/csv"), (again, "application/json"), (flat, F64))):
        symbol = f"00000{i + 1}.SZ"
        check(good("PUT", f"bars/{symbol}", form, kind).json["appended"] == 120, kind)
        check(good("GET", f"bars/{symbol}").json["values"] == whole["values"], kind)
    # Rows that are no good are said by line, and the others are kept.
    broken = csv_of(data[:3]) + "2024-13-45,1,2,0.5,1,1,1\n2024-02-01,x,2,0.5,1,1,1\n"
    counts = good("PUT", "bars/BRK.US", broken, "text/csv").json
    check(counts["rejected"] == 2 and counts["appended"] == 3, counts)
    check([e["line"] for e in counts["errors"]] == [5, 6] and all(e["error"] for e in counts["errors"]), counts)
    hole = {"columns": ["open", "high", "low", "close"], "ts": whole["ts"][:4],
            "values": [[1, 2, 0.5, 1], ["x", 2, 0.5, 1], [1, 2, 0.5, None], [1, 2, 0.5, 1.5]]}
    counts = good("PUT", "bars/HOLE.US", hole).json
    check(counts["appended"] == 2 and [e["line"] for e in counts["errors"]] == [3, 4], counts)
    many = csv_of(rows(30), "AAPL") + csv_of(rows(40, 50.0), "MSFT").split("\n", 1)[1]
    counts = good("POST", "bars", many, "text/csv").json
    check(counts["symbols"] == 2 and counts["appended"] == 70, counts)
    check(good("POST", "bars", many, "text/csv").json["unchanged"] == 70, "not idempotent")
    # What is refused as a whole.
    bad(415, None, "PUT", "bars/600519.SH", "x", content="application/xml", says="text/csv")
    bad(415, None, "POST", "bars", {"a": 1}, says="text/csv")
    bad(400, "freq", "PUT", "bars/600519.SH", csv_of(data), "text/csv", freq="2d", says="2d")
    bad(400, "symbol", "PUT", "bars/%20", csv_of(data), "text/csv")
    bad(400, "symbl", "PUT", "bars/X.US", csv_of(data), "text/csv", symbl="1")
    for form, says in (("{", None), ("[]", "columns"), ({"columns": ["open"], "ts": [1], "values": []}, "as many"),
                       ({"columns": ["price"], "ts": [], "values": []}, "columns[0]"),
                       ({"columns": ["open"], "ts": ["x"], "values": [[1]]}, "ts[0]"),
                       ({"columns": ["open"], "ts": [1], "values": [[1, 2]]}, "values[0]")):
        bad(400, "body", "PUT", "bars/X.US", form, "application/json", says=says)
    for form in (b"", b"TLF0" + flat[4:], flat[:-1], flat[:20], struct.pack("<4sIQqQ", b"TLF1", 6, 2**61, 0, 2**63),
                 struct.pack("<4sIQqQ", b"TLF1", 3, 0, 0, 32)):
        a = req("PUT", "bars/X.US", form, F64)
        check(400 <= a.status < 500 and a.json["parameter"] == "body", a)
    for when in (2**63 - 1, -2**63, 253402300800000, -62135596800001, 10**17):  # times that are no dates
        a = req("PUT", "bars/X.US", {"columns": hole["columns"], "ts": [when], "values": [[1, 2, 0.5, 1]]})
        check(a.status < 500, when, a)
        a = req("PUT", "bars/X.US", f64_of([when], [[1.0, 2.0, 0.5, 1.0]]), F64)
        check(a.status < 500, when, a)
    for value in (float("inf"), float("nan"), 1e308, -1.0, 5e-324):
        a = req("PUT", "bars/X.US", f64_of(whole["ts"][:1], [[value] * 4]), F64)
        check(a.status < 500, value, a)
    check(req("GET", "bars/X.US").status in (200, 404), "X.US")
    check(good("GET", "/livez").status == 200, "alive")


def bars_out():
    for query, count in (({"last": 5}, 5), ({"from_": "2024-02-01", "to": "2024-02-29"}, 21), ({"from_": "2030-01-01"}, 0)):
        check(len(good("GET", "bars/600519.SH", **query).json["ts"]) == count, query)
    weekly = good("GET", "bars/600519.SH", freq="1w").json
    check(weekly["source_freq"] == "1d" and len(weekly["ts"]) == 24, weekly["source_freq"], len(weekly["ts"]))
    check(good("GET", "bars/600519.SH", adjust="raw", provisional="false").json["adjust"] == "raw", "adjust")
    for name, value in (("last", "0"), ("last", "many"), ("from", "yesterday"), ("to", "2024-02-30"), ("freq", "7m"),
                        ("adjust", "sideways"), ("format", "xml"), ("provisional", "perhaps")):
        a = req("GET", "bars/600519.SH?" + name + "=" + value)
        check(a.status == 400 and a.json["parameter"] == name and value in a.json["detail"], name, value, a)
    bad(400, "last", "GET", "/api/v1/bars/600519.SH?last=1&last=2", says="twice")
    a = req("GET", "bars/NONE.US")
    check(a.status == 404 and a.json["code"] in ("NO_DATA", "NOT_FOUND"), a)
    a = req("GET", "bars/600519.SH", headers={"Accept": "application/xml"})
    check(a.status == 406, a)


def pages():
    whole = good("GET", "symbols").json
    names = [s["symbol"] for s in whole["symbols"]]
    check(names == sorted(names) and whole["next"] is None and "600519.SH" in names and "AAPL" in str(names), names)
    seen, after = [], None
    while True:
        page = good("GET", "symbols", limit=2, **({"after": after} if after else {})).json
        check(len(page["symbols"]) <= 2, page)
        seen += [s["symbol"] for s in page["symbols"]]
        after = page["next"]
        if after is None:
            break
    check(seen == names, seen, names)
    check([s["symbol"] for s in good("GET", "symbols", prefix="6005").json["symbols"]] == ["600519.SH"], "prefix")
    check(good("GET", "symbols", freq="1m").json["symbols"] == [], "freq")
    bad(400, "limit", "GET", "symbols", limit="0")
    bad(400, "freq", "GET", "symbols", freq="1y")


def etags():
    for path in ("indicators/600519.SH/MACD", "bars/600519.SH"):
        tags = set()
        for headers, kind in (({}, "application/json"), ({"Accept": "text/csv"}, "text/csv"), ({"Accept": F64}, F64)):
            first = good("GET", path, headers=headers, last=10)
            tag = first.headers["ETag"]
            check(tag and first.headers["Content-Type"].split(";")[0] == kind, path, first)
            tags.add(tag)
            for match in (tag, f'"x", {tag}', f"W/{tag}", "*"):
                same = req("GET", path, headers={**headers, "If-None-Match": match}, last=10)
                check(same.status == 304 and same.body == b"" and same.headers["ETag"] == tag, path, match, same)
            other = req("GET", path, headers={**headers, "If-None-Match": '"x"'}, last=10)
            check(other.status == 200 and other.body == first.body or path.startswith("ind"), path, other)
            check(good("GET", path, headers=headers, last=11).headers["ETag"] != tag, "a tag of other rows")
        check(len(tags) == 3, "one tag for several forms:", tags)
    tag = good("GET", "indicators/600519.SH/SMA(5)", last=3).headers["ETag"]
    row = ("2025-01-02", 10.0, 11.0, 9.0, 10.5, 1.0, 10.5)
    check(good("PUT", "bars/600519.SH", csv_of([row]), "text/csv").json["appended"] == 1, "append")
    new = req("GET", "indicators/600519.SH/SMA(5)", headers={"If-None-Match": tag}, last=3, max_age="0")
    check(new.status == 200 and new.headers["ETag"] != tag, "the old tag after new bars", new)


def as_the_command_says():
    for spec, query, options in (("MACD", {}, []), ("SMA(20)", {"last": 7}, ["--last", "7"]), ("KDJ", {"freq": "1w"}, ["--freq", "1w"]),
                                 ("BBANDS(20,2,2)", {"from_": "2024-03-01", "to": "2024-03-31"}, ["--from", "2024-03-01", "--to", "2024-03-31"])):
        a = good("GET", f"indicators/600519.SH/{spec}", **query).json
        r = subprocess.run([BINARY, "get", "--store", "api.db", "--redis", "none", "600519.SH", spec, "--json", *options],
                           cwd=World.path, stdout=subprocess.PIPE, check=True, env={**os.environ, "HOME": World.path})
        b = json.loads(r.stdout)
        for doc in (a, b):
            for key in ("source", "age_ms"):
                doc.pop(key)
        check(a == b, spec, "differs from the command:", str(a)[:300], str(b)[:300])


def the_same_numbers():
    """CSV, float64 and JSON have the same rows, to the bit."""
    for path in ("indicators/600519.SH/MACD", "indicators/600519.SH/BBANDS", "indicators/000001.SZ/OBV", "bars/600519.SH"):
        for query in ({}, {"last": 1}, {"from_": "2030-01-01"}):
            a = good("GET", path, **query).json
            times, values = read_f64(good("GET", path, headers={"Accept": F64}, **query).body)
            check(times == a["ts"] and bits(values) == bits(a["values"]), path, query, "float64 differs")
            check(read_f64(good("GET", path, format="f64", **query).body) == (times, values), path, "format=f64")
            table = good("GET", path, headers={"Accept": "text/csv"}, **query).text.splitlines()
            check(table[0].split(",") == ["date"] + a["columns"] and len(table) == len(times) + 1, path, table[0])
            from_csv = [[float(v) if v else None for v in line.split(",")[1:]] for line in table[1:]]
            check(bits(from_csv) == bits(a["values"]), path, query, "CSV differs")
    for name in ("600519.SH", "sh600519", "sh.600519", "600519.XSHG"):
        check(good("GET", f"indicators/{name}/sma(5)").json["spec"] == "SMA(5)", name)


def transport():
    plain = good("GET", "indicators/600519.SH/MACD")
    packed = ask(World.server.base, "GET", "indicators/600519.SH/MACD", headers={"Accept-Encoding": "gzip"})
    check(packed.headers["Content-Encoding"] == "gzip" and len(packed.body) < len(plain.body), packed.headers)
    unpacked = json.loads(gzip.decompress(packed.body))
    check(unpacked["values"] == plain.json["values"], "gzip")
    check("Accept-Encoding" in packed.headers["Vary"], packed.headers)
    refused = ask(World.server.base, "GET", "indicators/600519.SH/MACD", headers={"Accept-Encoding": "gzip;q=0"})
    check("Content-Encoding" not in refused.headers, refused.headers)
    for path in ("bars/600519.SH", "indicators/600519.SH/SMA(5)", "info", "/livez"):
        whole, head = req("GET", path), req("HEAD", path)
        check(head.status == 200 and head.body == b"", path, head)
        for field in ("Content-Type", "ETag"):
            check(head.headers.get(field) == whole.headers.get(field), path, field, head)
        check(int(head.headers["Content-Length"]) > 0, path, head)
    check(req("HEAD", "nothing").status == 404, "HEAD of nothing")
    # Several on one connection, and a body that is too large is refused unread.
    c = World.server.connect()
    for _ in range(3):
        c.request("GET", "/livez")
        check(c.getresponse().read() == b"ok\n", "keep-alive")
    c.close()
    with socket.create_connection(World.server.address.split(":")) as s:
        s.sendall(b"POST /api/v1/calculate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                  b"Content-Length: 99999999\r\n\r\n")
        check(b" 413 " in s.recv(4096), "a large body")
    for raw, status in ((b"GET /api/v1/bars/%00 HTTP/1.1\r\nHost: x\r\n\r\n", b" 400 "), (b"GET /api/v1/bars/%zz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b" 400 ")):
        with socket.create_connection(World.server.address.split(":")) as s:
            s.sendall(raw.replace(b"Host: x", b"Host: 127.0.0.1"))
            answer = s.recv(4096)
            check(status in answer, raw, answer)


def cors():
    asks = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}
    a = req("OPTIONS", "bars/600519.SH", headers=asks)
    check(a.status == 204 and a.headers["Access-Control-Allow-Origin"] == ORIGIN, a)
    check("PUT" in a.headers["Access-Control-Allow-Methods"] and a.headers["Access-Control-Allow-Headers"] == "authorization", a)
    a = req("OPTIONS", "bars/600519.SH", headers={**asks, "Origin": "https://evil.example"})
    check("Access-Control-Allow-Origin" not in a.headers, a)
    for path, status in (("info", 200), ("bars/NONE.US", 404), ("bars/600519.SH?last=x", 400), ("nothing", 404)):
        a = req("GET", path, headers={"Origin": ORIGIN})
        check(a.status == status, path, a)
        if path != "nothing" and status != 400:
            check(a.headers["Access-Control-Allow-Origin"] == ORIGIN and "Origin" in str(a.headers.get_all("Vary")), path, a)
        check("Access-Control-Allow-Origin" not in req("GET", path, headers={"Origin": "https://evil.example"}).headers, path)
    check(req("POST", "locks/cors", headers={"Origin": "https://evil.example"}).status == 403, "a page of somebody else")
    check(req("POST", "locks/cors", headers={"Origin": World.server.base}, ttl="100ms").status == 200, "its own page")
    a = req("DELETE", "info")
    check(a.status == 405 and "GET" in a.headers["Allow"], a)


def indicators():
    registry = good("GET", "indicators").json
    names = [i["name"] for i in registry["indicators"]]
    check(len(names) > 50 and {"MACD", "KDJ", "SMA"} <= set(names), names)
    bad(404, "spec", "GET", "indicators/600519.SH/NOPE", says="NOPE")
    bad(400, "spec", "GET", "indicators/600519.SH/SMA(0)")
    a = req("GET", "indicators/600519.SH/SMA(5000)")
    check(a.status == 422 and a.json["code"] == "TOO_FEW_BARS", a)
    a = req("GET", "indicators/NONE.US/SMA(5)")
    check(a.status in (404, 422), a)
    bad(400, "max_age", "GET", "indicators/600519.SH/SMA(5)", max_age="soon")
    a = good("POST", "calculate", {"symbol": "600519.SH", "specs": ["SMA(5)", "RSI", "SMA(5000)"], "last": 2}).json
    check([r["status"] for r in a["results"]] == ["OK", "OK", "TOO_FEW_BARS"] and a["failed"] == 1, a)
    check(a["results"][0]["values"] == good("GET", "indicators/600519.SH/SMA(5)", last=2).json["values"], a)
    batch = {"specs": ["SMA(5)"], "items": [{"symbol": "600519.SH"}, {"symbol": "AAPL", "specs": ["RSI", "NOPE"]}, {"symbol": "NONE.US"}, {"symbol": ""}, {}, {"symbol": "MSFT", "freq": "9d"}], "last": 1}
    a = good("POST", "calculate/batch", batch).json
    by = {}
    for r in a["results"]:
        by.setdefault(r["symbol"], []).append(r["status"])
    check(by["600519.SH"] == ["OK"] and a["failed"] == len(a["results"]) - sum(s == "OK" for v in by.values() for s in v), a)
    check(len(a["results"]) >= 6, a)
    for body, status in (("{", 400), ([], 400), ({}, 400), ({"symbol": "600519.SH"}, 400), ({"symbol": 5, "specs": ["SMA"]}, 400),
                         ({"symbol": "600519.SH", "specs": ["SMA"], "freq": "x"}, 400), ({"symbol": "600519.SH", "specs": []}, 400)):
        a = req("POST", "calculate", body)
        check(400 <= a.status < 500 and a.json["parameter"] == "body", body, a)
    for body in ("x", {"items": []}, {"items": {}}, {"items": [{}] * 100000}, {"items": [{}], "last": -1}, {"items": [{}], "last": 10**12}):
        a = req("POST", "calculate/batch", body)
        check(400 <= a.status < 500, str(body)[:80], a)


def cache():
    for path in ("cache/fund_flow/600519.SH", "cache/minute_kline/600519.SH/1m", "cache/note/-"):
        check(req("GET", path).status == 404, path)
        good("PUT", path, '{"a": 1}', "application/json", status=204, ttl="5m/1d/30d", wait="store")
        a = good("GET", path, max_age="1h")
        check(a.json == {"a": 1} and a.headers["Content-Type"] == "application/json" and a.headers["Tierline-Freshness"] == "fresh", a)
        blob = bytes(range(256))
        good("PUT", path, blob, "application/octet-stream", status=204)
        a = good("GET", path)
        check(a.body == blob and a.headers["Content-Type"] == "application/octet-stream", a)
        good("DELETE", path, status=204)
        check(req("GET", path).status == 404, "deleted", path)
        good("DELETE", path, status=204)
        bad(400, "ttl", "PUT", path, "x", "text/plain", ttl="soon")
        bad(400, "wait", "PUT", path, "x", "text/plain", wait="for godot")
        bad(400, "max_age", "GET", path, max_age="old")
        bad(400, "x", "DELETE", path, x="1")
    items = [{"type": "t", "symbol": f"S{i}", "value": {"n": i}} for i in range(3)]
    a = good("POST", "cache/put", {"items": items}).json
    check([i["status"] for i in a["items"]] == ["OK"] * 3 and a["failed"] == 0, a)
    a = good("POST", "cache/get", {"items": [{"type": "t", "symbol": "S1"}, {"type": "t", "symbol": "none"}, {"type": "t", "symbol": "S2", "timeframe": None}]}).json
    check([i["status"] for i in a["items"]] == ["OK", "NOT_FOUND", "OK"] and json.loads(a["items"][0]["value"]) == {"n": 1}, a)
    good("POST", "cache/put", {"items": [{"type": "t", "symbol": "S9", "value": 1}, {"type": "t", "symbol": "S8", "value": 1, "ttl": "1h"}]}, ttl="20ms/20ms/20ms")
    until("the ttl's end", lambda: req("GET", "cache/t/S9").status == 404 or req("GET", "cache/t/S9").headers["Tierline-Freshness"] != "fresh", 3)
    check(good("GET", "cache/t/S8").headers["Tierline-Freshness"] == "fresh", "an item's own ttl")
    for by, query in (("key", {"type": "t", "symbol": "S0"}), ("symbol", {"symbol": "S1"}), ("group", {"type": "t", "symbol": "S2"}), ("type", {"type": "t"}), ("all", {})):
        good("POST", "cache/put", {"items": items})
        good("POST", "cache/invalidate", status=204, by=by, **query)
        a = good("POST", "cache/get", {"items": [{"type": "t", "symbol": f"S{i}"} for i in range(3)]}).json
        gone = [i for i, item in enumerate(a["items"]) if item["status"] == "NOT_FOUND"]
        check(gone == {"key": [0], "symbol": [1], "group": [2], "type": [0, 1, 2], "all": [0, 1, 2]}[by], by, a)
    bad(400, "by", "POST", "cache/invalidate", says="needed")
    bad(400, "by", "POST", "cache/invalidate", by="luck")
    bad(400, "symbol", "POST", "cache/invalidate", by="symbol")
    bad(400, "type", "POST", "cache/invalidate", by="type")
    for path in ("cache/get", "cache/put"):
        for body in ("{", {}, {"items": []}, {"items": [{}]}, {"items": [{"type": 5}]}, {"items": [{"type": "x" * 100}]}):
            a = req("POST", path, body)
            check(400 <= a.status < 500 and a.json["parameter"] == "body", path, body, a)
    check(len(good("GET", "cache/stats").json["processes"]) == 1, "stats")
    check("keys" in good("GET", "cache/top", limit=5).json, "top")
    bad(400, "limit", "GET", "cache/top", limit="1000")


def jobs():
    good("PUT", "bars/FEW.US", csv_of(rows(4)), "text/csv")
    a = good("POST", "jobs", {"name": "mine", "symbols": ["600519.SH", "FEW.US"], "specs": ["SMA(10)", "RSI(3)"], "recompute": True}, status=202).json
    check(a["topic"] == f"task/{a['id']}", a)
    job = until("the job's end", lambda: (lambda j: j.get("progress", {}).get("state") in ("completed", "failed") and j)(req("GET", f"jobs/{a['id']}").json))
    check(job["progress"]["total"] == 2 and job["progress"]["done"] == 2 and job["progress"]["failed"] >= 1, job)
    errors = good("GET", f"jobs/{a['id']}/errors").json
    check(errors["total"] >= 1 and errors["errors"][0]["symbol"] == "FEW.US" and errors["errors"][0]["status"] == "TOO_FEW_BARS", errors)
    page = good("GET", f"jobs/{a['id']}/errors", from_=errors["total"], limit=5).json
    check(page["errors"] == [] and page["from"] == errors["total"], page)
    good("PUT", "bars/FEW.US", csv_of(rows(40)), "text/csv")
    b = good("POST", f"jobs/{a['id']}/retry", status=202).json
    check(b["id"] != a["id"], b)
    again = until("the retry's end", lambda: (lambda j: j.get("progress", {}).get("state") in ("completed", "failed") and j)(req("GET", f"jobs/{b['id']}").json))
    check(again["progress"]["state"] == "completed" and again["progress"]["total"] == 1 and again["progress"]["failed"] == 0, again)
    listed = [j["id"] for j in good("GET", "jobs", limit=10).json["jobs"]]
    check(a["id"] in listed and b["id"] in listed and listed.index(b["id"]) < listed.index(a["id"]), listed)
    check(b["id"] in [j["id"] for j in good("GET", "jobs", state="completed").json["jobs"]], "by state")
    check(good("GET", "jobs", state="queued").json["jobs"] == [], "queued")
    c = good("POST", "jobs", {"specs": ["SMA(10)"]}, status=202).json
    a = req("POST", f"jobs/{c['id']}/cancel")
    check(a.status == 204 or a.status == 409, a)
    a = req("POST", f"jobs/{b['id']}/cancel")  # over
    check(a.status in (204, 409), a)
    for verb, path in (("GET", "jobs/none"), ("GET", "jobs/none/errors"), ("POST", "jobs/none/cancel"), ("POST", "jobs/none/retry")):
        bad(404, "id", verb, path)
    for body in ("{", [], {"specs": ["NOPE"]}, {"specs": 5}, {"colour": "red"}, {"freq": "9d", "specs": ["SMA"]}, {"date": "soon", "specs": ["SMA"]}, {"set": "no such set"}):
        a = req("POST", "jobs", body)
        check(400 <= a.status < 500 and a.json.get("parameter") == "body", body, a)
    bad(400, "state", "GET", "jobs", state="odd")
    bad(400, "limit", "GET", "jobs", limit="0")
    check([s["name"] for s in good("GET", "schedules").json["schedules"]] == ["nightly"], "schedules")


def tasks():
    a = good("POST", "tasks/mine-1/events", [{"type": "task.started.v1", "data": {"total": 3}}, {"type": "task.item.completed.v1", "data": {"item": "A"}}], name="factors").json
    check(a["term"] and a["position"] and a["cancel"] is False, a)
    good("POST", "tasks/mine-1/events", {"type": "task.progress.v1", "data": {"done": 1, "total": 3}}, term=a["term"])
    b = good("POST", "tasks/mine-1/events", {"type": "task.completed.v1", "data": {"done": 3}}, term=a["term"]).json
    events = good("GET", "tasks/mine-1/events").json
    types = [e["type"] for e in events["events"]]
    check(events["complete"] and types[0] == "task.started.v1" and types[-1] == "task.completed.v1", types)
    later = good("GET", "tasks/mine-1/events", since=a["position"], limit=10).json
    check([e["type"] for e in later["events"]][-1:] == ["task.completed.v1"] and len(later["events"]) < len(types), later)
    a = req("POST", "tasks/mine-1/events", {"type": "task.progress.v1", "data": {}}, term=b["term"])
    check(a.status == 409, "after its end", a)
    a = req("POST", "tasks/mine-2/events", {"type": "task.progress.v1", "data": {}}, term="nobody's")
    check(a.status in (400, 409) and a.json["parameter"] == "term", a)
    for body in ("{", [], 5, {"data": {}}, {"type": "task.started.v1", "data": 5}):
        a = req("POST", "tasks/mine-3/events", body if not isinstance(body, int) else "5")
        check(400 <= a.status < 500 and a.json["parameter"] == "body", body, a)
    a = good("POST", "tasks/mine-4/events", {"type": "task.started.v1", "data": {}}).json
    good("POST", "jobs/mine-4/cancel", status=204)
    b = good("POST", "tasks/mine-4/events", {"type": "task.progress.v1", "data": {}}, term=a["term"]).json
    check(b["cancel"] is True, "not told of the cancellation", b)
    bad(400, "since", "GET", "tasks/mine-1/events", since="yesterday")
    bad(400, "limit", "GET", "tasks/mine-1/events", limit="-1")


def once():
    a = good("POST", "compute/f1", status=201, lease_ms="10s", type="factor").json
    check(a["verdict"] == "GRANTED" and a["lease_ms"] == 10000 and a["token"] == 0 and a["taken_over"] is False, a)
    bad(409, None, "POST", "compute/f1", type="factor", says="another is making it")
    good("POST", "compute/f1/renew", status=204, lease=a["lease"], type="factor", lease_ms="20s")
    good("PUT", "compute/f1", "1.5", "text/plain", status=204, lease=a["lease"], type="factor", ttl="1h")
    hit = good("POST", "compute/f1", type="factor")
    check(hit.status == 200 and hit.text == "1.5" and hit.headers["Tierline-Compute"] == "HIT", hit)
    bad(409, "lease", "PUT", "compute/f1", "2", "text/plain", lease=a["lease"], type="factor")
    bad(409, "lease", "POST", "compute/f1/renew", lease=a["lease"], type="factor")
    bad(409, "lease", "DELETE", "compute/f1", lease=a["lease"], type="factor")
    b = good("POST", "compute/f2", status=201).json
    good("DELETE", "compute/f2", status=204, lease=b["lease"])
    b = good("POST", "compute/f2", status=201).json
    for verb, path in (("PUT", "compute/f2"), ("DELETE", "compute/f2"), ("POST", "compute/f2/renew")):
        body = ("x", "text/plain") if verb == "PUT" else ()
        bad(400, "lease", verb, path, *body, says="needed")
        bad(400, "lease", verb, path, *body, lease="mine", says="no lease of ours")
    bad(400, "ttl", "PUT", "compute/f2", "x", "text/plain", lease=b["lease"], ttl="long")
    bad(400, "error", "PUT", "compute/f2", "x", "text/plain", lease=b["lease"], error="boredom")
    for name, value in (("lease_ms", "1ms"), ("lease_ms", "11m"), ("wait_ms", "-1"), ("bind", "me"), ("max_age", "x"), ("leese_ms", "1s")):
        bad(400, name, "POST", "compute/f2", **{name: value})
    bad(400, "key", "POST", "compute/" + "k" * 65, says="64")
    bad(400, "key", "PUT", "compute/" + "k" * 65, "x", "text/plain", lease=b["lease"], says="64")
    bad(400, "type", "POST", "compute/f2", type="t" * 65, says="64")
    a = good("POST", "locks/nightly", ttl="30s").json
    check(a["name"] == "nightly" and a["ttl_ms"] == 30000, a)
    bad(409, None, "POST", "locks/nightly")
    check([(l["name"], l["token"]) for l in good("GET", "locks").json["locks"] if l["name"] == "nightly"] == [("nightly", a["token"])], "listed")
    check(good("PUT", "locks/nightly", lease=a["lease"], ttl="1m").json["ttl_ms"] == 60000, "renewed")
    bad(400, "lease", "PUT", "locks/nightly", says="needed")
    bad(400, "lease", "DELETE", "locks/nightly", lease="x")
    bad(409, "lease", "DELETE", "locks/nightly", lease="local:5")
    good("DELETE", "locks/nightly", status=204, lease=a["lease"])
    bad(400, "ttl", "POST", "locks/nightly", ttl="1ms")
    bad(400, "wait", "POST", "locks/nightly", wait="1d")
    bad(400, "name", "POST", "locks/" + "n" * 201, says="200")


def streams():
    host, port = World.server.address.split(":")
    with socket.create_connection((host, port)) as s:
        s.sendall(b"GET /events?topic=tasks HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        head = s.recv(4096)
        check(b" 200 " in head and b"text/event-stream" in head, head)
        World.document.asked[("GET", "/events")].add(2)
    with socket.create_connection((host, port)) as s:
        s.sendall(b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                  b"Sec-WebSocket-Protocol: tierline.v1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        head = s.recv(4096)
        check(b" 101 " in head and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head, head)
        World.document.asked[("GET", "/ws")].add(2)
    check(400 <= req("GET", "/ws").status < 500, "no WebSocket")
    bad(400, "topic", "GET", "/events", says="needed")
    a = req("GET", "/events", topic="no such topic")
    check(400 <= a.status < 500, a)


def scopes():
    """With tokens: who may what."""
    def token(scope):
        r = subprocess.run([BINARY, "token", "create", scope, "--scope", scope], cwd=World.path, stdout=subprocess.PIPE,
                           check=True, env={**os.environ, "HOME": World.path, "TIERLINE_AUTH_TOKENS": "closed.tokens"})
        return {"Authorization": "Bearer " + r.stdout.decode().split()[0]}

    tokens = {scope: token(scope) for scope in ("read", "write", "admin")}
    with server(World.path, "closed", "--store", "closed.db", "--redis", "none",
                env={"TIERLINE_AUTH_TOKENS": os.path.join(World.path, "closed.tokens"), "TIERLINE_AUTH_ANONYMOUS": "none"}) as s:
        for (method, pattern), operation in World.document.routes.items():
            path = re.sub(r"\{[^}]*\}", "x", pattern)
            a = s.ask(method, path)
            if not operation["security"]:
                check(a.status != 401, method, path, a)
                continue
            check(a.status == 401 and a.headers["WWW-Authenticate"].startswith("Bearer"), method, path, a)
            a = s.ask(method, path, headers={"Authorization": "Bearer tl_" + "x" * 43})
            check(a.status == 401 and "invalid_token" in a.headers["WWW-Authenticate"], method, path, a)
        for method, path, least in (("GET", "info", 0), ("GET", "whoami", 0), ("POST", "locks/x", 1), ("PUT", "bars/X.US", 1),
                                    ("POST", "compute/x", 1), ("POST", "jobs", 1), ("GET", "config", 2)):
            for level, scope in enumerate(("read", "write", "admin")):
                a = s.ask(method, path, headers=tokens[scope])
                check((a.status == 403) == (level < least), method, path, scope, a)


def streams_end_with_the_right_to_them():
    """What was opened by nobody in particular ends when tokens come to be; what a token opened, when it is revoked."""
    with folder() as path, server(path, "watched", "--store", "watched.db", "--redis", "none") as s:
        def token(*words):
            r = subprocess.run([BINARY, "token", *words], cwd=path, stdout=subprocess.PIPE, check=True, env={**os.environ, "HOME": path})
            return r.stdout.decode().split()

        def stream(*fields):
            host, port = s.address.split(":")
            c = socket.create_connection((host, port), 10)
            c.sendall("\r\n".join(["GET /events?topic=tasks HTTP/1.1", "Host: 127.0.0.1", *fields, "", ""]).encode())
            check(b" 200 " in c.recv(4096), "a stream")
            return c

        def ends(c):  # TimeoutError: it does not
            got = b""
            with c:
                while not got.endswith(b"\r\n0\r\n\r\n"):
                    more = c.recv(4096)
                    check(more, "closed, rather than ended:", got)
                    got += more

        anybody = stream()
        first = token("create", "first", "--scope", "read")[0]
        ends(anybody)
        check(s.ask("GET", "symbols").status == 401, "a token is needed")
        token("create", "second", "--scope", "read")
        holder = stream("Authorization: Bearer " + first)
        token("revoke", "first")
        ends(holder)
        check(s.ask("GET", "symbols", headers={"Authorization": "Bearer " + first}).status == 401, "it is revoked")


def every_route():
    """Something that is no parameter is refused everywhere; and nothing was left out above."""
    for method, pattern in World.document.routes:
        path = re.sub(r"\{[^}]*\}", "x", pattern)
        a = req(method, path, nope="1", **({"body": "{}", "content": "text/csv" if "bars" in path else "application/json"} if method in ("PUT", "POST") else {}))
        check(a.status == 400 and a.json["parameter"] == "nope" and "nope" in a.json["detail"], method, pattern, a)
    for key, asked in World.document.asked.items():
        check(2 in asked, *key, "was never asked for something good")
        check(4 in asked, *key, "was never asked for something bad")
    a = req("GET", "/api/v1/nothing")
    check(a.status == 404 and "openapi" in a.json["detail"], a)


def main():
    with folder() as path:
        env = {"TIERLINE_SERVER_CORS": ORIGIN, "TIERLINE_SCHEDULES_NIGHTLY": "30 15 * * 1-5 Asia/Shanghai"}
        with server(path, "api", "--store", "api.db", "--redis", "none", env=env) as s:
            World.server, World.path = s, path
            World.document = Document(ask(s.base, "GET", "openapi.json").json)
            tests = [operation, bars_in_three_forms, bars_out, pages, etags, as_the_command_says, the_same_numbers, transport,
                     cors, indicators, cache, jobs, tasks, once, streams, metrics, scopes,
                     streams_end_with_the_right_to_them, every_route]
            return run_all((t.__name__.replace("_", " "), t) for t in tests)


if __name__ == "__main__":
    sys.exit(main())
