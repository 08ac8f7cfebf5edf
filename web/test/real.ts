// SPDX-License-Identifier: Apache-2.0
// A real redis-server and a real `tierline serve` (TL_TEST_BINARY) in a folder of their own, on free loopback ports.
// Everything that is started here is ended here, by its process.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const binary = process.env.TL_TEST_BINARY ?? '';
export const sleep = (ms: number) => new Promise<void>((done) => { setTimeout(done, ms); });

export async function until(what: string, ms: number, holds: () => boolean): Promise<void> {
    for (const end = Date.now() + ms; !holds(); await sleep(5)) if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
}

export function freePort(): Promise<number> {
    return new Promise((done, fail) => {
        const s = createServer();
        s.on('error', fail);
        s.listen(0, '127.0.0.1', () => { const a = s.address(); s.close(() => done((a as { port: number }).port)); });
    });
}

export function answers(port: number): Promise<boolean> {
    return new Promise((done) => {
        const s = connect(port, '127.0.0.1');
        s.on('connect', () => { s.destroy(); done(true); });
        s.on('error', () => done(false));
    });
}

export const over = (p: ChildProcess) => p.exitCode !== null || p.signalCode !== null;

export class Real {
    readonly dir = mkdtempSync(join(tmpdir(), 'tl-web-'));
    readonly env: NodeJS.ProcessEnv = { ...process.env, HOME: this.dir, TIERLINE_TOKEN: undefined };
    port = 0;
    redis = 'none';
    redisPort = 0;
    redisServer: ChildProcess | null = null;
    said = '';
    server: ChildProcess | null = null;
    private all: ChildProcess[] = [];

    constructor() {
        process.once('exit', () => { for (const p of this.all) if (!over(p)) p.kill('SIGKILL'); });
    }

    get url(): string { return `ws://127.0.0.1:${this.port}/ws`; }
    get http(): string { return `http://127.0.0.1:${this.port}`; }

    start(file: string, args: string[]): ChildProcess {
        const p = spawn(file, args, { cwd: this.dir, env: this.env, stdio: ['ignore', 'pipe', 'pipe'] });
        p.stdout!.on('data', () => {});
        p.stderr!.on('data', (b) => { this.said = (this.said + b).slice(-20000); });
        p.on('error', (e) => { this.said += String(e); });
        this.all.push(p);
        return p;
    }
    /** Runs the binary to its end: what it printed. */
    run(...args: string[]): string {
        return execFileSync(binary, [...args, '--store', 's.db'], { cwd: this.dir, env: this.env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    }
    /** Empty, on the same port as before. */
    async startRedis(): Promise<void> {
        this.redisPort ||= await freePort();
        this.redis = `redis://127.0.0.1:${this.redisPort}/0`;
        const p = this.start('redis-server', ['--port', `${this.redisPort}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', this.dir]);
        this.redisServer = p;
        await this.listening('redis-server', p, this.redisPort);
    }
    /** On the same port as before. */
    async serve(config = ''): Promise<void> {
        this.port ||= await freePort();
        this.server = await this.serveAt(this.port, config);
    }
    /** One more on this store and Redis. */
    async serveAt(port: number, config = ''): Promise<ChildProcess> {
        writeFileSync(join(this.dir, `${port}.ini`), config);
        const p = this.start(binary, ['serve', '--config', `${port}.ini`, '--store', 's.db', '--redis', this.redis, '--listen', `127.0.0.1:${port}`]);
        await this.listening('tierline serve', p, port);
        return p;
    }
    private async listening(what: string, p: ChildProcess, port: number): Promise<void> {
        for (let i = 0; !(await answers(port)); i++) {
            if (i > 1000 || over(p)) throw new Error(`${what} does not answer: ${this.said}`);
            await sleep(10);
        }
    }
    async end(p: ChildProcess | null, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
        if (!p) return;
        p.kill(signal);
        await until(`the end of process ${p.pid}`, 20000, () => over(p));
    }
    async close(): Promise<void> {
        for (const p of this.all.reverse()) if (!over(p)) { p.kill('SIGCONT'); await this.end(p); }
        rmSync(this.dir, { recursive: true, force: true });
    }
}
