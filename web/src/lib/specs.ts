// SPDX-License-Identifier: Apache-2.0
// Indicators by their specs (docs/indicators.md): what the registry knows of them, and how they are drawn.
import { shallowRef } from 'vue';
import { get } from './api';
import type { Indicator, IndicatorParam, Registry } from './types';

export const MA_TYPES = ['SMA', 'EMA', 'WMA', 'DEMA', 'TEMA'] as const;

export const registry = shallowRef<Registry | null>(null);
let asked: Promise<Registry> | null = null;
export function loadRegistry(): Promise<Registry> {
    asked ??= get<Registry>('api/v1/indicators').then(
        (r) => (registry.value = r),
        (e) => { asked = null; throw e; });
    return asked;
}
export function indicatorOf(spec: string): Indicator | null {
    const name = spec.split('(')[0]!.trim().toUpperCase();
    return registry.value?.indicators.find((i) => i.name === name) ?? null;
}

/** 'MACD(12,26,9);SMA(20)' */
export function splitSpecs(text: string): string[] {
    return text.split(';').map((s) => s.trim()).filter((s) => s !== '');
}

function readParam(p: IndicatorParam, text: string): number | null {
    const t = text.trim();
    if (p.kind === 'ma_type') {
        const i = (MA_TYPES as readonly string[]).indexOf(t.toUpperCase());
        if (i >= 0) return i;
    }
    if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(t)) return null;
    const n = Number(t);
    return Number.isFinite(n) && (p.kind === 'real' || Number.isInteger(n)) ? n : null;
}
export type ParamProblem = 'number' | 'whole' | 'range';
export function paramProblem(p: IndicatorParam, text: string): ParamProblem | null {
    const n = readParam(p, text);
    if (n === null) return p.kind === 'real' ? 'number' : 'whole';
    return n < p.min || n > p.max ? 'range' : null;
}
export function paramText(p: IndicatorParam, n: number): string {
    return p.kind === 'ma_type' ? MA_TYPES[n] ?? String(n) : String(n);
}
export function formatSpec(indicator: Indicator, texts: readonly string[]): string {
    if (indicator.params.length === 0) return indicator.name;
    const values = indicator.params.map((p, i) => paramText(p, readParam(p, texts[i] ?? '') ?? p.default));
    return `${indicator.name}(${values.join(',')})`;
}
/** The texts of all its parameters, defaults filled in; null: too many, or no such indicator. */
export function paramsOf(spec: string): string[] | null {
    const indicator = indicatorOf(spec), inner = /\((.*)\)\s*$/.exec(spec)?.[1]?.trim() ?? '';
    const given = inner === '' ? [] : inner.split(',').map((s) => s.trim());
    if (!indicator || given.length > indicator.params.length) return null;
    return indicator.params.map((p, i) => given[i] ?? paramText(p, p.default));
}
/** As the server writes it; what cannot be read stays as it is, for the server to say what is wrong. */
export function canonicalSpec(spec: string): string {
    const indicator = indicatorOf(spec), texts = paramsOf(spec);
    if (!indicator || !texts || indicator.params.some((p, i) => readParam(p, texts[i]!) === null)) return spec;
    return formatSpec(indicator, texts);
}

const PRICES = new Set(['MAX', 'MIN', 'LINEARREG', 'LINEARREG_INTERCEPT', 'TSF']);
/** Whether its values are prices, to be drawn over the candles. */
export function onPrice(indicator: Indicator | null): boolean {
    return indicator !== null && (indicator.group === 'Overlap' || indicator.group === 'Price' || PRICES.has(indicator.name));
}
export type FigureKind = 'line' | 'bar' | 'circle';
export function figureKind(indicator: Indicator | null, output: string): FigureKind {
    if (output === 'hist' || indicator?.integer) return 'bar';
    return indicator?.name === 'SAR' ? 'circle' : 'line';
}
