// SPDX-License-Identifier: Apache-2.0
// Candles and indicators: what is drawn is what was imported and what the API says; a new last bar comes by itself; the
// badges say where a result came from.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Watched } from './browser.js';
import { look, worldOf } from './look.js';
import { type Doc, eventually, QUIET, World } from './world.js';

const world = worldOf(() => World.begin({ symbols: 20, redis: true, config: QUIET, others: [QUIET] }));

const number = async (p: Watched, name: string): Promise<number> => Number(await p.t(name).first().getAttribute('data-value', { timeout: 2000 }));
const chart = async (p: Watched): Promise<number[]> => {
    const c = p.t('chart');
    return [Number(await c.getAttribute('data-bars', { timeout: 2000 })), Number(await c.getAttribute('data-first')), Number(await c.getAttribute('data-last'))];
};
const series = (p: Watched, spec: string) => p.page.locator(`[data-test=series][data-spec="${spec}"]`);
async function values(p: Watched, spec: string): Promise<number[]> {
    const all = await series(p, spec).locator('[data-test=series-value]').all();
    return Promise.all(all.map(async (v) => Number(await v.getAttribute('data-value'))));
}
const source = (p: Watched, spec: string) => series(p, spec).locator('[data-test=series-source]').getAttribute('data-source', { timeout: 2000 });
const lastOf = async (w: World, symbol: string, spec: string, query = ''): Promise<number[]> =>
    ((await w.get(`indicators/${symbol}/${spec}?last=1&max_age=0${query}`)).values as number[][])[0]!;
async function sameBars(p: Watched, w: World, symbol: string, query: string): Promise<void> {
    const bars = await w.get(`bars/${symbol}?${query}`), n = (bars.ts as number[]).length, last = (bars.values as number[][])[n - 1]!;
    await p.shows(`the bars of ${symbol} ${query}`, 15000, () => chart(p), [n, bars.ts[0], bars.ts[n - 1]]);
    await p.shows('the last one', 5000, async () => [await number(p, 'last-open'), await number(p, 'last-high'), await number(p, 'last-low'), await number(p, 'last-close'), await number(p, 'last-volume')], last.slice(0, 5));
}
/** Points of each colour on the canvases of the chart. */
function drawn(p: Watched, names: string[]): Promise<number[]> {
    return p.page.evaluate((colors) => {
        const probe = document.createElement('canvas').getContext('2d')!;
        const wanted = colors.map((name) => {
            probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
            probe.fillRect(0, 0, 1, 1);
            return probe.getImageData(0, 0, 1, 1).data;
        });
        const n = colors.map(() => 0);
        for (const canvas of Array.from(document.querySelectorAll<HTMLCanvasElement>('[data-test=chart] canvas'))) {
            if (canvas.width === 0 || canvas.height === 0) continue;
            const d = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height).data;
            for (let i = 0; i < d.length; i += 4)
                wanted.forEach((c, k) => { if (d[i] === c[0] && d[i + 1] === c[1] && d[i + 2] === c[2] && d[i + 3]! > 200) n[k]!++; });
        }
        return n;
    }, names);
}

// ---- real bars, against the file they came from ----

interface Real { world: World; rows: { ts: number; open: number; high: number; low: number; close: number; volume: number }[] }
const file = join(process.env.TIERLINE_SHARED ?? '/nowhere', 'data/sp500_5yr/all_stocks_5yr.csv');
let real: Real['rows'] = [];
const realWorld = worldOf(async () => {
    const w = await World.begin({ config: QUIET }), lines = readFileSync(file, 'utf8').split('\n').filter((l) => l.endsWith(',AAPL'));
    writeFileSync(join(w.dir, 'AAPL.csv'), ['date,open,high,low,close,volume,Name', ...lines].join('\n'));
    w.run('import', 'AAPL.csv', '--quiet');
    real = lines.map((l) => l.split(',')).map(([d, open, high, low, close, volume]) =>
        ({ ts: Date.parse(`${d}T00:00:00Z`), open: Number(open), high: Number(high), low: Number(low), close: Number(close), volume: Number(volume) }));
    return w;
});
look('real bars: the candles, their last one and an indicator, against the file', realWorld, { path: '#/chart/AAPL?with=SMA(20);MACD(12,26,9)', complaints: [/willReadFrequently/], skip: !existsSync(file) && 'the real bars are not here' }, async (p, w) => {
    const symbol = (await w.get('symbols')).symbols[0].symbol as string, last = real[real.length - 1]!;
    assert.ok(real.length > 1000);
    await p.shows('every bar', 15000, () => chart(p), [real.length, real[0]!.ts, last.ts]);
    assert.deepEqual([await number(p, 'last-open'), await number(p, 'last-high'), await number(p, 'last-low'), await number(p, 'last-close'), await number(p, 'last-volume')],
        [last.open, last.high, last.low, last.close, last.volume]);
    assert.equal(await p.text(p.t('last-date')), new Date(last.ts).toISOString().slice(0, 10));
    await p.shows('SMA(20)', 10000, () => values(p, 'SMA(20)').then((v) => v.length), 1);
    const mean = real.slice(-20).reduce((s, r) => s + r.close, 0) / 20, [sma] = await values(p, 'SMA(20)');
    assert.ok(Math.abs(sma! - mean) < 1e-9 * mean, `${sma} ${mean}`);
    assert.deepEqual(await values(p, 'MACD(12,26,9)'), await lastOf(w, symbol, 'MACD(12,26,9)'));
    await eventually('candles of both colours on the canvas', 10000, async () => (await drawn(p, ['--up', '--down'])).every((n) => n > 200));
    await p.t('freq').selectOption('1w');
    await sameBars(p, w, symbol, 'freq=1w');
    const weeks = new Set(real.map((r) => Math.floor((r.ts / 86400000 + 3) / 7)));
    assert.equal((await chart(p))[0], weeks.size);
});

// ---- the sample market ----

look('computed when it is asked for first, from memory then', world, { path: '#/chart/600000.SH?with=SMA(13);RSI(9)' }, async (p, w) => {
    for (const spec of ['SMA(13)', 'RSI(9)']) await p.shows(`that ${spec} was computed`, 15000, () => source(p, spec), 'computed');
    await sameBars(p, w, '600000.SH', 'freq=1d');
    assert.deepEqual(await values(p, 'SMA(13)'), await lastOf(w, '600000.SH', 'SMA(13)'));
    assert.deepEqual(await values(p, 'RSI(9)'), await lastOf(w, '600000.SH', 'RSI(9)'));
    assert.ok(Number(await series(p, 'SMA(13)').locator('[data-test=series-took]').getAttribute('data-ms')) > 0);
    await series(p, 'SMA(13)').locator('[data-test=series-reload]').click();
    await p.shows('that memory had it', 5000, () => source(p, 'SMA(13)'), 'memory');
    await p.page.reload();
    for (const spec of ['SMA(13)', 'RSI(9)']) await p.shows(`that memory had ${spec}`, 15000, () => source(p, spec), 'memory');
    assert.equal(await series(p, 'RSI(9)').locator('[data-test=series-freshness]').getAttribute('data-freshness'), 'fresh');
    await p.page.goto(`${w.others[0]!.http}/#/chart/600000.SH?with=SMA(13)`); // another process: through Redis
    await p.shows('that Redis had it', 15000, () => source(p, 'SMA(13)'), 'redis');
});

look('a new last bar is there without a reload, wherever it was put', world, { path: '#/chart/600001.SH?with=SMA(5)' }, async (p, w) => {
    await sameBars(p, w, '600001.SH', 'freq=1d');
    await p.shows('the indicator', 10000, () => values(p, 'SMA(5)').then((v) => v.length), 1);
    await p.settled();
    const loads = p.requests.filter((r) => r.path === '/').length, before = await chart(p);
    const put = async (line: string, o: Doc = {}) => w.good('PUT', 'bars/600001.SH', `date,open,high,low,close,volume\n${line}\n`, { type: 'text/csv', ...o });
    const began = Date.now();
    await put('2025-01-02,20.5,21.25,20,21,123400');
    await p.shows('the new bar', 10000, () => chart(p), [before[0]! + 1, before[1]!, Date.parse('2025-01-02T00:00:00Z')]);
    console.log(`# a bar was there ${Date.now() - began} ms after it was put`);
    assert.deepEqual([await number(p, 'last-close'), await number(p, 'last-volume'), await p.text(p.t('last-date'))], [21, 123400, '2025-01-02']);
    await p.shows('the indicator by it', 10000, () => values(p, 'SMA(5)'), await lastOf(w, '600001.SH', 'SMA(5)'));
    await put('2025-01-03,21,22,20.75,21.5,100000', { at: w.others[0]!.http });
    await p.shows('one that another server was given', 10000, async () => [(await chart(p))[0], await number(p, 'last-close')], [before[0]! + 2, 21.5]);
    await p.shows('the indicator by it', 10000, () => values(p, 'SMA(5)'), await lastOf(w, '600001.SH', 'SMA(5)'));
    await put('2025-01-03,21,22.5,20.75,22.25,150000'); // the last one, corrected
    await p.shows('the correction', 10000, async () => [(await chart(p))[0], await number(p, 'last-close'), await number(p, 'last-high')], [before[0]! + 2, 22.25, 22.5]);
    await p.shows('the indicator by it', 10000, () => values(p, 'SMA(5)'), await lastOf(w, '600001.SH', 'SMA(5)'));
    await sameBars(p, w, '600001.SH', 'freq=1d');
    assert.equal(p.requests.filter((r) => r.path === '/').length, loads);
    const asked = await p.requestsDuring(() => p.page.waitForTimeout(3000));
    assert.deepEqual(asked, [], 'nothing is asked for while nothing happens');
});

look('by frequency and by adjustment, as the API has them', world, { path: '#/chart/600002.SH?with=SMA(5)' }, async (p, w) => {
    for (const [freq, adjust] of [['1d', 'raw'], ['1d', 'forward'], ['1w', 'forward'], ['1mo', 'backward'], ['1mo', 'raw']] as const) {
        await p.t('freq').selectOption(freq);
        await p.t('adjust').selectOption(adjust);
        await sameBars(p, w, '600002.SH', `freq=${freq}&adjust=${adjust}`);
        const wanted = await lastOf(w, '600002.SH', 'SMA(5)', `&freq=${freq}&adjust=${adjust}`);
        await p.shows(`SMA(5) ${freq} ${adjust}`, 10000, () => values(p, 'SMA(5)'), wanted);
        assert.match(p.page.url(), new RegExp(`freq=${freq}`), 'it stands in the address');
    }
    await p.page.reload();
    await sameBars(p, w, '600002.SH', 'freq=1mo&adjust=raw');
});

look('a symbol is found, an indicator chosen, mistaken, set, shared by its address, and taken away', world, { path: '#/chart' }, async (p, w) => {
    await p.seen('the symbols', p.t('symbol-list').locator('[data-symbol]'));
    await p.t('symbol-search').fill('60000');
    await p.seen('those that fit', p.t('symbol-options').locator('[data-symbol="600003.SH"]'));
    await p.t('symbol-options').locator('[data-symbol="600003.SH"]').click();
    await sameBars(p, w, '600003.SH', 'freq=1d');
    await p.t('add-indicator').click();
    await p.t('indicator-search').fill('boll');
    if (!(await p.t('indicator-dialog').locator('[data-name=BBANDS]').count())) await p.t('indicator-search').fill('bbands');
    await p.t('indicator-dialog').locator('[data-name=BBANDS]').click();
    const first = p.t('indicator-form').locator('input[data-param]').first();
    await first.fill('-3');
    await p.seen('what is wrong', p.t('param-problem'));
    assert.ok(!(await p.t('indicator-done').isEnabled()));
    await first.fill('10');
    const spec = await p.text(p.t('indicator-spec'));
    assert.match(spec, /^BBANDS\(10,/);
    await p.t('indicator-done').click();
    await p.shows('three lines', 10000, () => values(p, spec), await lastOf(w, '600003.SH', spec));
    assert.ok(decodeURIComponent(p.page.url()).includes(spec));
    await p.page.reload();
    await p.shows('it again', 15000, () => values(p, spec), await lastOf(w, '600003.SH', spec));
    await series(p, spec).locator('[data-test=series-remove]').click();
    await p.gone('the row', series(p, spec));
    assert.ok(!p.page.url().includes('BBANDS'));
});

look('no bars, too few bars, no such indicator: the server\'s words, and a way on', world, { path: '#/chart/600004.SH?with=SMA(100000);NOPE(3)', complaints: [/4\d\d \(/] }, async (p, w) => {
    const words = async (spec: string) => ((await (await w.ask('GET', `indicators/600004.SH/${spec}`)).json()) as Doc).detail as string;
    for (const spec of ['SMA(100000)', 'NOPE(3)']) await p.seen(`why ${spec} is not there`, series(p, spec).locator('[data-test=series-problem]').filter({ hasText: await words(spec) }));
    await p.seen('the candles nevertheless', p.t('last-close'));
    await p.go('#/chart/999999.SH');
    await p.seen('that there are none', p.t('bars-problem'));
    await w.good('PUT', 'bars/999999.SH', 'date,open,high,low,close,volume\n2025-01-02,1,2,1,2,10\n2025-01-03,2,3,1,2.5,10\n', { type: 'text/csv' });
    await p.shows('the first bars of it, by themselves', 10000, async () => (await chart(p))[0], 2);
});
