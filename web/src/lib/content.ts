// SPDX-License-Identifier: Apache-2.0
// Keys of the cache taken apart, and values of it made readable.
import type { TierName } from './types';

export type KeyParts =
    | { kind: 'value'; type: string; symbol: string; timeframe: string }
    | { kind: 'series'; symbol: string; freq: string; adjust: string; spec: string };

function decoded(part: string): string {
    if (part === '-') return '';
    try {
        return decodeURIComponent(part);
    } catch {
        return part;
    }
}
/** "cache:{600519.SH}:daily_kline:1d", "calc:{600519.SH}:1d:raw:RSI(14)"; null: another kind. */
export function keyParts(key: string): KeyParts | null {
    const m = /^(cache|calc):\{([^}]*)\}:([^:]*):([^:]*)(?::(.*))?$/.exec(key);
    if (!m) return null;
    const [, kind, symbol, a, b, rest] = m as unknown as [string, string, string, string, string, string | undefined];
    if (kind === 'cache') return rest === undefined ? { kind: 'value', type: decoded(a), symbol: decoded(symbol), timeframe: decoded(b) } : null;
    return rest === undefined ? null : { kind: 'series', symbol: decoded(symbol), freq: a, adjust: b, spec: decoded(rest) };
}

/** The order in which the tiers are asked. */
export const VALUE_WAY: readonly TierName[] = ['memory', 'redis', 'store'];
export const SERIES_WAY: readonly (TierName | 'computed')[] = ['memory', 'store', 'redis', 'computed'];

/** JSON on lines of its own, every number and text as it was written; a little more than `most` of it. text is valid JSON. */
export function indented(text: string, most = Infinity): string {
    let out = '', depth = 0;
    const token = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gy;
    const empty = /\s*[}\]]/y;
    const line = (): string => `\n${'  '.repeat(depth)}`;
    for (let at = 0; at < text.length && out.length <= most;) {
        token.lastIndex = at;
        const m = token.exec(text);
        if (!m) { at++; continue; } // white space
        const s = m[0];
        at = token.lastIndex;
        if (s === '{' || s === '[') {
            empty.lastIndex = at;
            if (empty.test(text)) {
                at = empty.lastIndex;
                out += s === '{' ? '{}' : '[]';
            } else {
                depth++;
                out += s + line();
            }
        } else if (s === '}' || s === ']') {
            depth--;
            out += line() + s;
        } else out += s === ',' ? s + line() : s === ':' ? ': ' : s;
    }
    return out;
}

/** 16 bytes a line: where, the bytes, and what of them is ASCII. */
export function hexDump(bytes: Uint8Array): string {
    const lines: string[] = [];
    for (let at = 0; at < bytes.length; at += 16) {
        const row = [...bytes.subarray(at, at + 16)];
        const hex = row.map((b) => b.toString(16).padStart(2, '0')).join(' ').padEnd(47);
        lines.push(`${at.toString(16).padStart(6, '0')}  ${hex}  ${row.map((b) => (b >= 32 && b < 127 ? String.fromCharCode(b) : '.')).join('')}`);
    }
    return lines.join('\n');
}

const JSON_BYTES = 1 << 20, TEXT_MAX = 64 << 10, HEX_BYTES = 512;
export interface Content { kind: 'json' | 'hex'; text: string; shownBytes: number | null } // null: all of it

/** What a value looks like: JSON where it is, else its first bytes. */
export function contentOf(data: ArrayBuffer): Content {
    const bytes = new Uint8Array(data);
    if (bytes.length > 0 && bytes.length <= JSON_BYTES) {
        try {
            const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
            JSON.parse(text);
            const pretty = indented(text, TEXT_MAX);
            return pretty.length > TEXT_MAX ? { kind: 'json', text: pretty.slice(0, TEXT_MAX), shownBytes: TEXT_MAX } : { kind: 'json', text: pretty, shownBytes: null };
        } catch { /* it is something else */ }
    }
    return { kind: 'hex', text: hexDump(bytes.subarray(0, HEX_BYTES)), shownBytes: bytes.length > HEX_BYTES ? HEX_BYTES : null };
}
