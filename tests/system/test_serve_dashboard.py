#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_serve_dashboard.py [fake]: what a browser gets at /. Takes a server with a dashboard and one without, as
/api/v1/info says; "fake": it has the files of fake_dashboard.py, byte for byte."""
import gzip
import os
import re
import subprocess
import sys
import urllib.parse

from fake_dashboard import FILES
from serving import BINARY, ask, check, folder, run_all, server

POLICY = ("default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
          "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; object-src 'none'")
FOR_EVER = "public, max-age=31536000, immutable"


class World:
    server = path = None
    dashboard = False
    files = []  # paths that are there besides "/"


def req(method, path, headers=None):
    return ask(World.server.base, method, path, headers=headers)


def raw(target, **headers):
    """A target that no library would send so."""
    c = World.server.connect()
    c.putrequest("GET", target, skip_host="Host" in headers)
    for name, value in headers.items():
        c.putheader(name, value)
    c.endheaders()
    a = c.getresponse()
    a.read()
    c.close()
    return a.status


def linked(page):
    return [urllib.parse.urljoin("/", link) for link in re.findall(r'(?:src|href)="([^"]+)"', page)]


# ---- any build ----

def the_page():
    a = req("GET", "/")
    check(a.status == 200 and a.headers["Content-Type"] == "text/html; charset=utf-8", a)
    check(a.headers["Content-Security-Policy"] == POLICY and a.headers["Referrer-Policy"] == "no-referrer", a)
    check(a.headers["X-Content-Type-Options"] == "nosniff" and a.headers["Cache-Control"] == "no-cache", a)
    check("<title>" in a.text and "</html>" in a.text, a)
    for headers in ({"Accept": "application/json"}, {"Accept": "text/html", "Origin": "https://evil.example"}):
        check(req("GET", "/", headers).body == a.body, headers)
    check(req("GET", "/?x=1&x=2").body == a.body, "with a query")
    head = req("HEAD", "/")
    check(head.status == 200 and not head.body, head)
    for field in ("Content-Type", "Content-Length", "Content-Security-Policy", "ETag", "Cache-Control"):
        check(head.headers[field] == a.headers[field], field, head)


def nothing_else():
    for target in ("/assets", "/assets/", "/assets/none-00000000.js", "//", "/.", "/..", "/assets/..", "/assets/../index.html",
                   "/%2e%2e/etc/passwd", "/index.htm", "/index.html/", "/INDEX.HTML", "/%2f", "/?", "/api", "/api/"):
        status = raw(target)
        check(status == 200 if target == "/?" else status == 404, target, status)
    a = req("GET", "/assets/none-00000000.js")
    check(a.status == 404 and a.json["code"] == "NOT_FOUND" and a.json["instance"] == "/assets/none-00000000.js", a)
    check("Cache-Control" not in a.headers, "a 404 that is kept:", a)
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        a = req(method, "/")
        check(a.status == 405 and a.headers["Allow"] == "GET, HEAD, OPTIONS", a)
    check(req("OPTIONS", "/").status == 204, "OPTIONS")


def not_in_the_document():
    paths = ask(World.server.base, "GET", "openapi.json").json["paths"]
    check(not [p for p in paths if not re.match(r"/(api/v1/|livez$|readyz$|metrics$|ws$|events$)", p)], list(paths))


def the_address_is_said():
    said = re.search(r"listening address=\S+ pid=\d+(.*)", open(World.server.log).read()).group(1)
    check(said == (f" dashboard={World.server.base}/" if World.dashboard else ""), said)


def who_may():
    """The files need no token and no Host of ours; the API goes on needing both."""
    tokens = os.path.join(World.path, "tokens")
    subprocess.run([BINARY, "token", "create", "x", "--scope", "read"], cwd=World.path, stdout=subprocess.PIPE, check=True,
                   env={**os.environ, "HOME": World.path, "TIERLINE_AUTH_TOKENS": tokens})
    with server(World.path, "closed", "--store", "none", "--redis", "none", env={"TIERLINE_AUTH_TOKENS": tokens}) as s:
        check(ask(s.base, "GET", "info").status == 401, "the API is open")
        for path in ["/", *World.files]:
            check(ask(s.base, "GET", path).status == 200, path, "needs a token")
    check(raw("/", Host="evil.example") == 200 and raw("/api/v1/info", Host="evil.example") == 401, "a name of somebody else's")


# ---- without a dashboard ----

def how_to_get_it():
    text = req("GET", "/").text
    check("built without the dashboard" in text and "npm" in text and "make build" in text, text)
    for link in ("/api/v1/openapi.json", "/metrics", "/readyz"):
        check(link in linked(text) and req("GET", link).status == 200, link)
    check(req("GET", "/index.html").status == 404, "a file")


# ---- with one ----

def representations():
    check(req("GET", "/index.html").body == req("GET", "/").body, "index.html is not /")
    packed = 0
    for path in ["/", *World.files]:
        plain, zipped = req("GET", path), req("GET", path, {"Accept-Encoding": "gzip"})
        check(plain.status == 200 and zipped.status == 200 and "Content-Encoding" not in plain.headers, path, plain)
        check(zipped.headers["Vary"] == plain.headers["Vary"], path, zipped)
        check(req("GET", path, {"Accept-Encoding": "br, gzip;q=0"}).body == plain.body, path)
        tags = {plain.headers["ETag"], zipped.headers["ETag"]}
        if zipped.headers["Content-Encoding"] == "gzip":
            packed += 1
            check(gzip.decompress(zipped.body) == plain.body and len(zipped.body) < len(plain.body), path)
            check(plain.headers["Vary"] == "Accept-Encoding" and len(tags) == 2, path, plain, zipped)
            check(zipped.body[4:8] == b"\0\0\0\0", path, "the time of packing is in it")
        else:
            check(zipped.body == plain.body and "Vary" not in plain.headers and len(tags) == 1, path, plain)
        for answer, accepts in ((plain, "identity"), (zipped, "gzip")):
            tag = answer.headers["ETag"]
            same = req("GET", path, {"If-None-Match": f'"x", {tag}', "Accept-Encoding": accepts})
            check(same.status == 304 and not same.body and same.headers["ETag"] == tag, path, same)
            check(same.headers["Cache-Control"] == plain.headers["Cache-Control"], path, same)
            head = req("HEAD", path, {"Accept-Encoding": accepts})
            check(head.headers["Content-Length"] == str(len(answer.body)) and not head.body, path, head)
    check(packed > 0, "nothing was packed")


def kept_for_ever():
    types = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml", "woff2": "font/woff2",
             "txt": "text/plain; charset=utf-8", "png": "image/png"}
    check(any(p.startswith("/assets/") and p.endswith(".js") for p in World.files), World.files)
    for path in World.files:
        a = req("GET", path)
        check(a.headers["Cache-Control"] == (FOR_EVER if path.startswith("/assets/") else "no-cache"), path, a)
        check(a.headers["Content-Type"] == types[path.rsplit(".", 1)[1]], path, a)
        check(a.headers["X-Content-Type-Options"] == "nosniff" and "Content-Security-Policy" not in a.headers, path, a)


def byte_for_byte():
    for name, data in FILES.items():
        a = req("GET", "/" + name)  # ask() encodes the blanks
        check(a.status == 200 and a.body == data, name, a)
    check(raw("/assets/a name with blanks.txt".replace(" ", "%20")) == 200, "encoded")


def main():
    fake = sys.argv[1:] == ["fake"]
    with folder() as path, server(path, "page", "--store", "none", "--redis", "none") as s:
        World.server, World.path = s, path
        World.dashboard = ask(s.base, "GET", "info").json["dashboard"]
        check(World.dashboard or not fake, "its dashboard is not there")
        tests = [the_page, nothing_else, not_in_the_document, the_address_is_said]
        if World.dashboard:
            World.files = [p for p in linked(req("GET", "/").text) if re.fullmatch(r"/[\w./-]+\.\w+", p)]
            if fake:
                World.files = ["/" + urllib.parse.quote(n) for n in FILES if n != "index.html"]
            tests += [representations, kept_for_ever]
        else:
            tests += [how_to_get_it]
        return run_all((t.__name__.replace("_", " "), t) for t in tests + ([byte_for_byte] if fake else []) + [who_may])


if __name__ == "__main__":
    sys.exit(main())
