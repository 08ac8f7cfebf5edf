// SPDX-License-Identifier: Apache-2.0
// How it is seen: by those who need more than eyes (axe-core), in two languages, light and dark, on a phone.
import assert from 'node:assert/strict';
import { serious } from './axe.js';
import { look, worldOf } from './look.js';
import { ForeignTask, QUIET, symbolsOf, World } from './world.js';

const world = worldOf(async () => {
    const w = await World.begin({ symbols: 60, redis: true, config: QUIET });
    const { id } = await w.good('POST', 'jobs', { symbols: 'all', set: 'daily' });
    await w.ended(id as string);
    const task = new ForeignTask(w, 'halfway');
    await task.begin(200);
    await task.say(...symbolsOf(80).map((symbol) => ({ type: 'task.item.completed.v1', data: { symbol, computed: 1, from_cache: 0, waited: 0, ms: 1 } })),
        { type: 'task.item.failed.v1', data: { symbol: '600100.SH', spec: 'SMA(5)', status: 'NO_DATA', error: 'no bars' } },
        { type: 'task.progress.v1', data: { done: 81, failed: 1, computed: 80 } });
    await w.good('POST', 'locks/nightly?ttl=10m');
    await w.good('PUT', 'cache/fund_flow/600000.SH', '{"in":1}');
    await w.get('cache/fund_flow/600000.SH');
    return w;
});
const closed = worldOf(() => World.begin({ config: `${QUIET}[auth]\nanonymous = none\n` }));
async function pages(w: World): Promise<string[]> {
    const job = ((await w.get('jobs')).jobs as { id: string }[]).find((j) => j.id !== 'halfway')!.id;
    return ['#/jobs', `#/jobs/${job}`, '#/jobs/halfway', '#/chart/600000.SH', '#/tiers', '#/once', '#/events', '#/nowhere/at/all'];
}

for (const locale of ['en-GB', 'zh-CN'])
    for (const colorScheme of ['light', 'dark'] as const)
        look(`axe: nothing serious on any page, ${locale}, ${colorScheme}`, world, { locale, colorScheme, reducedMotion: 'reduce' }, async (p, w) => {
            const bad: string[] = [];
            for (const path of await pages(w)) {
                await p.go(path);
                await p.page.evaluate(() => document.fonts.ready.then(() => undefined));
                await p.settled();
                assert.equal(await p.page.evaluate(() => document.documentElement.dataset['theme']), colorScheme);
                bad.push(...(await serious(p)).map((v) => `${path}: ${v}`));
            }
            assert.equal(bad.join('\n'), '');
        });

for (const colorScheme of ['light', 'dark'] as const) {
    look(`axe: what asks, ${colorScheme}`, world, { colorScheme, reducedMotion: 'reduce' }, async (p) => {
        const bad: string[] = [];
        const asks = async (path: string, open: string) => {
            await p.go(path);
            await p.t(open).first().click();
            await p.seen('the question', p.page.locator('dialog[open]'));
            bad.push(...(await serious(p)).map((v) => `${path}, ${open}: ${v}`));
            await p.page.keyboard.press('Escape');
            await p.gone('the question', p.page.locator('dialog[open]'));
        };
        await asks('#/jobs/halfway', 'cancel');
        await asks('#/chart/600000.SH', 'add-indicator');
        await asks('#/chart/600000.SH?with=MACD(12,26,9)', 'series-edit');
        await p.go('#/tiers');
        await p.t('invalidate-by').selectOption('all');
        await asks('#/tiers', 'invalidate');
        assert.equal(bad.join('\n'), '');
    });
    look(`axe: the form for a token, ${colorScheme}`, closed, { colorScheme, complaints: [/401 \(/] }, async (p) => {
        await p.t('sign-in').locator('input[type=password]').fill('wrong');
        await p.t('sign-in').locator('button').click();
        await p.seen('the refusal', p.t('sign-in').locator('[role=alert]'));
        assert.equal((await serious(p)).join('\n'), '');
    });
}

look('中文: as the browser asks, as one chooses, and it stays', world, { locale: 'zh-CN' }, async (p, w) => {
    for (const path of (await pages(w)).slice(0, 7)) {
        await p.go(path);
        await p.settled(300);
        const text = await p.page.locator('main').innerText();
        assert.match(text, /[\u4e00-\u9fff]{2}/, path);
        assert.match(await p.page.title(), /[\u4e00-\u9fff]{2}/, path);
    }
    assert.equal(await p.page.getAttribute('html', 'lang'), 'zh-CN');
    await p.page.locator('header select').first().selectOption('en');
    await p.shows('English', 5000, () => p.text(p.page.locator('header nav a')), 'Jobs1');
    await p.page.reload();
    await p.seen('the navigation', p.page.locator('header nav a'));
    assert.equal(await p.page.getAttribute('html', 'lang'), 'en');
    await p.page.locator('header select').first().selectOption('zh');
    await p.shows('Chinese', 5000, () => p.page.getAttribute('html', 'lang'), 'zh-CN');
});

look('light and dark: as the system has it, and as one chooses', world, { colorScheme: 'dark' }, async (p) => {
    const seen = () => p.page.evaluate(() => [document.documentElement.dataset['theme'], getComputedStyle(document.body).backgroundColor]);
    const dark = await seen();
    assert.equal(dark[0], 'dark');
    await p.page.emulateMedia({ colorScheme: 'light' });
    await p.shows('light', 5000, async () => (await seen())[0], 'light');
    const light = await seen();
    assert.notEqual(light[1], dark[1]);
    await p.page.locator('header select').nth(1).selectOption('dark');
    await p.shows('dark', 5000, seen, dark);
    await p.page.reload();
    await p.shows('dark, still', 5000, seen, dark);
});

look('a phone: no page is wider than the screen', world, { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }, async (p, w) => {
    const bad: string[] = [];
    for (const path of await pages(w)) {
        await p.go(path);
        await p.settled(300);
        const wide = await p.page.evaluate(() => document.documentElement.scrollWidth);
        if (wide <= 390) continue;
        bad.push(`${path} is ${wide} wide: ${await p.page.evaluate(() => Array.from(document.querySelectorAll('body *')).filter((e) => e.getBoundingClientRect().right > 391)
            .slice(0, 6).map((e) => `${e.tagName}.${e.className} to ${Math.round(e.getBoundingClientRect().right)}`).join(', '))}`);
    }
    assert.equal(bad.join('\n'), '');
});

look('by keyboard alone: skip to the content, and every page by its link', world, {}, async (p) => {
    await p.settled(300);
    await p.page.keyboard.press('Tab');
    await p.page.keyboard.press('Enter');
    assert.equal(await p.page.evaluate(() => document.activeElement?.id), 'content');
    for (const name of ['Chart', 'Tiers', 'Computed once', 'Events']) {
        await p.page.getByRole('link', { name, exact: true }).focus();
        await p.page.keyboard.press('Enter');
        await p.shows(name, 10000, () => p.page.title(), `${name} · Tierline`);
        assert.equal(await p.page.locator('nav a[aria-current=page]').innerText(), name);
    }
});
