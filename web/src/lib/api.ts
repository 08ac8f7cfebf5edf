// SPDX-License-Identifier: Apache-2.0
// The HTTP API (docs/server.md) as the pages use it. Whatever goes wrong comes as an ApiError with the server's words;
// 401 and 403 are told to the session besides, which asks for a token.
import type { Version } from './types';

export class ApiError extends Error {
    constructor(readonly status: number, readonly code: string, message: string, readonly parameter?: string) {
        super(message);
        this.name = 'ApiError';
    }
}

export interface Answer<T> {
    data: T;
    tookMs: number; // from the request to the last byte, on this side
    bytes: number;
    headers: Headers;
}

type Params = Record<string, string | number | boolean | null | undefined>;
interface Options { query?: Params; body?: unknown; type?: string; signal?: AbortSignal; timeoutMs?: number }

const settings = { token: '', refused: (_status: number): void => undefined };

/** By the session alone: whose token goes with every request, and who is told that it does not do. */
export function useToken(token: string, refused: (status: number) => void): void {
    settings.token = token;
    settings.refused = refused;
}

/** '%' stays the escape of the path: a spec such as MACD(12,26,9) is one part. */
export function part(text: string): string {
    return encodeURIComponent(text);
}

function address(path: string, query: Params = {}): string {
    const q = new URLSearchParams();
    for (const [name, value] of Object.entries(query))
        if (value !== undefined && value !== null && value !== '') q.set(name, String(value));
    const text = q.toString();
    return text ? `${path}?${text}` : path;
}

async function problemOf(r: Response): Promise<ApiError> {
    const text = await r.text().catch(() => '');
    try {
        const p = JSON.parse(text) as { code?: string; detail?: string; title?: string; parameter?: string };
        return new ApiError(r.status, p.code ?? 'HTTP', p.detail ?? p.title ?? r.statusText, p.parameter);
    } catch {
        return new ApiError(r.status, 'HTTP', text.slice(0, 200) || r.statusText || `HTTP ${r.status}`);
    }
}

interface Asked { response: Response; began: number; read<T>(body: Promise<T>): Promise<T> }

/** read: for the body, which may be cut short like the answer itself. */
async function ask(method: string, path: string, o: Options = {}): Promise<Asked> {
    const headers: Record<string, string> = {};
    if (settings.token) headers['Authorization'] = `Bearer ${settings.token}`;
    let body: BodyInit | undefined;
    if (o.body !== undefined) {
        headers['Content-Type'] = o.type ?? 'application/json';
        body = o.type ? (o.body as BodyInit) : JSON.stringify(o.body);
    }
    const limit = AbortSignal.timeout(o.timeoutMs ?? 30000);
    const began = performance.now();
    async function read<T>(coming: Promise<T>): Promise<T> {
        try {
            return await coming;
        } catch (e) {
            if (o.signal?.aborted) throw new ApiError(0, 'ABORTED', 'not wanted any more');
            if (limit.aborted) throw new ApiError(0, 'TIMEOUT', 'the server did not answer in time');
            throw new ApiError(0, 'UNREACHABLE', e instanceof Error ? e.message : String(e));
        }
    }
    // Not from the browser's cache: after a 304 that repeats the old body, whose source and age are of another answer.
    const response = await read(fetch(address(path, o.query),
        { method, headers, body: body ?? null, signal: either(limit, o.signal), cache: 'no-store' }));
    if (response.ok) return { response, began, read };
    if (response.status === 401 || response.status === 403) settings.refused(response.status);
    throw await problemOf(response);
}

function either(a: AbortSignal, b?: AbortSignal): AbortSignal {
    if (!b) return a;
    const both = new AbortController();
    for (const s of [a, b]) {
        if (s.aborted) both.abort();
        s.addEventListener('abort', () => both.abort(), { once: true });
    }
    return both.signal;
}

export async function getWith<T>(path: string, query?: Params, signal?: AbortSignal): Promise<Answer<T>> {
    const { response, began, read } = await ask('GET', path, { ...(query && { query }), ...(signal && { signal }) });
    const text = await read(response.text());
    const tookMs = performance.now() - began;
    return { data: JSON.parse(text) as T, tookMs, bytes: text.length, headers: response.headers };
}
export async function get<T>(path: string, query?: Params, signal?: AbortSignal): Promise<T> {
    return (await getWith<T>(path, query, signal)).data;
}
/** The body as it is: a cached value may be anything. */
export async function getRaw(path: string, query?: Params): Promise<Answer<ArrayBuffer>> {
    const { response, began, read } = await ask('GET', path, { ...(query && { query }) });
    const data = await read(response.arrayBuffer());
    return { data, tookMs: performance.now() - began, bytes: data.byteLength, headers: response.headers };
}
export async function send<T>(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown, query?: Params): Promise<T | null> {
    const { response, read } = await ask(method, path, { ...(body !== undefined && { body }), ...(query && { query }) });
    const text = await read(response.text());
    return text ? (JSON.parse(text) as T) : null;
}

/** revision · bars, as people say it. */
export function versionText(v: Version): string {
    return `r${v.revision} · ${v.bars}`;
}
