// SPDX-License-Identifier: Apache-2.0
// Pages by hash, so that the server knows one address alone. Every page is loaded when it is opened first.
import { ref } from 'vue';
import { createRouter, createWebHashHistory } from 'vue-router';

export const pages = [
    { name: 'jobs', path: '/jobs', load: () => import('../pages/JobsPage.vue') },
    { name: 'chart', path: '/chart', load: () => import('../pages/ChartPage.vue') },
    { name: 'tiers', path: '/tiers', load: () => import('../pages/TiersPage.vue') },
    { name: 'once', path: '/once', load: () => import('../pages/OncePage.vue') },
    { name: 'events', path: '/events', load: () => import('../pages/EventsPage.vue') },
] as const;

export const router = createRouter({
    history: createWebHashHistory(),
    routes: [
        { path: '/', redirect: '/jobs' },
        ...pages.map((p) => ({ path: p.path, name: p.name, component: p.load, meta: { page: p.name } })),
        { path: '/jobs/:id', name: 'job', component: () => import('../pages/JobPage.vue'), meta: { page: 'jobs' } },
        { path: '/chart/:symbol', name: 'symbol', component: () => import('../pages/ChartPage.vue'), meta: { page: 'chart' } },
        { path: '/:any(.*)*', name: 'nowhere', component: () => import('../pages/NowherePage.vue'), meta: { page: '' } },
    ],
});

/** Why the last page could not be loaded; "": it could. */
export const unloaded = ref('');
let wanted = '';
router.afterEach((_to, _from, failure) => { if (!failure) unloaded.value = ''; });
/** A page that was never opened may be gone with the binary that had it: the whole is loaded anew, once in a while. */
router.onError(async (e: unknown, to) => {
    const KEY = 'tierline.reloaded', AGAIN_MS = 10000;
    wanted = to.fullPath;
    const alive = (await fetch('./', { cache: 'no-store' }).catch(() => null))?.ok ?? false;
    if (alive && Date.now() - Number(sessionStorage.getItem(KEY) ?? 0) > AGAIN_MS) {
        sessionStorage.setItem(KEY, String(Date.now()));
        reload();
    } else {
        unloaded.value = e instanceof Error ? e.message : String(e);
    }
});
export function reload(): void {
    location.hash = `#${wanted}`;
    location.reload();
}
