// SPDX-License-Identifier: Apache-2.0
// A page that nobody looks over the shoulder of: for measuring. What browser.ts writes down of every WebSocket frame would
// cost the page more than the frame does.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { over, sleep } from '../test/real.js';
import { program } from './browser.js';
import { eventually, type World } from './world.js';

export class Bare {
    private ids = 0;
    private waiting = new Map<number, (answer: { error?: { message: string }; result?: any }) => void>();
    private constructor(readonly world: World, private readonly process: ChildProcess, private readonly dir: string, private readonly ws: WebSocket) {
        ws.on('message', (data) => {
            const d = JSON.parse(String(data));
            this.waiting.get(d.id)?.(d);
            this.waiting.delete(d.id);
        });
    }
    static async open(world: World, path: string): Promise<Bare> {
        const dir = mkdtempSync(join(tmpdir(), 'tl-bare-')), root = process.getuid?.() === 0;
        const p = spawn(program, ['--headless', ...(root ? ['--no-sandbox'] : []), '--disable-dev-shm-usage', '--remote-debugging-port=0', `--user-data-dir=${dir}`,
            '--no-first-run', '--window-size=1280,800', `${world.http}/${path}`], { stdio: ['ignore', 'ignore', 'pipe'] });
        const end = (): void => { if (!over(p)) p.kill('SIGKILL'); };
        process.once('exit', end);
        try {
            let said = '';
            p.on('error', (e) => { said += String(e); });
            p.stderr!.on('data', (b) => { said = (said + b).slice(-5000); });
            const port = await eventually('chromium to listen', 30000, () => /DevTools listening on ws:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1] ?? null).catch((e) => { throw new Error(`${e}: ${said}`); });
            const target = await eventually('a page', 20000, async () => {
                const list = await (await fetch(`http://127.0.0.1:${port}/json/list`)).json() as { type: string; webSocketDebuggerUrl: string }[];
                return list.find((x) => x.type === 'page') ?? null;
            });
            const ws = new WebSocket(target.webSocketDebuggerUrl);
            await new Promise<void>((done, fail) => { ws.on('open', done); ws.on('error', fail); });
            const page = new Bare(world, p, dir, ws);
            await eventually('the page to be live', 20000, () => page.evaluate(() => document.querySelector('.live.open') !== null, null));
            return page;
        } catch (e) {
            end();
            rmSync(dir, { recursive: true, force: true });
            throw e;
        }
    }
    /** What f returns in the page, for an argument that JSON can say. */
    evaluate<T, A>(f: (arg: A) => T, arg: A): Promise<Awaited<T>> {
        const id = ++this.ids, expression = `(${String(f)})(${JSON.stringify(arg) ?? ''})`;
        return new Promise((done, fail) => {
            const late = setTimeout(() => fail(new Error('the page did not answer within 30 s')), 30000);
            this.waiting.set(id, ({ error, result }) => {
                clearTimeout(late);
                if (error || result.exceptionDetails) fail(new Error(error?.message ?? result.exceptionDetails.exception?.description ?? 'an exception in the page'));
                else done(result.result.value);
            });
            this.ws.send(JSON.stringify({ id, method: 'Runtime.evaluate', params: { expression, awaitPromise: true, returnByValue: true } }));
        });
    }
    go(hash: string): Promise<void> { return this.evaluate((h) => { location.hash = h; }, hash); }
    /** An attribute of the first element with this data-test; null: there is none. */
    attribute(test: string, name: string): Promise<string | null> {
        return this.evaluate(([t, n]) => document.querySelector(`[data-test="${t}"]`)?.getAttribute(n!) ?? null, [test, name]);
    }
    async close(): Promise<void> {
        this.ws.close();
        this.process.kill('SIGTERM');
        await eventually('the end of chromium', 5000, () => over(this.process)).catch(() => this.process.kill('SIGKILL'));
        await sleep(200); // its helpers write until they are gone
        rmSync(this.dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    }
}
