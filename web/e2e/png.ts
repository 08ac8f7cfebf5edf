// SPDX-License-Identifier: Apache-2.0
// A picture of a page with at most 256 colours: such pictures have few, and a third of the size.
import { deflateSync, inflateSync } from 'node:zlib';

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n >>> 0;
});
function crc(data: Buffer): number {
    let c = 0xffffffff;
    for (const b of data) c = CRC[(c ^ b) & 0xff]! ^ (c >>> 8);
    return (c ^ 0xffffffff) >>> 0;
}
function chunk(type: string, data: Buffer): Buffer {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]), head = Buffer.alloc(4), tail = Buffer.alloc(4);
    head.writeUInt32BE(data.length);
    tail.writeUInt32BE(crc(body));
    return Buffer.concat([head, body, tail]);
}

interface Pixels { width: number; height: number; rgb: Uint8Array }
/** Of 8 bits a channel, without interlacing: what browsers write. */
function decode(png: Buffer): Pixels {
    let width = 0, height = 0, channels = 0;
    const packed: Buffer[] = [];
    for (let at = 8; at < png.length;) {
        const n = png.readUInt32BE(at), type = png.toString('latin1', at + 4, at + 8), data = png.subarray(at + 8, at + 8 + n);
        if (type === 'IHDR') {
            width = data.readUInt32BE(0);
            height = data.readUInt32BE(4);
            channels = { 2: 3, 6: 4 }[data[9]!] ?? 0;
            if (data[8] !== 8 || !channels || data[12] !== 0) throw new Error('a PNG of another kind');
        } else if (type === 'IDAT') packed.push(data);
        at += n + 12;
    }
    const raw = inflateSync(Buffer.concat(packed)), stride = width * channels, lines = new Uint8Array(height * stride), rgb = new Uint8Array(width * height * 3);
    for (let y = 0; y < height; y++) {
        const filter = raw[y * (stride + 1)]!, from = y * (stride + 1) + 1, to = y * stride;
        for (let x = 0; x < stride; x++) {
            const a = x >= channels ? lines[to + x - channels]! : 0, b = y > 0 ? lines[to + x - stride]! : 0, c = x >= channels && y > 0 ? lines[to + x - stride - channels]! : 0;
            const p = a + b - c, pa = Math.abs(p - a), pb = Math.abs(p - b), pc = Math.abs(p - c);
            const guess = filter === 0 ? 0 : filter === 1 ? a : filter === 2 ? b : filter === 3 ? (a + b) >> 1 : pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
            lines[to + x] = raw[from + x]! + guess;
        }
        for (let x = 0; x < width; x++) for (let k = 0; k < 3; k++) rgb[(y * width + x) * 3 + k] = lines[to + x * channels + k]!;
    }
    return { width, height, rgb };
}

/** The most frequent colours as they are, then those that are not too near to one another; and the nearest for each other one. */
function palette(rgb: Uint8Array): { colours: number[]; index: Map<number, number> } {
    const counts = new Map<number, number>();
    for (let i = 0; i < rgb.length; i += 3) {
        const c = (rgb[i]! << 16) | (rgb[i + 1]! << 8) | rgb[i + 2]!;
        counts.set(c, (counts.get(c) ?? 0) + 1);
    }
    const all = [...counts].sort((a, b) => b[1] - a[1]).map(([c]) => c), colours = all.slice(0, 96);
    const far = (a: number, b: number): number => ((a >> 16) - (b >> 16)) ** 2 + (((a >> 8) & 255) - ((b >> 8) & 255)) ** 2 + ((a & 255) - (b & 255)) ** 2;
    for (let least = 400; colours.length < Math.min(256, all.length); least = least > 1 ? least >> 1 : 0)
        for (const c of all) if (colours.length < 256 && !colours.includes(c) && colours.every((x) => far(x, c) > least)) colours.push(c);
    const index = new Map<number, number>();
    for (const c of all) {
        let best = 0;
        for (let i = 1; i < colours.length; i++) if (far(colours[i]!, c) < far(colours[best]!, c)) best = i;
        index.set(c, best);
    }
    return { colours, index };
}

export function fewColours(png: Buffer): Buffer {
    const { width, height, rgb } = decode(png), { colours, index } = palette(rgb), rows = Buffer.alloc(height * (width + 1));
    for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) {
            const i = (y * width + x) * 3;
            rows[y * (width + 1) + 1 + x] = index.get((rgb[i]! << 16) | (rgb[i + 1]! << 8) | rgb[i + 2]!)!;
        }
    const head = Buffer.alloc(13);
    head.writeUInt32BE(width, 0);
    head.writeUInt32BE(height, 4);
    head.set([8, 3, 0, 0, 0], 8);
    return Buffer.concat([SIGNATURE, chunk('IHDR', head), chunk('PLTE', Buffer.from(colours.flatMap((c) => [c >> 16, (c >> 8) & 255, c & 255]))),
        chunk('IDAT', deflateSync(rows, { level: 9, memLevel: 9 })), chunk('IEND', Buffer.alloc(0))]);
}
