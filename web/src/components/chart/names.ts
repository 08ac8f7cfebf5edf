// SPDX-License-Identifier: Apache-2.0
// What the registry calls things in English, for people: its own titles, and Chinese ones. A name that is not here is
// shown as the server says it.
import { language } from '../../i18n';
import type { Indicator } from '../../lib/types';

const TITLES: Record<string, string> = {
    AD: '累积/派发线', ADOSC: '蔡金累积/派发震荡', ADX: '平均趋向指数', ADXR: '平均趋向指数评估', APO: '绝对价格震荡',
    AROON: '阿隆指标', AROONOSC: '阿隆震荡', ATR: '平均真实波幅', AVGPRICE: '平均价格', BBANDS: '布林带', BOP: '均势指标',
    CCI: '顺势指标', CDLDOJI: '十字星', CDLENGULFING: '吞没形态', CDLHAMMER: '锤头线', CMO: '钱德动量摆动', DEMA: '双重指数移动平均',
    DX: '动向指数', EMA: '指数移动平均', KDJ: '随机指标 KDJ', LINEARREG: '线性回归', LINEARREG_ANGLE: '线性回归角度',
    LINEARREG_INTERCEPT: '线性回归截距', LINEARREG_SLOPE: '线性回归斜率', MA: '移动平均', MACD: '指数平滑异同移动平均', MAX: '区间最高值',
    MEDPRICE: '中间价', MFI: '资金流量指标', MIDPOINT: '区间中点', MIDPRICE: '区间中间价', MIN: '区间最低值', MINUS_DI: '下降动向指标',
    MOM: '动量', NATR: '归一化平均真实波幅', OBV: '能量潮', PLUS_DI: '上升动向指标', PPO: '价格震荡百分比', ROC: '变动率（百分比）',
    ROCP: '变动率（小数）', ROCR: '变动率（比值）', RSI: '相对强弱指标', SAR: '抛物线转向', SMA: '简单移动平均', STDDEV: '标准差',
    STOCH: '随机指标', STOCHF: '快速随机指标', STOCHRSI: '随机相对强弱', SUM: '区间求和', TEMA: '三重指数移动平均', TRANGE: '真实波幅',
    TRIX: '三重平滑变动率', TSF: '时间序列预测', TYPPRICE: '典型价格', ULTOSC: '终极震荡', VAR: '方差', WCLPRICE: '加权收盘价',
    WILLR: '威廉指标', WMA: '加权移动平均',
};
const PARAMS: Record<string, string> = {
    TimePeriod: '周期', TimePeriod1: '周期一', TimePeriod2: '周期二', TimePeriod3: '周期三', FastPeriod: '快线周期', SlowPeriod: '慢线周期',
    SignalPeriod: '信号线周期', MAType: '均线类型', NbDevUp: '上轨倍数', NbDevDn: '下轨倍数', NbDev: '标准差倍数', Acceleration: '加速因子',
    Maximum: '加速因子上限', K_Period: 'K 周期', D_Period: 'D 周期', FastK_Period: '快速 K 周期', FastD_Period: '快速 D 周期',
    FastD_MAType: '快速 D 均线类型', SlowK_Period: '慢速 K 周期', SlowK_MAType: '慢速 K 均线类型', SlowD_Period: '慢速 D 周期',
    SlowD_MAType: '慢速 D 均线类型',
};

export function indicatorTitle(i: Indicator): string {
    return (language.value === 'zh' ? TITLES[i.name] : undefined) ?? i.title;
}
export function paramTitle(name: string): string {
    return (language.value === 'zh' ? PARAMS[name] : undefined) ?? name;
}
