// SPDX-License-Identifier: Apache-2.0
// The colours of what is drawn on the canvas, by the theme and by who is red. They stand out from a card 3 : 1 and more.
import { computed } from 'vue';
import type { Look } from './klinechart';
import { redUp } from './redUp';
import { color, dark } from './theme';

const LIGHT = ['#1d5fa8', '#b45309', '#7c3aed', '#0f766e', '#be185d', '#4d7c0f', '#475569'];
const DARK = ['#7db8f2', '#f3b95f', '#b79cf5', '#41c7b9', '#f28cb5', '#b5d56a', '#cbd5e1'];
export const COLORS = LIGHT.length;
export const seriesColors = computed(() => (dark.value ? DARK : LIGHT));

/** Of a change: the name of a colour of style.css. */
export function changeColor(change: number): string {
    return change === 0 ? '--muted' : change > 0 !== redUp.value ? '--up' : '--down';
}
export function look(): Look {
    return {
        up: color(changeColor(1)), down: color(changeColor(-1)), flat: color('--muted'), text: color('--text'), muted: color('--muted'),
        line: color('--line'), grid: color('--grid'), card: color('--card'), markText: color('--card'), series: seriesColors.value,
    };
}
