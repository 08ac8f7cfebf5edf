// SPDX-License-Identifier: Apache-2.0
// Two languages. Each page keeps its words in a file of its own, both languages side by side, and imports it; a text that
// is missing does not compile. {name} in a text is filled in.
import { computed, ref, watch } from 'vue';
import type chart from './chart';
import common from './common';
import type events from './events';
import type jobs from './jobs';
import type once from './once';
import type tiers from './tiers';
import { loaded } from './words';

export type Language = 'en' | 'zh';
interface All {
    common: typeof common; jobs: typeof jobs; chart: typeof chart; tiers: typeof tiers; once: typeof once; events: typeof events;
}
export type Key = { [P in keyof All]: `${P}.${Extract<keyof All[P], string>}` }[keyof All];

const KEY = 'tierline.language';
const stored = localStorage.getItem(KEY);
export const language = ref<Language>(
    stored === 'en' || stored === 'zh' ? stored : navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en');
export const locale = computed(() => (language.value === 'zh' ? 'zh-CN' : 'en-GB'));
watch(language, (l) => {
    localStorage.setItem(KEY, l);
    document.documentElement.lang = l === 'zh' ? 'zh-CN' : 'en';
});
document.documentElement.lang = language.value === 'zh' ? 'zh-CN' : 'en';

export function t(key: Key, values: Record<string, string | number> = {}): string {
    const [page, name] = key.split('.') as [keyof All, string];
    const entry = loaded[page]?.[name] ?? [key, key];
    return entry[language.value === 'zh' ? 1 : 0].replace(/\{(\w+)\}/g, (_, v: string) => String(values[v] ?? ''));
}
