// The charts of the Crossover tab. A chart shows some columns of each run: colour says which arm, dashes which column.
'use strict';

const SOLID = [], DASHED = [7, 4], DOTTED = [2, 3], MIXED = [9, 3, 2, 3];
const HEIGHT = 190, RECENT = 300;  // px; seconds, as in time_series.py
const CHARTS = [
  {title: 'Requests per second', lines: [['offered', 'offered', DASHED], ['completed', 'completed', SOLID]]},
  {title: 'Without a good answer, per second',
   lines: [['refused', 'refused', SOLID], ['lost', 'lost: failed, timed out, dropped', DASHED]]},
  {title: 'Latency from the due time, ms', time: true,
   lines: [['latency_p50', 'p50', SOLID], ['latency_p95', 'p95', DASHED], ['latency_p99', 'p99', DOTTED]]},
  {title: 'Time per stage, median ms', time: true,
   lines: [['server', 'server', SOLID], ['prepare', 'prepare', DASHED], ['wait', 'wait for a worker', DOTTED]]},
  {title: 'In flight: due and not finished', lines: [['in_flight', 'in flight', SOLID]]},
  {title: 'Server queue of each step, mean ms per request', time: true, prefix: 'queue ', lines: []},
  {title: 'Client CPU, % of its cores', lines: [['cpu', 'client CPU', SOLID]]},
  {title: 'Dispatch lag p99, ms', time: true, lines: [['lag_p99', 'lag', SOLID]]},
];

const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colour = run => css(`--arm-${run.colour % 6}`);
const figure = value => value == null ? '–' : value >= 1000 ? String(Math.round(value)) : String(+value.toPrecision(3));
const clock = s => s < 120 ? `${+s.toFixed(1)} s` : `${Math.floor(s / 60)}:${String(Math.round(s % 60)).padStart(2, '0')}`;

// The points of a line that have no neighbour, and would not be seen.
function lonely(plot, number) {
  const column = plot.data[number], has = n => column[n] != null;
  return [...column.keys()].filter(n => has(n) && !has(n - 1) && !has(n + 1));
}

function dashes(pattern) {
  const space = 'http://www.w3.org/2000/svg', svg = document.createElementNS(space, 'svg');
  const line = document.createElementNS(space, 'line');
  for (const [key, value] of Object.entries({x1: 0, x2: 30, y1: 4, y2: 4, stroke: 'currentColor', 'stroke-width': 2,
    'stroke-dasharray': pattern.join(' ')})) line.setAttribute(key, value);
  svg.append(line);
  return svg;
}

class Chart {
  constructor(spec, place) {
    this.spec = spec;
    this.keys = element('span');
    this.values = element('div', {class: 'values'});
    this.plot = element('div', {class: 'plot'});
    const caption = element('figcaption', {}, element('h3', {}, spec.title), this.keys);
    place.append(element('figure', {}, caption, this.values, this.plot));
    new ResizeObserver(() => {
      if (this.drawn && this.plot.clientWidth) this.drawn.setSize({width: this.plot.clientWidth, height: HEIGHT});
    }).observe(this.plot);
  }

  // `shown` is a list of {run, columns}; `range` is [from, to] in seconds.
  draw(shown, range, log) {
    const lines = this.lines(shown);
    const series = shown.flatMap(({run, columns}) => lines.filter(([name]) => columns[name]?.some(v => v != null))
      .map(([name, label, dash]) => ({run, name, label, dash, columns})));
    const shape = JSON.stringify([series.map(each => [each.run.number, each.name, each.dash]), log && this.spec.time,
      document.documentElement.dataset.theme]);
    if (shape !== this.shape) this.begin(series, lines, log && this.spec.time);
    this.shape = shape;
    this.series = series;
    if (!series.length) return;
    const positive = value => value > 0 ? value : null;
    const tables = shown.map(({run, columns}) => [columns.t, ...series.filter(each => each.run === run)
      .map(({name}) => log && this.spec.time ? columns[name].map(positive) : columns[name])]);
    this.range = range;
    this.drawn.setData(uPlot.join(tables));
    this.tell();
  }

  // The columns to show; those of a server's steps are known only from the data.
  lines(shown) {
    const {prefix, lines} = this.spec;
    if (!prefix) return lines;
    const names = new Set(shown.flatMap(({columns}) => Object.keys(columns).filter(name => name.startsWith(prefix))));
    return [...names].sort().map((name, n) => [name, name.slice(prefix.length), [SOLID, DASHED, DOTTED, MIXED][n % 4]]);
  }

  begin(series, lines, log) {
    this.drawn?.destroy();
    this.drawn = null;
    this.keys.replaceChildren(...lines.map(([, label, dash]) => element('span', {class: 'key'}, dashes(dash), label, ' ')));
    this.values.replaceChildren();
    if (!series.length) {
      this.plot.replaceChildren(element('p', {class: 'empty'}, 'nothing measured'));
      return;
    }
    this.plot.replaceChildren();
    const axis = {stroke: css('--dim'), font: '12px system-ui, sans-serif', ticks: {stroke: css('--line'), width: 1},
      grid: {stroke: css('--line'), width: 1}};
    this.drawn = new uPlot({
      width: this.plot.clientWidth || 300, height: HEIGHT, legend: {show: false},
      cursor: {sync: {key: 'crossover'}, drag: {x: false, y: false}, points: {size: 6}},
      scales: {
        x: {time: false, range: () => this.range},
        y: log ? {distr: 3} : {range: (plot, low, high) => [0, high > 0 ? high * 1.08 : 1]},
      },
      axes: [
        {...axis, size: 30, incrs: [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 18000], values: (plot, ticks) => ticks.map(clock)},
        {...axis, size: 52, values: (plot, ticks) => ticks.map(tick => tick == null ? '' : figure(tick))},
      ],
      series: [{}, ...series.map(({run, dash}) => ({stroke: colour(run), width: 1.75, dash, spanGaps: Boolean(this.spec.prefix),
        points: {size: 4, filter: lonely}}))],
      hooks: {setCursor: [() => this.tell()]},
    }, [[0], ...series.map(() => [null])], this.plot);
  }

  // The figures under the pointer, or the last ones, in the arm's colour.
  tell() {
    if (!this.drawn || !this.series) return;
    const at = this.drawn.cursor.idx, time = at == null ? null : this.drawn.data[0][at], told = new Map();
    this.series.forEach(({run, label}, n) => {
      const column = this.drawn.data[n + 1];
      const value = at == null ? column.findLast(each => each != null) : column[at];
      if (!told.has(run)) told.set(run, []);
      told.get(run).push(`${label} ${figure(value)}`);
    });
    this.values.replaceChildren(...(time == null ? [] : [element('span', {}, `at ${clock(time)}`)]), ...[...told].map(
      ([run, texts]) => {
        const text = element('b', {}, texts.join(' · '));
        text.style.setProperty('--colour', colour(run));
        return element('span', {}, text);
      }));
  }
}

// Add the points of `more` to those known; points of the same time are replaced, and only `keep` stay.
function merge(known, more, keep = Infinity) {
  if (!known || !more?.t.length) return known || more;
  const from = more.t[0] - more.width + 1e-6, rest = known.t.findIndex(t => t > from);
  const count = rest < 0 ? known.t.length : rest, result = {width: more.width};
  for (const name of new Set([...Object.keys(known), ...Object.keys(more)])) {
    if (name === 'width') continue;
    const old = known[name]?.slice(0, count) ?? Array(count).fill(null);
    result[name] = [...old, ...(more[name] ?? Array(more.t.length).fill(null))].slice(-keep);
  }
  return result;
}
