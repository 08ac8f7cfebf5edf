// SPDX-License-Identifier: Apache-2.0
// Light, dark, or as the system has it. `dark` is what is seen: for what is drawn on a canvas.
import { computed, ref, watchEffect } from 'vue';

export type Theme = 'auto' | 'light' | 'dark';
const KEY = 'tierline.theme';
const stored = localStorage.getItem(KEY);
export const theme = ref<Theme>(stored === 'light' || stored === 'dark' ? stored : 'auto');
const system = window.matchMedia('(prefers-color-scheme: dark)');
const systemDark = ref(system.matches);
system.addEventListener('change', (e) => { systemDark.value = e.matches; });
export const dark = computed(() => theme.value === 'dark' || (theme.value === 'auto' && systemDark.value));
watchEffect(() => {
    localStorage.setItem(KEY, theme.value);
    document.documentElement.dataset['theme'] = dark.value ? 'dark' : 'light';
});

/** A colour of style.css, for a canvas: `color('--accent')`. Ask again when `dark` changes. */
export function color(name: string): string {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
