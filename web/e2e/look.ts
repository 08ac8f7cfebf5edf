// SPDX-License-Identifier: Apache-2.0
// A test that looks at one page. It fails, too, on any complaint of the page that it did not announce.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { closeBrowser, type Sight, Watched } from './browser.js';
import { type World } from './world.js';

after(closeBrowser);

const failures = join(process.cwd(), 'build', 'failures');
/** A test with one page; a picture of it is kept where it fails. */
export function look(name: string, world: () => Promise<World>, sight: Sight, run: (p: Watched, w: World) => Promise<void>, timeout = 120000): void {
    test(name, { timeout, skip: sight.skip ?? false }, async () => {
        const w = await world(), p = await Watched.open(w, sight);
        try {
            await run(p, w);
            assert.deepEqual(p.complaints(), [], 'what the page complained of');
        } catch (e) {
            const file = join(failures, `${name.replace(/[^a-z0-9]+/gi, '-').slice(0, 60)}.png`);
            mkdirSync(failures, { recursive: true });
            await p.page.screenshot({ path: file }).then(() => console.log(`# the page as it was: ${file}`), () => {});
            console.log(`# asked for last: ${p.requests.slice(-8).map((r) => `${r.method} ${r.path} ${r.status}`).join(', ')}`);
            for (const problem of p.complaints().slice(-5)) console.log(`# ${problem}`);
            if (w.said) console.log(w.said.trim().split('\n').slice(-12).map((l) => `# ${l}`).join('\n'));
            throw e;
        } finally {
            await p.close();
        }
    });
}

/** A world that is made when the first test asks, and ended after the last. */
export function worldOf(make: () => Promise<World>): () => Promise<World> {
    let made: Promise<World> | null = null;
    after(async () => { if (made) await (await made).close(); });
    return () => made ??= make();
}
