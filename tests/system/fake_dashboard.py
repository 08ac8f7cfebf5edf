#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""fake_dashboard.py BUILD-DASHBOARD OUT.c: a table of files that are known, made without npm. Between them they have what a C
literal could get wrong, and what is worth packing and what is not."""
import hashlib
import pathlib
import subprocess
import sys
import tempfile

FILES = {
    "index.html": b'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Tierline</title>\n'
                  b'<link rel="icon" href="/favicon.svg">\n<link rel="stylesheet" href="/assets/index-5e6f7a8b.css">\n'
                  b'<script type="module" crossorigin src="/assets/index-1a2b3c4d.js"></script>\n<div id="app"></div>\n</html>\n',
    "favicon.svg": b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>\n',
    "NOTICE.txt": b"Vue 3 (MIT)\n" * 200,
    "assets/index-1a2b3c4d.js": "??/ ??= \"quoted\" \\ \\n \\0 \x00123 \x7f8 \t 0x1f\r\n'一二三' 😀 /* not */ // the end %s %%\n".encode() * 300,
    "assets/index-5e6f7a8b.css": b"a { color: #123 }\n" * 40,  # less than 1 KiB
    "assets/bytes-00000000.png": bytes(range(256)) * 16,
    "assets/noise-00000000.woff2": b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(200)),  # gzip does not pay
    "assets/empty-00000000.css": b"",
    "assets/a name with blanks.txt": b"x",
}


def main():
    with tempfile.TemporaryDirectory() as folder:
        for name, data in FILES.items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        return subprocess.run([*sys.argv[1:-1], "--dist", folder, sys.argv[-1]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
