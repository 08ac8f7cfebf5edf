// SPDX-License-Identifier: Apache-2.0
// Numbers, times and sizes as people of the chosen language write them.
import { locale } from '../i18n';

export function count(n: number): string {
    return new Intl.NumberFormat(locale.value).format(n);
}
export function fixed(n: number | null | undefined, digits = 2): string {
    if (n === null || n === undefined || !Number.isFinite(n)) return '–';
    return new Intl.NumberFormat(locale.value, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(n);
}
export function percent(part: number, whole: number, digits = 1): string {
    return whole > 0 ? `${fixed((100 * part) / whole, digits)} %` : '–';
}
export function bytes(n: number): string {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let i = 0;
    while (n >= 1024 && i + 1 < units.length) { n /= 1024; i++; }
    return `${fixed(n, i === 0 || n >= 100 ? 0 : 1)} ${units[i]}`;
}
/** 1.2 µs, 34 ms, 5 s, 2 min 3 s, 1 h 2 min. */
export function duration(ms: number | null | undefined): string {
    if (ms === null || ms === undefined || !Number.isFinite(ms) || ms < 0) return '–';
    if (ms < 1) return `${fixed(ms * 1000, ms < 0.01 ? 1 : 0)} µs`;
    if (ms < 1000) return `${fixed(ms, ms < 10 ? 1 : 0)} ms`;
    const s = ms / 1000;
    if (s < 60) return `${fixed(s, s < 10 ? 1 : 0)} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}
export function dateTime(ms: number): string {
    return new Intl.DateTimeFormat(locale.value, { dateStyle: 'medium', timeStyle: 'medium' }).format(ms);
}
export function time(ms: number): string {
    return new Intl.DateTimeFormat(locale.value, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false }).format(ms);
}
/** Of a bar: the date alone where its frequency has one bar a day or less. */
export function barTime(ms: number, freq: string, zone?: string | null): string {
    const daily = freq === '1d' || freq === '1w' || freq === '1mo';
    if (daily) return new Date(ms).toISOString().slice(0, 10);
    const o: Intl.DateTimeFormatOptions = { dateStyle: 'short', timeStyle: 'short', hour12: false };
    return new Intl.DateTimeFormat(locale.value, zone ? { ...o, timeZone: zone } : o).format(ms);
}
