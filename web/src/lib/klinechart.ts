// SPDX-License-Identifier: Apache-2.0
// The only place that knows klinecharts, in a chunk of its own. It draws what it is given and computes nothing: the
// indicators' `calc` puts our rows beside the bars, by their times.
import { dispose, init, registerIndicator, type Chart, type DataLoader, type DeepPartial, type IndicatorFigure, type Styles } from 'klinecharts';
import type { Candle } from './candles';
import type { Row } from './series';
import type { FigureKind } from './specs';
import { letPageScroll } from './touch';

export interface Look {
    up: string; down: string; flat: string; text: string; muted: string; line: string; grid: string; card: string;
    markText: string; series: readonly string[];
}
export interface Outline { ticker: string; precision: number; timezone: string; period: { type: 'minute' | 'day' | 'week' | 'month'; span: number } }
export interface Drawn {
    id: string; title: string; onPrice: boolean;
    outputs: { key: string; kind: FigureKind; color: number }[];
    rows: ReadonlyMap<number, Row>;
    digits: number; big: boolean;
}
export interface Shown { bars: number; first: number | null; last: number | null }
type Point = Record<string, number | boolean>;
type Figure = IndicatorFigure<any>; // klinecharts' own types leave the rows of an indicator that is created unknown

const OURS = 'TIERLINE', VOLUME = 'volume', CANDLES = 'candle_pane';
const NARROW = 520; // there the words over the candles would hide them: only beside the crosshair
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif";

registerIndicator<Point>({ name: OURS, calc: () => [] });

export class ChartView {
    private readonly chart: Chart;
    private look: Look;
    private narrow: boolean;
    private candles: readonly Candle[] = [];
    private more = false;
    private newest: ((candle: Candle) => void) | null = null;

    constructor(private readonly element: HTMLElement, private readonly paneHeight: number, look: Look, locale: string, title: string,
        private readonly older: () => Promise<{ candles: Candle[]; more: boolean } | null>, private readonly shown: (s: Shown) => void) {
        this.look = look;
        this.narrow = element.clientWidth <= NARROW;
        this.chart = init(element, { locale: localeName(locale), styles: styles(look, this.narrow), hotkey: { enabled: false }, timezone: 'UTC' })!;
        element.querySelector('[tabindex]')?.setAttribute('tabindex', '-1'); // it would come before everything else
        letPageScroll(element);
        this.setLanguage(locale, title);
        this.chart.setDataLoader(this.loader());
        this.chart.setMaxOffsetLeftDistance(40); // no further than a little beyond the first bar, and the last
        this.chart.setMaxOffsetRightDistance(160);
        this.chart.setOffsetRightDistance(24);
        this.chart.setBarSpace(8);
        const volume: Figure = {
            key: 'volume', title: `${title}: `, type: 'bar', baseValue: 0,
            styles: ({ data }) => ({ color: data.current?.['rises'] === false ? this.look.down : this.look.up }),
        };
        this.chart.createIndicator({
            name: OURS, id: VOLUME, paneId: VOLUME, shortName: '', precision: 0, shouldFormatBigNumber: true, figures: [volume],
            calc: (list) => list.map((d) => (typeof d.volume === 'number' ? { volume: d.volume, rises: d.close >= d.open } : {})),
        });
        this.chart.setPaneOptions({ id: VOLUME, height: 84, minHeight: 40 });
    }

    private loader(): DataLoader {
        return {
            getBars: ({ type, callback }) => {
                if (type === 'init') callback(this.candles.slice(), { forward: this.more, backward: false });
                else if (type === 'forward') {
                    void this.older().then((answer) => {
                        if (!answer) return; // the data were given anew meanwhile
                        callback(answer.candles, { forward: answer.more, backward: false });
                        this.tell();
                    });
                } else callback([], false);
            },
            subscribeBar: ({ callback }) => { this.newest = callback; },
            unsubscribeBar: () => { this.newest = null; },
        };
    }
    private tell(): void {
        const list = this.chart.getDataList(), n = list.length;
        this.shown({ bars: n, first: n > 0 ? list[0]!.timestamp : null, last: n > 0 ? list[n - 1]!.timestamp : null });
    }
    private xOf(dataIndex: number): number {
        return (this.chart.convertToPixel({ dataIndex }) as { x?: number }).x ?? 0;
    }

    /** keepView: the bar that is the last to be seen stays where it is. */
    setBars(candles: readonly Candle[], more: boolean, outline: Outline, keepView: boolean): void {
        const chart = this.chart, seen = chart.getDataList(), at = Math.min(chart.getVisibleRange().to, seen.length) - 1;
        const anchor = keepView && at >= 0 ? { ts: seen[at]!.timestamp, x: this.xOf(at) } : null;
        this.candles = candles;
        this.more = more;
        chart.setTimezone(outline.timezone);
        const period = chart.getPeriod();
        if (period?.type !== outline.period.type || period.span !== outline.period.span) chart.setPeriod(outline.period);
        chart.setSymbol({ ticker: outline.ticker, pricePrecision: outline.precision, volumePrecision: 0 });
        if (anchor) {
            let i = candles.length - 1;
            while (i > 0 && candles[i]!.timestamp > anchor.ts) i--;
            chart.scrollByDistance(anchor.x - this.xOf(i));
        }
        this.tell();
    }
    tail(candles: readonly Candle[]): void {
        for (const c of candles) this.newest?.({ ...c });
        this.tell();
    }

    put(d: Drawn): void {
        const figures = d.outputs.map(({ key, kind, color }): Figure => ({
            key, title: `${key}: `, type: kind, ...(kind === 'bar' && { baseValue: 0 }),
            ...(kind === 'circle' && { attrs: ({ barSpace }) => ({ r: Math.max(1, Math.min(3, barSpace.halfGapBar * 0.6)) }) }),
            styles: ({ data }) => {
                const value = data.current?.[key];
                if (kind !== 'bar') return { color: this.look.series[color % this.look.series.length]! };
                return { color: typeof value === 'number' && value < 0 ? this.look.down : this.look.up };
            },
        }));
        const { rows, outputs } = d;
        const create = {
            name: OURS, id: d.id, shortName: d.title, precision: d.digits, shouldFormatBigNumber: d.big, figures,
            calc: (list: { timestamp: number }[]): Point[] => list.map(({ timestamp }) => {
                const row = rows.get(timestamp), point: Point = {};
                if (row) outputs.forEach((o, i) => { if (typeof row[i] === 'number') point[o.key] = row[i]!; });
                return point;
            }),
        };
        if (this.chart.getIndicators({ id: d.id }).length > 0) {
            this.chart.overrideIndicator(create);
            return;
        }
        const paneId = d.onPrice ? CANDLES : `pane-${d.id}`;
        this.chart.createIndicator({ ...create, paneId }, d.onPrice);
        if (!d.onPrice) this.chart.setPaneOptions({ id: paneId, height: this.paneHeight, minHeight: 50 });
    }
    drop(id: string): void {
        this.chart.removeIndicator({ id });
    }

    setLook(look: Look): void {
        this.look = look;
        this.chart.setStyles(styles(look, this.narrow));
    }
    setLanguage(locale: string, volume: string): void {
        const compact = new Intl.NumberFormat(locale, { notation: 'compact', maximumFractionDigits: 2, useGrouping: false } as Intl.NumberFormatOptions);
        this.chart.setLocale(localeName(locale));
        this.chart.setFormatter({ formatBigNumber: (v) => (Number.isFinite(Number(v)) ? compact.format(Number(v)) : String(v)) });
        const own = this.chart.getIndicators({ id: VOLUME })[0];
        if (own) this.chart.overrideIndicator({ name: OURS, id: VOLUME, figures: own.figures.map((f) => ({ ...f, title: `${volume}: ` })) });
    }

    zoom(by: number): void {
        const { bar } = this.chart.getBarSpace();
        this.chart.setBarSpace(Math.max(1, Math.min(50, bar * by)));
    }
    /** By so much of what is seen; above 0: to older bars. */
    scroll(share: number): void {
        this.chart.scrollByDistance((this.chart.getSize(CANDLES, 'main')?.width ?? 0) * share);
    }
    latest(): void {
        this.chart.scrollToRealTime();
    }
    resize(): void {
        const narrow = this.element.clientWidth <= NARROW;
        if (narrow !== this.narrow) this.chart.setStyles(styles(this.look, (this.narrow = narrow)));
        this.chart.resize();
    }
    dispose(): void {
        dispose(this.element);
    }
}

function localeName(locale: string): string {
    return locale.startsWith('zh') ? 'zh-CN' : 'en-US';
}

function styles(l: Look, narrow: boolean): DeepPartial<Styles> {
    const text = { color: l.muted, family: FONT, size: 12 };
    const axis = { axisLine: { color: l.line }, tickLine: { color: l.line }, tickText: text };
    const cross = { line: { color: l.muted }, text: { color: l.card, backgroundColor: l.text, borderColor: l.text, family: FONT } };
    const bars = { upColor: l.up, downColor: l.down, noChangeColor: l.flat };
    return {
        grid: { horizontal: { color: l.grid }, vertical: { color: l.grid } },
        candle: {
            bar: {
                ...bars, upBorderColor: l.up, downBorderColor: l.down, noChangeBorderColor: l.flat,
                upWickColor: l.up, downWickColor: l.down, noChangeWickColor: l.flat,
            },
            priceMark: {
                high: { color: l.muted, textFamily: FONT }, low: { color: l.muted, textFamily: FONT },
                last: { ...bars, text: { color: l.markText, family: FONT } },
            },
            tooltip: { showRule: narrow ? 'follow_cross' : 'always', title: { show: false }, legend: { ...text, defaultValue: '–' } },
        },
        indicator: {
            bars: [{ ...bars }],
            tooltip: { title: { ...text, color: l.text }, legend: { ...text, defaultValue: '–' } },
        },
        xAxis: axis, yAxis: axis,
        separator: { color: l.line },
        crosshair: { horizontal: cross, vertical: cross },
    };
}
