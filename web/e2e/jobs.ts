// SPDX-License-Identifier: Apache-2.0
// Jobs that run elsewhere, as the page shows them: the bar and the grid fill by themselves, whenever it was opened, and end
// on what the API says.
import assert from 'node:assert/strict';
import { type Locator } from 'playwright-core';
import { type Watched } from './browser.js';
import { look, worldOf } from './look.js';
import { type Doc, ForeignTask, type Progress, World, eventually, symbolsOf } from './world.js';

const SYMBOLS = 300;
const SPECS = Array.from({ length: 60 }, (_, i) => `SMA(${i + 2})`); // the short histories are too short for the last ones
// The page is one server's; what it shows is done by the other.
const world = worldOf(() => World.begin({
    symbols: SYMBOLS, redis: true, config: '[server]\njobs = no\naccess_log = no\n', others: ['[server]\naccess_log = no\n[calc]\nworkers = 1\n'],
}));

const value = async (l: Locator): Promise<number> => Number(await l.first().getAttribute('data-value', { timeout: 2000 }));
async function numbersOf(p: Watched, root: Locator = p.page.locator('main')): Promise<Doc> {
    const of = (name: string) => value(root.locator(`[data-test=job-${name}]`));
    return { done: await of('done'), total: await of('total'), failed: await of('failed'), computed: await of('computed'), from_cache: await of('cache'), skipped: await of('skipped') };
}
const told = (p: Progress): Doc => ({ done: p.done, total: p.total, failed: p.failed, computed: p.computed, from_cache: p.from_cache, skipped: p.skipped });
const rowOf = (p: Watched, id: string): Locator => p.page.locator(`[data-test=job-row][data-id="${id}"]`);
const stateOf = (p: Watched): Promise<string | null> => p.t('job-state').first().getAttribute('data-state', { timeout: 2000 });

const CELLS = ['waiting', 'computed', 'cache', 'waited', 'skipped', 'failed'] as const;
async function cellsOf(p: Watched): Promise<Doc> {
    const all: Doc = {};
    for (const name of CELLS) all[name] = await value(p.t(`legend-${name}`));
    return all;
}
/** What the grid has to show, by the task's events alone. */
async function cellsBy(w: World, id: string, total: number): Promise<Doc> {
    const { events } = await w.get(`tasks/${id}/events?limit=10000`) as { events: Doc[] };
    const state = new Map<string, string>();
    for (const e of events) {
        const d = e.data as Doc;
        if (e.type === 'task.item.failed.v1') state.set(d.symbol, 'failed');
        else if (e.type === 'task.item.completed.v1' && state.get(d.symbol) !== 'failed')
            state.set(d.symbol, d.waited ? 'waited' : d.computed ? 'computed' : 'cache');
    }
    const all: Doc = Object.fromEntries(CELLS.map((c) => [c, 0]));
    for (const s of state.values()) all[s]++;
    all.waiting = total - state.size;
    return all;
}
const post = (w: World, body: Doc = {}, at = w.http): Promise<string> =>
    w.good('POST', 'jobs', { symbols: 'all', specs: SPECS, recompute: true, ...body }, { at }).then((r) => r.id as string);
const worker = (w: World) => w.others[0]!.process;
/** Posted, and not begun: who runs jobs is stopped. */
async function queued(w: World): Promise<string> {
    worker(w).kill('SIGSTOP');
    return post(w);
}

look('a job of another process: its row and bar fill without a reload and without a request', world, {}, async (p, w) => {
    await p.settled();
    let id = '';
    const seen = new Set<number>();
    const asked = await p.requestsDuring(async () => {
        id = await post(w, {}, w.others[0]!.http);
        await p.seen('the row', rowOf(p, id), 10000);
        await eventually('the end on the page', 120000, async () => {
            seen.add(await value(rowOf(p, id).locator('[data-test=job-done]')).catch(() => 0));
            return (await rowOf(p, id).getAttribute('data-state').catch(() => '')) === 'completed';
        });
    });
    const end = await w.ended(id);
    assert.equal(end.total, SYMBOLS);
    const row = rowOf(p, id);
    assert.deepEqual([await value(row.locator('[data-test=job-done]')), await value(row.locator('[data-test=job-total]')), await value(row.locator('[data-test=job-failed]'))],
        [end.done, end.total, end.failed]);
    assert.deepEqual(asked, [], 'nothing was asked for while it ran');
    assert.ok(seen.size >= 10, `it was seen to grow: ${[...seen].join(' ')}`);
    assert.equal(p.sockets.length, 1);
    assert.ok(p.received().some((d) => d.type === 'task.progress.v1' && d.data.task === id), 'it came by WebSocket');
});

look('its page: the numbers and the grid fill by frames alone, and are right in the end', world, {}, async (p, w) => {
    const id = await queued(w);
    try {
        await p.go(`#/jobs/${id}`);
        await p.shows('that it waits', 10000, () => stateOf(p), 'queued');
        await p.shows('the symbols, all waiting', 10000, async () => [(await cellsOf(p)).waiting, (await cellsOf(p)).computed], [SYMBOLS, 0]);
        await p.settled();
    } finally { worker(w).kill('SIGCONT'); }
    const seen = new Set<number>();
    const asked = await p.requestsDuring(async () => {
        await eventually('the end on the page', 120000, async () => {
            seen.add((await cellsOf(p)).waiting);
            return (await stateOf(p)) === 'completed';
        });
    });
    const end = await w.ended(id);
    assert.ok(end.failed > 0 && end.computed > 10000, JSON.stringify(end));
    await p.shows('the numbers of the API', 5000, () => numbersOf(p), told(end));
    await p.shows('the grid of the events', 5000, () => cellsOf(p), await cellsBy(w, id, SYMBOLS));
    assert.deepEqual(asked, [], 'nothing was asked for while it ran');
    assert.ok(seen.size >= 10, `it was seen to fill: ${[...seen].join(' ')}`);
    const errors = await w.get(`jobs/${id}/errors?limit=1000`);
    assert.equal(errors.total, end.failed);
    await p.shows('each failure', 5000, () => value(p.t('failures-count')), end.failed);
    await p.shows('a row of each', 5000, () => p.t('error-row').count(), Math.min(500, end.failed));
    const first = (errors.errors as Doc[])[0]!, its = p.page.locator(`[data-test=error-row][data-symbol="${first.symbol}"]`);
    await p.seen('its words', its.filter({ hasText: first.spec as string }).filter({ hasText: first.error as string }));
    await p.settled();
    const before = p.requests.length;
    await p.page.waitForTimeout(3000);
    assert.equal(p.requests.length, before, 'nor is anything asked for later');
});

look('opened in the middle: true at once, and complete in the end', world, {}, async (p, w) => {
    const id = await post(w, {}, w.others[0]!.http);
    await eventually('a third of it', 60000, async () => ((await w.progress(id))?.done ?? 0) >= SYMBOLS / 3);
    worker(w).kill('SIGSTOP'); // so that "now" stays a while, though not as long as its lease
    try {
        await eventually('what was said to have arrived', 3000, async () => {
            const before = (await w.get(`jobs/${id}`)).position;
            await p.page.waitForTimeout(150);
            return before === (await w.get(`jobs/${id}`)).position;
        });
        const now = (await w.progress(id))!, began = Date.now();
        assert.ok(now.state === 'running' && now.done > 0 && now.done < SYMBOLS, JSON.stringify(now));
        await p.go(`#/jobs/${id}`);
        await p.shows('where it stands', 3000, () => numbersOf(p), told(now));
        console.log(`# opened in the middle: the numbers after ${Date.now() - began} ms`);
        await p.shows('the grid as the events have it', 5000, () => cellsOf(p), await cellsBy(w, id, SYMBOLS));
    } finally { worker(w).kill('SIGCONT'); }
    await p.shows('the end', 120000, () => stateOf(p), 'completed');
    const end = await w.ended(id);
    await p.shows('the numbers of the API', 5000, () => numbersOf(p), told(end));
    await p.shows('the grid of the events', 5000, () => cellsOf(p), await cellsBy(w, id, SYMBOLS));
});

look('a program\'s own task, event by event: each is there at once', world, {}, async (p, w) => {
    const task = new ForeignTask(w, 'paced', w.others[0]!.http), symbols = symbolsOf(50);
    const item = (i: number): Doc => i % 10 === 9
        ? { type: 'task.item.failed.v1', data: { symbol: symbols[i], spec: 'SMA(5)', status: 'NO_DATA', error: `nothing of ${symbols[i]}` } }
        : { type: 'task.item.completed.v1', data: { symbol: symbols[i], computed: i % 2 ? 0 : 3, from_cache: i % 2 ? 3 : 0, waited: 0, ms: 1.5 } };
    const progress = (n: number): Doc => ({ type: 'task.progress.v1', data: { done: n, failed: Math.floor(n / 10), computed: 3 * Math.ceil(n / 2), from_cache: 0, item: symbols[n - 1] } });
    await task.begin(50);
    await task.say(...symbols.slice(0, 20).map((_, i) => item(i)), progress(20));
    await p.go('#/jobs/paced');
    await p.shows('20 of 50', 5000, async () => [(await numbersOf(p)).done, (await numbersOf(p)).total, (await numbersOf(p)).failed], [20, 50, 2]);
    await p.shows('the cells', 5000, async () => { const c = await cellsOf(p); return [c.computed, c.cache, c.failed]; }, [10, 8, 2]);
    await p.shows('two failures', 3000, () => p.t('error-row').count(), 2);
    await p.settled();
    const asked = await p.requestsDuring(async () => {
        for (let n = 21; n <= 50; n++) {
            await task.say(item(n - 1), progress(n));
            if (n % 10 === 5) await p.shows(`${n}`, 3000, async () => (await numbersOf(p)).done, n);
        }
        await p.shows('50, not ended', 3000, async () => [(await numbersOf(p)).done, await stateOf(p)], [50, 'running']);
        await task.end({ done: 50, failed: 5, computed: 75 });
        await p.shows('its end', 3000, () => stateOf(p), 'completed');
    });
    assert.deepEqual(asked, []);
    const c = await cellsOf(p);
    assert.deepEqual([c.computed, c.cache, c.failed, c.waiting], [25, 20, 5, 0]);
    await p.shows('five failures', 3000, () => p.t('error-row').count(), 5);
    await p.seen('the words of one', p.t('error-row').filter({ hasText: `nothing of ${symbols[49]}` }));
});

look('cancelled, once it is confirmed', world, {}, async (p, w) => {
    const id = await post(w, {}, w.others[0]!.http);
    await p.go(`#/jobs/${id}`);
    await p.shows('that it runs', 20000, () => stateOf(p), 'running');
    await p.t('cancel').click();
    const dialog = p.page.locator('dialog[open]');
    await p.seen('the question', dialog);
    await p.page.keyboard.press('Escape');
    await p.gone('the question', dialog);
    assert.ok(!p.requests.some((r) => r.method === 'POST'), 'nothing is done unless it is confirmed');
    await p.t('cancel').click();
    await dialog.locator('button').last().click();
    await p.shows('its end', 20000, () => stateOf(p), 'cancelled');
    assert.deepEqual(p.requests.filter((r) => r.method === 'POST').map((r) => r.path), [`/api/v1/jobs/${id}/cancel`]);
    const end = await w.ended(id);
    assert.equal(end.state, 'cancelled');
    assert.ok(end.computed > 0 && end.skipped > 0, `in the middle: ${JSON.stringify(end)}`);
    await p.shows('the numbers of the API', 5000, () => numbersOf(p), told(end));
    await p.gone('the button', p.t('cancel'));
    await p.go('#/jobs');
    await p.shows('the same in the list', 5000, () => rowOf(p, id).getAttribute('data-state'), 'cancelled');
});

look('what failed, tried again: a new job of nothing else', world, {}, async (p, w) => {
    const id = await post(w, { specs: ['SMA(5)', 'SMA(61)'], recompute: false }, w.others[0]!.http), end = await w.ended(id);
    const pairs = ((await w.get(`jobs/${id}/errors?limit=1000`)).errors as Doc[]).map((e) => `${e.symbol} ${e.spec}`).sort();
    assert.ok(end.failed > 0 && pairs.length === end.failed && pairs.every((x) => !x.endsWith('null')));
    await p.go(`#/jobs/${id}`);
    await p.t('retry').click();
    await eventually('the page of the new one', 10000, () => /#\/jobs\/[^/]+$/.test(p.page.url()) && !p.page.url().endsWith(id));
    const next = p.page.url().split('/').pop()!;
    await p.shows('its end', 20000, () => stateOf(p), 'completed');
    const again = await w.ended(next), job = await w.get(`jobs/${next}`);
    assert.equal(job.request.retry_of, id);
    assert.equal(again.computed + again.from_cache, 0, 'what there is already is not touched');
    assert.deepEqual([again.total, again.failed], [new Set(pairs.map((x) => x.split(' ')[0])).size, pairs.length]);
    await p.shows('the numbers of the API', 5000, () => numbersOf(p), told(again));
    await p.seen('where it comes from', p.t('retry-of').filter({ hasText: id }));
    assert.deepEqual(((await w.get(`jobs/${next}/errors?limit=1000`)).errors as Doc[]).map((e) => `${e.symbol} ${e.spec}`).sort(), pairs);
});

look('a job is started by the form; a mistake is said where it was made', world, { complaints: [/404 \(/] }, async (p, w) => {
    await p.settled(300);
    const open = p.t('start-open');
    if (await open.count()) await open.click();
    await p.t('form-symbols').fill('600000.SH, 600001.SH');
    await p.t('form-by-specs').check();
    await p.t('form-specs').fill('SMA(5)\nSMAA(7)');
    await p.t('start-job').click();
    await p.seen('the mistake', p.t('form-problem').filter({ hasText: /SMAA/ }));
    assert.equal(await p.t('form-specs').getAttribute('aria-invalid'), 'true');
    await p.t('form-specs').fill('SMA(5)\nMACD(12,26,9)');
    await p.t('start-job').click();
    await p.shows('its end', 20000, () => stateOf(p), 'completed');
    const id = p.page.url().split('/').pop()!, end = await w.ended(id);
    assert.deepEqual([end.total, end.computed + end.from_cache], [2, 4]);
    await p.shows('the numbers of the API', 5000, () => numbersOf(p), told(end));
});
