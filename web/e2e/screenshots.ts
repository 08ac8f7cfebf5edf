// SPDX-License-Identifier: Apache-2.0
// screenshots.js FOLDER: pictures of every page, NAME.png and NAME-dark.png, with a job under way and one that is over; one in
// Chinese, one of a phone. Of a sample market.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sleep } from '../test/real.js';
import { closeBrowser, type Sight, Watched } from './browser.js';
import { fewColours } from './png.js';
import { type Doc, eventually, ForeignTask, QUIET, World } from './world.js';

const folder = process.argv[2] ?? 'docs/images';
const PHONE: Sight = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const SPECS = Array.from({ length: 60 }, (_, i) => `SMA(${i + 2})`);

const w = await World.begin({ symbols: 300, redis: true, config: '[server]\njobs = no\naccess_log = no\n', others: [`${QUIET}[calc]\nworkers = 1\n[schedules]\ndaily = 30 15 * * trading-day Asia/Shanghai ; set=daily\n`] });
const other = w.others[0]!;
const traffic = { on: true };

async function take(p: Watched, name: string): Promise<void> {
    await p.page.mouse.move(0, 0);
    await p.page.evaluate(() => { (document.activeElement as HTMLElement | null)?.blur(); });
    await sleep(300);
    const data = fewColours(await p.page.screenshot({ animations: 'disabled', caret: 'hide' }));
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${name}.png`), data);
    console.log(`${name}.png: ${Math.round(data.length / 1024)} KiB`);
}
async function both(p: Watched, name: string): Promise<void> {
    await take(p, name);
    await p.page.emulateMedia({ colorScheme: 'dark' });
    await take(p, `${name}-dark`);
    await p.page.emulateMedia({ colorScheme: 'light' });
}
const open = (path: string, sight: Sight = {}): Promise<Watched> => Watched.open(w, { path, reducedMotion: 'reduce', frames: false, ...sight });
const post = (body: Doc): Promise<string> => w.good('POST', 'jobs', body).then((r) => r.id as string);
/** What a platform asks for all day: the same again and again, and now and then something new, of two servers at once. */
async function asks(): Promise<void> {
    for (let i = 0; traffic.on; i++) {
        const symbol = `${600000 + ((i * 7) % 13)}.SH`;
        await w.ask('GET', `indicators/${symbol}/${['SMA(20)', 'RSI(14)', 'MACD(12,26,9)', 'KDJ(9,3,3)'][i % 4]!}?last=1`);
        await w.ask('GET', `cache/fund_flow/${symbol}`);
        if (i % 23 === 0) await w.ask('PUT', `cache/fund_flow/${symbol}`, `{"main_in":${i}}`, { at: other.http });
        if (i % 9 === 0) await Promise.all([w.http, other.http, w.http].map((at) => w.ask('GET', `indicators/${600000 + (i % 90)}.SH/EMA(${10 + (i % 30)})?last=1`, undefined, { at })));
        await sleep(i % 400 < 220 ? 12 : 30);
    }
}

try {
    if (!(await w.hasDashboard())) throw new Error('the server was built without the dashboard');
    await w.ended(await post({ symbols: 'all', set: 'daily' }));
    const finished = await post({ symbols: 'all', specs: ['SMA(5)', 'SMA(61)', 'MACD(12,26,9)', 'KDJ(9,3,3)', 'ATR(14)'], name: 'weekly' });
    await w.ended(finished);
    await w.ended((await w.good('POST', `jobs/${finished}/retry`)).id as string);
    const factors = new ForeignTask(w, 'factors-20241231');
    await factors.begin(120);
    await factors.say({ type: 'task.progress.v1', data: { done: 120, computed: 117, from_cache: 3 } });
    await factors.end({ done: 120, computed: 117, from_cache: 3 });
    const asking = asks();

    const tiers = await open('#/tiers'), once = await open('#/once'), events = await open('#/events');
    await w.good('POST', 'locks/nightly?ttl=10m');
    await w.good('POST', 'locks/import:SSE?ttl=2m', undefined, { at: other.http });
    await w.good('POST', 'compute/factor:600519?lease_ms=5m');
    const imports = new ForeignTask(w, 'import-20241231', other.http, 'import');
    await imports.begin(40);
    for (let i = 1; i <= 25; i++) {
        await imports.say({ type: 'task.item.completed.v1', data: { symbol: `${600000 + i}.SH` } }, { type: 'task.progress.v1', data: { done: i, item: `${600000 + i}.SH`, rate: 1 } });
        await sleep(1500);
    }
    await imports.end({ done: 25, error: 'the vendor did not answer' }, 'task.failed.v1');
    await both(tiers, 'tiers');
    await both(once, 'once');

    other.process.kill('SIGSTOP'); // who runs jobs waits until all look
    const running = await post({ symbols: 'all', specs: SPECS, recompute: true });
    const job = await open(`#/jobs/${running}`), jobs = await open('#/jobs'), phone = await open(`#/jobs/${running}`, PHONE), chinese = await open(`#/jobs/${running}`, { locale: 'zh-CN' });
    for (const p of [job, phone, chinese]) await p.seen('the grid', p.t('grid'));
    other.process.kill('SIGCONT');
    await eventually('more than half of it', 120000, async () => ((await w.progress(running))?.done ?? 0) > 160);
    other.process.kill('SIGSTOP');
    await sleep(500);
    await take(job, 'job');
    await take(phone, 'job-phone');
    await take(chinese, 'job-zh');
    await both(jobs, 'jobs');
    other.process.kill('SIGCONT');
    await events.t('event-filter').fill('import');
    await events.t('event-row').first().click();
    await both(events, 'events');
    await w.ended(running);
    await job.go(`#/jobs/${finished}`);
    await job.seen('the finished one', job.t('error-row'));
    await job.page.emulateMedia({ colorScheme: 'dark' });
    await take(job, 'job-dark');

    traffic.on = false;
    await asking;
    const chart = await open('#/chart/600000.SH?with=SMA(20);MACD(12,26,9)');
    await eventually('the indicators', 20000, async () => (await chart.t('series-value').count()) >= 4);
    await chart.settled();
    for (const again of await chart.t('series-reload').all()) {
        await again.click(); // what it takes when nothing else is on its way
        await chart.settled(300);
    }
    await both(chart, 'chart');
} finally {
    traffic.on = false;
    await closeBrowser();
    await w.close();
}
