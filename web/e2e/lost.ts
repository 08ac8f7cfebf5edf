// SPDX-License-Identifier: Apache-2.0
// The server, and Redis, are taken away in the middle and come back: the page says so, comes back by itself, and ends on
// what is true.
import assert from 'node:assert/strict';
import { serious } from './axe.js';
import { LOST, type Watched } from './browser.js';
import { look, worldOf } from './look.js';
import { type Doc, eventually, ForeignTask, QUIET, symbolsOf, World } from './world.js';

const worldOfServers = () => worldOf(() => World.begin({ symbols: 100, redis: true, config: QUIET, others: [QUIET] }));
const one = worldOfServers(), two = worldOfServers(), three = worldOfServers(), four = worldOfServers();
const SYMBOLS = symbolsOf(60);

const items = (from: number, to: number): Doc[] => [
    ...SYMBOLS.slice(from, to).map((symbol) => ({ type: 'task.item.completed.v1', data: { symbol, computed: 2, from_cache: 0, waited: 0, ms: 1 } })),
    { type: 'task.progress.v1', data: { done: to, computed: 2 * to } },
];
const value = async (p: Watched, name: string): Promise<number> => Number(await p.t(name).first().getAttribute('data-value', { timeout: 2000 }));
const seen = async (p: Watched): Promise<Doc> => ({
    done: await value(p, 'job-done'), computed: await value(p, 'job-computed'), cells: await value(p, 'legend-computed'),
    state: await p.t('job-state').first().getAttribute('data-state', { timeout: 2000 }),
});
const wanted = (n: number, state = 'running'): Doc => ({ done: n, computed: 2 * n, cells: n, state });

for (const signal of ['SIGKILL', 'SIGTERM'] as const)
    look(`the server is gone (${signal}) and back: it is said, and nothing is missing in the end`, one, { complaints: LOST }, async (p, w) => {
        const task = new ForeignTask(w, `outlives-${signal}`, w.others[0]!.http);
        await task.begin(60);
        await task.say(...items(0, 20));
        await p.go(`#/jobs/${task.id}`);
        await p.shows('20 of 60', 10000, () => seen(p), wanted(20));
        await p.settled(300);
        assert.equal(await p.t('reconnecting').count(), 0);
        await w.end(w.server, signal);
        await p.seen('that the connection is lost', p.t('reconnecting'), 10000);
        assert.equal((await serious(p)).join('\n'), '');
        await task.say(...items(20, 40)); // nobody tells the page
        await p.page.waitForTimeout(1500);
        assert.equal((await seen(p)).done, 20, 'what was there stays');
        const loads = p.requests.filter((r) => r.path === '/').length;
        await w.again();
        const began = Date.now();
        await p.gone('the banner', p.t('reconnecting'), 15000);
        console.log(`# ${signal}: connected again ${Date.now() - began} ms after the server was back`);
        await p.shows('what happened meanwhile', 10000, () => seen(p), wanted(40));
        await task.say(...items(40, 60));
        await p.shows('what happens now', 10000, () => seen(p), wanted(60));
        await task.end({ done: 60, computed: 120 });
        await p.shows('the end', 10000, () => seen(p), wanted(60, 'completed'));
        assert.equal(p.requests.filter((r) => r.path === '/').length, loads, 'without a reload');
        const api = await w.get(`jobs/${task.id}`);
        assert.deepEqual([api.progress.done, api.progress.computed, api.progress.state], [60, 120, 'completed']);
    });

look('"try now" does not wait', one, { complaints: LOST }, async (p, w) => {
    await p.seen('that it is live', p.page.locator('.live.open'));
    await w.end(w.server);
    await p.seen('that the connection is lost', p.t('reconnecting'), 10000);
    await p.page.waitForTimeout(6000); // the waits have grown to seconds
    await w.again();
    if (await p.t('reconnecting').count()) await p.t('reconnecting').locator('button').click({ timeout: 1000 }).catch(() => {}); // it may just have come by itself
    await p.gone('the banner', p.t('reconnecting'), 2500);
    await p.seen('that it is live', p.page.locator('.live.open'));
});

look('the server is not there when the page is opened: it says so, and begins when asked', one, { complaints: LOST }, async (p, w) => {
    await p.settled(300);
    // The page itself is there already (a tab that was kept); its server is not.
    await p.context.route('**/api/v1/**', (route) => route.abort('connectionrefused'));
    await p.page.reload();
    await p.seen('that the server cannot be reached', p.page.locator('main [role=alert]'));
    await p.context.unroute('**/api/v1/**');
    await p.page.locator('main [role=alert] button').click();
    await p.seen('the jobs', p.t('start-form'));
    assert.ok(w.port > 0);
});

look('Redis is out: it is said, and taken back', two, {}, async (p, w) => {
    await p.settled(300);
    assert.equal(await p.t('degraded').count(), 0);
    await w.end(w.redisServer);
    await p.seen('that Redis is out', p.t('degraded'), 15000);
    assert.equal(await p.t('reconnecting').count(), 0, 'the server is there');
    assert.equal((await serious(p)).join('\n'), '');
    await w.startRedis();
    await p.gone('the banner', p.t('degraded'), 30000);
});

look('Redis is killed in the middle of a job and comes back empty', three, {}, async (p, w) => {
    const task = new ForeignTask(w, 'survivor');
    await task.begin(60);
    await task.say(...items(0, 20));
    await p.go(`#/jobs/${task.id}`);
    await p.shows('20 of 60', 10000, () => seen(p), wanted(20));
    await p.settled(300);
    await w.end(w.redisServer);
    await task.say(...items(20, 40));
    await p.shows('what happens now, all the same', 10000, () => seen(p), wanted(40));
    assert.equal(await p.t('reconnecting').count(), 0, 'the server is there');
    await w.startRedis();
    await task.say(...items(40, 60));
    await task.end({ done: 60, computed: 120 });
    await p.shows('the end', 20000, () => seen(p), wanted(60, 'completed'));
    const other = await eventually('the other server to know', 20000, async () => {
        const r = await w.ask('GET', `jobs/${task.id}`, undefined, { at: w.others[0]!.http });
        const p = r.ok ? ((await r.json()) as Doc).progress as Doc : null;
        return p?.state === 'completed' ? p : null;
    });
    assert.deepEqual([other.done, other.computed], [60, 120]);
});

look('Redis and the server, one after the other, while a calculation runs elsewhere', four, { complaints: LOST }, async (p, w) => {
    const specs = Array.from({ length: 60 }, (_, i) => `SMA(${i + 2})`);
    const other = w.others[0]!;
    await p.settled(300);
    await w.end(w.server); // so that the other one takes the job
    const { id } = await w.good('POST', 'jobs', { symbols: 'all', specs, recompute: true }, { at: other.http });
    await eventually('that it runs', 20000, async () => (await w.ask('GET', `jobs/${id}`, undefined, { at: other.http })).ok);
    await w.again();
    await p.seen('that it is live', p.page.locator('.live.open'), 15000);
    await p.go(`#/jobs/${id}`);
    await p.seen('the grid', p.t('grid'));
    await w.end(w.redisServer);
    await p.page.waitForTimeout(500);
    await w.startRedis();
    await w.end(w.server);
    await p.seen('that the connection is lost', p.t('reconnecting'), 10000);
    await w.again();
    await p.gone('the banner', p.t('reconnecting'), 15000);
    await p.shows('the end', 60000, async () => (await seen(p)).state, 'completed');
    const end = await w.ended(id as string);
    await p.shows('the numbers of the API', 10000, async () => [await value(p, 'job-done'), await value(p, 'job-computed'), await value(p, 'job-failed')], [end.done, end.computed, end.failed]);
    await p.shows('a whole grid', 10000, async () => (await value(p, 'legend-computed')) + (await value(p, 'legend-failed')), 100);
});
