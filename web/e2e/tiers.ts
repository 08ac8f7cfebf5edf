// SPDX-License-Identifier: Apache-2.0
// The cache's tiers, what is computed once, and everything that happens: counters that move by themselves, a key that is
// looked up and dropped, leases that come and go, events that are looked through.
import assert from 'node:assert/strict';
import { type Locator } from 'playwright-core';
import { type Watched, numberIn } from './browser.js';
import { look, worldOf } from './look.js';
import { type Doc, eventually, ForeignTask, QUIET, World } from './world.js';

const world = worldOf(() => World.begin({ symbols: 20, redis: true, config: QUIET, others: [QUIET] }));

const inTier = (p: Watched, tier: string, name: string): Locator => p.page.locator(`[data-test=tier-${tier}] [data-test=${name}]`);
/** As the server counts for itself. */
async function report(w: World): Promise<Doc> {
    const { processes } = await w.get('cache/stats') as { processes: Doc[] };
    return processes.find((x) => x.pid === w.server!.pid)!;
}

look('tiers: hits and ratios rise as they are read, without a request of the page', world, { path: '#/tiers' }, async (p, w) => {
    const other = w.others[0]!.http;
    await w.good('PUT', 'cache/fund_flow/600000.SH', '{"in":1}');
    for (let i = 0; i < 20; i++) await w.good('PUT', `cache/etf/${600000 + i}.SH?wait=redis`, '{"etf":1}', { at: other });
    for (const tier of ['memory', 'redis', 'store']) await p.shows(`${tier} is up`, 10000, () => p.t(`tier-${tier}`).getAttribute('data-state'), 'up');
    await p.settled();
    const memory = await p.number(inTier(p, 'memory', 'tier-hits')), redis = await p.number(inTier(p, 'redis', 'tier-hits'));
    const asked = await p.requestsDuring(async () => {
        for (let i = 0; i < 50; i++) await w.get('cache/fund_flow/600000.SH');
        for (let i = 0; i < 20; i++) await w.get(`cache/etf/${600000 + i}.SH`); // put by the other: Redis has them
        await p.shows('50 more', 5000, () => p.number(inTier(p, 'memory', 'tier-hits')).then((n) => n >= memory + 50), true);
        await p.shows('20 more', 5000, () => p.number(inTier(p, 'redis', 'tier-hits')).then((n) => n >= redis + 20), true);
    });
    assert.deepEqual(asked, []);
    for (const tier of ['memory', 'redis', 'store']) {
        await p.shows(`the server's own count of ${tier}`, 8000, async () => {
            const now = (await report(w))[tier] as Doc;
            return (await p.number(inTier(p, tier, 'tier-hits'))) === now.hits && (await p.number(inTier(p, tier, 'tier-misses'))) === now.misses;
        }, true);
        const now = (await report(w))[tier] as Doc, ratio = numberIn(await p.text(inTier(p, tier, 'hit-ratio')));
        if (now.hits + now.misses > 0) assert.ok(Math.abs(ratio - (100 * now.hits) / (now.hits + now.misses)) <= 0.06, `${tier}: ${ratio} %, ${now.hits} of ${now.hits + now.misses}`);
    }
    await p.seen('the key that is read most', p.t('top-key').filter({ hasText: /fund_flow/ }), 10000);
    await p.t('processes-refresh').click();
    await p.shows('both processes', 5000, () => p.t('process-row').count(), 2);
});

look('tiers: Redis goes and comes', () => broken(), { path: '#/tiers' }, async (p, w) => {
    await p.shows('that it is up', 10000, () => p.t('tier-redis').getAttribute('data-state'), 'up');
    await w.end(w.redisServer);
    await w.ask('GET', 'cache/fund_flow/600001.SH');
    await p.shows('that it is out', 15000, async () => ['down', 'breaker'].includes((await p.t('tier-redis').getAttribute('data-state')) ?? ''), true);
    assert.equal(await p.t('tier-memory').getAttribute('data-state'), 'up');
    await w.startRedis();
    await p.shows('that it is up again', 30000, () => p.t('tier-redis').getAttribute('data-state'), 'up');
});
const broken = worldOf(() => World.begin({ redis: true, config: QUIET }));

look('tiers: a key is looked up, dropped once it is confirmed, and gone', world, { path: '#/tiers', complaints: [/404 \(/] }, async (p, w) => {
    await w.good('PUT', 'cache/fund_flow/600003.SH/1d?wait=store', '{"main":42.5}');
    const find = async (type: string, symbol: string, timeframe = '') => {
        await p.t('lookup-type').fill(type);
        await p.t('lookup-symbol').fill(symbol);
        await p.t('lookup-timeframe').fill(timeframe);
        await p.t('lookup-go').click();
    };
    await p.t('lookup-kind-value').check();
    await find('fund_flow', '600003.SH', '1d');
    await p.shows('that it is there', 5000, () => p.t('lookup-status').getAttribute('data-state'), 'found');
    assert.equal(await p.t('lookup-tier').getAttribute('data-tier'), 'memory');
    assert.equal(await p.t('lookup-freshness').getAttribute('data-state'), 'fresh');
    assert.match(await p.text(p.t('lookup-content')), /"main": 42\.5/);
    await p.t('lookup-deep').check();
    await p.t('lookup-go').click();
    await p.shows('that the store has it', 5000, () => p.t('lookup-tier').getAttribute('data-tier'), 'store');
    await p.t('lookup-deep').uncheck();
    await find('fund_flow', '600004.SH', '1d');
    await p.shows('that another is not', 5000, () => p.t('lookup-status').getAttribute('data-state'), 'missing');

    await p.t('invalidate-type').fill('fund_flow');
    await p.t('invalidate-symbol').fill('600003.SH');
    await p.t('invalidate-timeframe').fill('1d');
    await p.t('invalidate').click();
    const dialog = p.page.locator('dialog[open]');
    await p.seen('the question', dialog);
    await dialog.locator('button').first().click();
    await p.gone('the question', dialog);
    assert.ok(!p.requests.some((r) => r.method === 'POST'), 'nothing is done unless it is confirmed');
    assert.ok((await w.ask('GET', 'cache/fund_flow/600003.SH/1d')).ok);
    await p.t('invalidate').click();
    await dialog.locator('button').last().click();
    await p.seen('that it is done', p.t('invalidate-done'));
    assert.equal((await w.ask('GET', 'cache/fund_flow/600003.SH/1d')).status, 404);
    assert.equal((await w.ask('GET', 'cache/fund_flow/600003.SH/1d', undefined, { at: w.others[0]!.http })).status, 404, 'everywhere');
    await find('fund_flow', '600003.SH', '1d');
    await p.shows('that it is gone', 5000, () => p.t('lookup-status').getAttribute('data-state'), 'missing');
});

look('tiers: an indicator is computed when it is looked up first, and in memory then', world, { path: '#/tiers' }, async (p, w) => {
    await p.t('lookup-kind-series').check();
    await p.t('lookup-symbol').fill('600000.SH');
    await p.t('lookup-spec').fill('SMA(17)');
    await p.t('lookup-go').click();
    await p.shows('that it was computed', 10000, () => p.t('lookup-tier').getAttribute('data-tier'), 'computed');
    const [last] = ((await w.get('indicators/600000.SH/SMA(17)?last=1')).values as number[][])[0]!;
    assert.equal(numberIn(await p.text(p.t('lookup-content').locator('tbody tr').last().locator('td').last())), Number(last!.toFixed(4)));
    await p.t('lookup-go').click();
    await p.shows('that memory has it', 10000, () => p.t('lookup-tier').getAttribute('data-tier'), 'memory');
});

look('everything is dropped by a word alone', world, { path: '#/tiers' }, async (p) => {
    await p.t('invalidate-by').selectOption('all');
    await p.t('invalidate').click();
    const go = p.page.locator('dialog[open] button').last();
    assert.ok(!(await go.isEnabled()));
    await p.t('confirm-word').fill('al');
    assert.ok(!(await go.isEnabled()));
    await p.t('confirm-word').fill('all');
    await go.click();
    await p.seen('that it is done', p.t('invalidate-done'));
    assert.deepEqual(p.requests.filter((r) => r.method === 'POST').map((r) => r.path), ['/api/v1/cache/invalidate?by=all']);
});

look('computed once: a lease comes and goes, wherever it is held, and what is computed is counted', world, { path: '#/once' }, async (p, w) => {
    const other = w.others[0]!.http, row = (name: string) => p.page.locator(`[data-test=lease-row][data-name="${name}"]`);
    await p.seen('the totals', p.t('total-computed'));
    await p.settled();
    const asked = await p.requestsDuring(async () => {
        const mine = await w.good('POST', 'locks/nightly?ttl=1m');
        const its = await w.good('POST', 'locks/elsewhere?ttl=1m', undefined, { at: other });
        await p.seen('the lease', row('nightly'), 5000);
        await p.seen('the one of the other server', row('elsewhere'), 5000);
        assert.equal(await p.text(row('nightly').locator('[data-test=lease-token]')), String(mine.token));
        const left = await p.text(row('nightly').locator('[data-test=lease-left]'));
        assert.ok(numberIn(left) > 40 && numberIn(left) <= 60, left);
        await w.good('DELETE', `locks/nightly?lease=${encodeURIComponent(mine.lease as string)}`);
        await p.gone('the lease', row('nightly'), 5000);
        await p.seen('the other one still', row('elsewhere'));
        await w.good('DELETE', `locks/elsewhere?lease=${encodeURIComponent(its.lease as string)}`, undefined, { at: other });
        await p.gone('the other one', row('elsewhere'), 5000);
        await w.good('POST', 'locks/short?ttl=4s');
        await p.seen('one that is not given back', row('short'), 5000);
        await p.gone('it, when it has run out', row('short'), 12000);

        const [computed, cached] = [await p.number(p.t('total-computed')), await p.number(p.t('total-from_cache'))];
        await Promise.all([w.http, other, w.http, other].map((at) => w.good('GET', 'indicators/600000.SH/SMA(23)', undefined, { at })));
        for (let i = 0; i < 30; i++) await w.get(`indicators/600000.SH/SMA(${30 + i})`);
        await p.shows('what was computed', 8000, () => p.number(p.t('total-computed')).then((n) => n >= computed + 30 && n <= computed + 31), true);
        assert.ok(cached >= 0);
        assert.equal(await p.number(p.t('total-duplicated')), 0);
        const lent = await p.number(p.t('total-lent')), grant = await w.good('POST', 'compute/factor:600519?lease_ms=1m');
        await p.seen('whose it is', p.t('lease-row').filter({ hasText: 'factor:600519' }), 5000);
        await w.good('PUT', `compute/factor:600519?lease=${encodeURIComponent(grant.lease as string)}`, 'x', { type: 'application/octet-stream' });
        await p.shows('one that a program outside made', 5000, () => p.number(p.t('total-lent')), lent + 1);
        await p.gone('it, as it was handed in', p.t('lease-row').filter({ hasText: 'factor:600519' }), 5000);
    });
    assert.deepEqual(asked, []);
});

look('events: as they come, filtered, paused, and whole', world, { path: '#/events' }, async (p, w) => {
    await p.seen('the page', p.t('events-page'));
    await p.settled();
    const alpha = new ForeignTask(w, 'alpha'), beta = new ForeignTask(w, 'beta', w.others[0]!.http);
    const of = (topic: string) => p.page.locator(`[data-test=event-row][data-topic="${topic}"]`);
    const asked = await p.requestsDuring(async () => {
        await alpha.begin(3);
        await beta.begin(5);
        await p.seen('the one', of('task/alpha'), 5000);
        await p.seen('the other', of('task/beta'), 5000);
        await p.t('event-filter').fill('alpha');
        await p.gone('the other', of('task/beta'), 3000);
        await p.seen('the one', of('task/alpha'));
        await beta.say({ type: 'task.progress.v1', data: { done: 1 } });
        await alpha.say({ type: 'task.note.v1', data: { note: 'of alpha' } });
        await p.seen('what is new and fits', p.t('event-row').filter({ hasText: 'of alpha' }), 5000);
        assert.equal(await of('task/beta').count(), 0);
        await p.t('event-filter').fill('');
        await p.seen('the other again', of('task/beta'));
        await p.t('event-filter-type').selectOption('task.note.v1');
        await p.shows('one type', 3000, () => p.t('event-row').count(), 1);
        await p.t('event-row').first().click();
        const whole = JSON.parse((await p.t('event-json').textContent())!) as Doc;
        assert.deepEqual([whole.type, whole.subject, whole.data], ['task.note.v1', 'task/alpha', { note: 'of alpha' }]);
        await p.t('event-close').click();
        await p.t('event-filter-type').selectOption('');

        await p.t('event-pause').click();
        const before = await p.t('event-row').count();
        await alpha.end({ done: 3 });
        await beta.end({ done: 5 }, 'task.failed.v1');
        await p.shows('what came meanwhile', 5000, async () => Number(await p.t('event-meanwhile').getAttribute('data-count')) >= 2, true);
        assert.equal(await p.t('event-row').count(), before, 'it stands still');
        await p.t('event-pause').click();
        await eventually('both ends', 5000, async () => (await p.page.locator('[data-test=event-row][data-type="task.completed.v1"]').count()) === 1 &&
            (await p.page.locator('[data-test=event-row][data-type="task.failed.v1"]').count()) === 1);

        await p.t('event-topic-input').fill('market/600000.SH');
        await p.t('event-topic-add').click();
        await p.shows('another topic', 5000, () => p.page.locator('[data-test=event-topic][data-topic="market/600000.SH"]').getAttribute('data-state'), 'open');
        await w.good('PUT', 'bars/600000.SH', 'date,open,high,low,close,volume\n2025-01-02,10,11,9,10.5,1000\n', { type: 'text/csv' });
        await p.seen('its update', p.page.locator('[data-test=event-row][data-type="market.update.v1"]'), 10000);
        await p.t('event-topic-input').fill('nonsense/x');
        await p.t('event-topic-add').click();
        await p.seen('the server\'s words', p.t('event-topic-error'), 5000);
    });
    assert.deepEqual(asked, []);
});
