// SPDX-License-Identifier: Apache-2.0
// How much the first page is: what a browser asks for until the jobs are there, as the server sends it, packed.
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { look, worldOf } from './look.js';
import { QUIET, World } from './world.js';

const MOST = 64 * 1024;
const world = worldOf(() => World.begin({ config: QUIET }));

interface Sent { path: string; status: number; encoding: string; caching: string; bytes: number }
function fetchPacked(base: string, path: string): Promise<Sent> {
    return new Promise((done, fail) => {
        const r = request(base + path, { headers: { 'accept-encoding': 'gzip' } }, (a) => {
            let bytes = 0;
            a.on('data', (b: Buffer) => { bytes += b.length; });
            a.on('end', () => done({
                path, bytes, status: a.statusCode!, encoding: a.headers['content-encoding'] ?? '', caching: a.headers['cache-control'] ?? '',
            }));
        });
        r.on('error', fail);
        r.end();
    });
}

look('the first page is at most 64 KiB, packed', world, {}, async (p, w) => {
    await p.settled();
    const own = p.requests.filter((r) => r.method === 'GET' && !/^\/(api|readyz|ws)/.test(r.path) && !r.path.startsWith('/favicon'));
    assert.ok(own.every((r) => r.url.startsWith(w.http)), 'nothing comes from elsewhere');
    const paths = [...new Set(own.map((r) => new URL(r.url).pathname))];
    const sent = await Promise.all(paths.map((path) => fetchPacked(w.http, path)));
    const sum = sent.reduce((n, s) => n + s.bytes, 0);
    console.log(`# the first page: ${sum} bytes (${sent.map((s) => `${s.path} ${s.bytes}`).join(', ')})`);
    assert.ok(paths.includes('/') && paths.some((x) => x.endsWith('.css')) && paths.some((x) => x.endsWith('.js')));
    for (const s of sent) {
        assert.equal(s.status, 200, s.path);
        if (s.bytes > 2048) assert.equal(s.encoding, 'gzip', s.path);
        if (s.path.startsWith('/assets/')) assert.match(s.caching, /immutable/, s.path);
    }
    assert.ok(sum <= MOST, `${sum} bytes of ${MOST}`);
});
