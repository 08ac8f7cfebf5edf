#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/build-dashboard on small folders of a test's own, without a network: what becomes the table, when npm is run, and
what happens where there is no npm."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from fake_dashboard import FILES
from serving import check, run_all

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOOL = ROOT / "tools/build-dashboard"
BUILD = """import fs from 'node:fs';
fs.appendFileSync(process.env.TL_TEST_RAN, 'x');
if (fs.existsSync('src/broken')) { console.error('src/broken: no such word'); process.exit(1); }
fs.mkdirSync('dist/assets', { recursive: true });
fs.copyFileSync('src/index.html', 'dist/index.html');
fs.writeFileSync('dist/assets/app-12345678.js', 'let one = 1;\\n'.repeat(200));
"""


class Web:
    """A folder like web/, and where it is built."""

    def __init__(self, path):
        self.path, self.web, self.work = path, path / "web", path / "work"
        self.out, self.depfile, self.ran = path / "out.c", path / "out.d", path / "ran"
        self.env = {**os.environ, "HOME": str(path), "TL_TEST_RAN": str(self.ran), "npm_config_cache": str(path / "npm")}
        (self.web / "src").mkdir(parents=True)
        (self.web / "src/index.html").write_text("<!doctype html>")
        (self.web / "build.mjs").write_text(BUILD)
        for name in ("node_modules", "dist", "build"):  # no sources
            (self.web / name).mkdir()
            (self.web / name / "old").write_text("x")
        self.package()

    def package(self, scripts=None, **more):
        package = {"name": "fake", "version": "1.0.0", "private": True, "engines": {"node": ">=18"}, **more}
        lock = {**package, "lockfileVersion": 3, "packages": {"": package}}
        scripts = {"build:dashboard": "node build.mjs"} if scripts is None else scripts
        (self.web / "package.json").write_text(json.dumps({**package, "scripts": scripts}))
        (self.web / "package-lock.json").write_text(json.dumps(lock))

    def run(self, *options, **env):
        return subprocess.run([sys.executable, TOOL, self.web, self.work, "out.c", "out.d", *options], cwd=self.path,
                              env={**self.env, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)

    def runs(self):
        """How often the script has run."""
        return len(self.ran.read_text()) if self.ran.exists() else 0

    def table(self):
        return self.out.read_text()

    def without(self, done, says):
        check(done.returncode == 0 and says in done.stderr and done.stderr.count("\n") == 1, done)
        check("built without the dashboard" in done.stderr, done)
        check("dashboard_n_files = 0;" in self.table(), self.table())
        missing = [n for n in self.depfile.read_text().replace("\\\n", " ").split()[1:] if not pathlib.Path(self.path, n).exists()]
        check(missing, "ninja would not try again:", self.depfile.read_text())


@contextlib.contextmanager
def web():
    with tempfile.TemporaryDirectory(prefix="tl-dashboard-") as path:
        yield Web(pathlib.Path(path))


def programs(path, **scripts):
    """A PATH of these alone."""
    folder = path / "bin"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, text in scripts.items():
        (folder / name).write_text("#!/bin/sh\n" + text + "\n")
        (folder / name).chmod(0o755)
    return str(folder)


# ---- without npm ----

def no_npm():
    with web() as w:
        w.package(engines={})
        for what, scripts in (("node is not installed", {}), ("npm is not installed", {"node": "echo v20.0.0"}),
                              ("node is v18.19.1, older than 18.20", {"node": "echo v18.19.1", "npm": "exit 1"})):
            where = programs(w.path, **scripts)
            w.without(w.run(PATH=where), what)
            done = w.run("--required", PATH=where)
            check(done.returncode == 1 and what in done.stderr, done)
        w.package(engines={"node": ">=20.5"})
        w.without(w.run(PATH=programs(w.path, node="echo v20.4.9", npm="exit 1")), "older than 20.5")


def no_script():
    with web() as w:
        w.package(scripts={"build": "true"})
        w.without(w.run(), "no script build:dashboard")
        check(w.run("--required").returncode == 1, "required")


def compilers():
    """The table compiles without a warning, with the compilers that are there."""
    with web() as w:
        for name, data in FILES.items():
            path = w.path / "dist" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        subprocess.run([sys.executable, TOOL, "--dist", w.path / "dist", w.out], check=True)
        text = w.out.read_bytes()
        check(text.isascii() and max(len(line) for line in text.splitlines()) < 500, "long lines, or not ASCII")
        subprocess.run([sys.executable, TOOL, "--dist", w.path / "dist", w.out], check=True)
        check(w.out.read_bytes() == text, "not the same again")
        flags = "-std=gnu17 -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-qual -Wwrite-strings -Wundef -Werror"
        for cc in ("gcc", "clang"):
            if not shutil.which(cc):
                print(f"{cc} is not installed: not tried", flush=True)
                continue
            done = subprocess.run([cc, *flags.split(), f"-I{ROOT}/src", f"-I{ROOT}/include", "-fsyntax-only", w.out],
                                  stderr=subprocess.PIPE, text=True, check=False)
            check(done.returncode == 0 and not done.stderr, cc, done.stderr)
        (w.path / "dist/assets/what.xyz").write_text("x")
        done = subprocess.run([sys.executable, TOOL, "--dist", w.path / "dist", w.out], stderr=subprocess.PIPE, text=True, check=False)
        check(done.returncode == 1 and "what.xyz" in done.stderr, done)
        shutil.rmtree(w.path / "dist/assets")
        (w.path / "dist/index.html").unlink()
        done = subprocess.run([sys.executable, TOOL, "--dist", w.path / "dist", w.out], stderr=subprocess.PIPE, text=True, check=False)
        check(done.returncode == 1 and "index.html" in done.stderr, done)


# ---- with npm ----

def built():
    with web() as w:
        w.without(w.run(PATH=programs(w.path)), "not installed")
        done = w.run()  # npm has come
        check(done.returncode == 0 and not done.stderr, done)
        check("dashboard_n_files = 2;" in w.table() and '"/assets/app-12345678.js"' in w.table(), w.table())
        names = w.depfile.read_text().replace("\\\n", " ").split()
        check(names[0] == "out.c:" and all(pathlib.Path(n).exists() for n in names[1:]), names)
        for name in ("package.json", "package-lock.json", "build.mjs", "src/index.html", "src"):
            check(str(w.web / name) in names, name, names)
        check(not [n for n in names if n.endswith("/old")], names)
        check(not (w.work / "build").exists() and not (w.web / "node_modules/.fetched").exists(), "not its own folder")


def built_once():
    with web() as w:
        w.run()
        before = w.out.stat().st_mtime_ns
        check(w.runs() == 1, w.runs())
        os.utime(w.web / "src/index.html")
        check(w.run().returncode == 0 and w.runs() == 1 and w.out.stat().st_mtime_ns == before, "the same sources")
        check(w.run(PATH=programs(w.path)).returncode == 0 and w.runs() == 1, "needs npm for what is built")
        check(w.out.stat().st_mtime_ns == before, "lost what was built")
        (w.web / "src/index.html").write_text("<!doctype html>changed")
        check(w.run().returncode == 0 and w.runs() == 2 and "changed" in w.table(), w.table())
        (w.web / "src/one").write_text("1")
        w.run()
        (w.web / "src/one").unlink()
        check(w.run().returncode == 0 and w.runs() == 4 and not (w.work / "src/one").exists(), "what is gone is still there")
        w.out.unlink()
        check(w.run().returncode == 0 and w.runs() == 4 and "changed" in w.table(), "the table again")
        mark = w.work / "node_modules/.fetched"
        fetched = mark.stat().st_mtime_ns
        (w.web / "src/index.html").write_text("<!doctype html>")
        w.run()
        check(mark.stat().st_mtime_ns == fetched, "fetched again though the lock is the same")
        w.package(license="MIT")
        w.run()
        check(mark.stat().st_mtime_ns != fetched and "MIT" in mark.read_text(), "not fetched for another lock")


def broken():
    with web() as w:
        (w.web / "src/broken").write_text("x")
        for options in ((), ("--required",), ()):  # and again
            done = w.run(*options)
            check(done.returncode == 1 and "no such word" in done.stderr and not w.out.exists(), done)
        (w.web / "src/broken").unlink()
        check(w.run().returncode == 0, "mended")
        (w.web / "package-lock.json").write_text('{"lockfileVersion": 3, "packages": {"": {"dependencies": {"left-pad": "1.3.0"}}}}')
        w.web.joinpath("package.json").write_text('{"scripts": {"build:dashboard": "true"}, "dependencies": {"left-pad": "1.2.0"}}')
        done = w.run()
        check(done.returncode == 1 and "npm ci failed" in done.stderr, "a lock of something else", done)
        w.web.joinpath("package.json").write_text("{")
        check(w.run().returncode == 1, "no JSON")


def no_network():
    with web() as w:
        nowhere = "http://127.0.0.1:9/"
        w.package(dependencies={"left-pad": "1.3.0"})
        lock = json.loads((w.web / "package-lock.json").read_text())
        lock["packages"]["node_modules/left-pad"] = {"version": "1.3.0", "resolved": nowhere + "left-pad-1.3.0.tgz"}
        (w.web / "package-lock.json").write_text(json.dumps(lock))
        env = {"npm_config_registry": nowhere, "npm_config_fetch_retry_mintimeout": "10", "npm_config_fetch_retry_maxtimeout": "20"}
        w.without(w.run(**env), "npm cannot fetch what it needs (ECONNREFUSED")
        check(w.run("--required", **env).returncode == 1 and w.runs() == 0, "required")


def main():
    tests = [no_npm, no_script, compilers]
    if shutil.which("npm") and shutil.which("node"):
        tests += [built, built_once, broken, no_network]
    else:
        print("node or npm is not installed: nothing is built", flush=True)
    return run_all((t.__name__.replace("_", " "), t) for t in tests)


if __name__ == "__main__":
    sys.exit(main())
