// SPDX-License-Identifier: Apache-2.0
// The dashboard as its users have it: the binary that serves it, Redis, further servers, and a Chromium. Exit code 77,
// with a line: something is missing. One process, one test after the other: node build/e2e/run.js [FILE...].
import { binary } from '../test/real.js';
import { hasBrowser } from './browser.js';
import { World } from './world.js';

const ALL = ['size', 'jobs', 'lost', 'chart', 'tiers', 'tokens', 'sight', 'load'];

async function missing(): Promise<string | null> {
    if (!binary) return 'TL_TEST_BINARY is not set';
    if (!hasBrowser()) return 'chromium is not installed';
    const w = await World.begin({});
    try {
        return (await w.hasDashboard()) ? null : 'the server was built without the dashboard';
    } finally { await w.close(); }
}

const why = await missing();
if (why) {
    console.log(`${why}: nothing is tested`);
    process.exit(77);
}
const asked = process.argv.slice(2);
for (const name of asked.length ? asked : ALL) await import(`./${name}.js`);
