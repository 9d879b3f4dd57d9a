// The numbers: rings of samples, figures over the chosen time, and lines drawn by uPlot.

import { find, make, micros, percent, short } from "./dom.js";

const STEP = { "1s": 1, "10s": 10, "60s": 60 };
const KEPT = { "1s": 300, "10s": 360, "60s": 1440 };
const SPAN = { "1s": "the last 5 minutes", "10s": "the last hour", "60s": "the last 24 hours" };
const HEIGHT = 96;

const sum = (values) => values.reduce((all, one) => all + (one ?? 0), 0);
const add = (...columns) => columns[0].map((_, at) =>
  (columns.some((column) => column[at] !== null) ? sum(columns.map((column) => column[at])) : null));
const each = (column, change) => column.map((one) => (one === null || one === undefined ? null : change(one)));

// Each chart: its title, its lines (label, dashes, values of a ring), and a sentence of figures.
const CHARTS = [
  {
    title: "Throughput", unit: "requests/s", show: short,
    lines: [["requests/s", [], (r, step) => each(r.requests, (n) => n / step)]],
    figures: (r, seconds) => [`${short(sum(r.requests) / seconds)} requests/s`, `${short(sum(r.requests))} requests`],
  },
  {
    title: "Latency", unit: "time of an answer", show: micros,
    // A second without a request has no latency, and is no gap.
    spanGaps: true,
    lines: [["p50", [], (r) => r.p50_us], ["p99", [6, 3], (r) => r.p99_us]],
    figures: (r) => {
      const weighed = r.p50_us.map((us, at) => (us === null ? 0 : us * r.requests[at]));
      const requests = sum(r.requests.filter((_, at) => r.p50_us[at] !== null));
      const worst = r.p99_us.filter((us) => us !== null);
      return [`p50 ${requests ? micros(sum(weighed) / requests) : "–"}`, `highest p99 ${worst.length ? micros(Math.max(...worst)) : "–"}`];
    },
  },
  {
    title: "Answers by tier", unit: "lookups/s", show: short,
    lines: [
      ["memory", [], (r, step) => each(r.memory, (n) => n / step)],
      ["Redis", [8, 3], (r, step) => each(r.redis, (n) => n / step)],
      ["database", [2, 3], (r, step) => each(r.database, (n) => n / step)],
      ["none", [8, 3, 2, 3], (r, step) => each(r.miss, (n) => n / step)],
    ],
    figures: (r) => {
      const [memory, redis, database, miss] = [r.memory, r.redis, r.database, r.miss].map(sum);
      const hits = memory + redis + database;
      return [`${percent(hits, hits + miss)} from the cache`,
        `memory ${short(memory)}, Redis ${short(redis)}, database ${short(database)}, none ${short(miss)}`];
    },
  },
  {
    title: "Stale answers", unit: "answers/s", show: short,
    lines: [["stale/s", [], (r, step) => each(r.stale, (n) => n / step)]],
    figures: (r) => {
      const hits = sum(add(r.memory, r.redis, r.database));
      return [`${percent(sum(r.stale), hits)} stale`, `${short(sum(r.stale))} of ${short(hits)} cached answers`];
    },
  },
  {
    title: "Errors", unit: "answers/s", show: short,
    lines: [
      ["5xx", [], (r, step) => each(r.server_errors, (n) => n / step)],
      ["4xx", [6, 3], (r, step) => each(r.client_errors, (n) => n / step)],
      ["429", [2, 3], (r, step) => each(r.limited, (n) => n / step)],
    ],
    figures: (r) => [`${short(sum(r.server_errors))} server errors`,
      `${percent(sum(r.server_errors), sum(r.requests))} of requests; ${short(sum(r.client_errors))} client errors, ${short(sum(r.limited))} limited`],
  },
  {
    title: "Upstream calls", unit: "calls/s", show: short,
    lines: [
      ["calls/s", [], (r, step) => each(r.upstream, (n) => n / step)],
      ["failed/s", [6, 3], (r, step) => each(r.upstream_failed, (n) => n / step)],
    ],
    figures: (r) => [`${short(sum(r.upstream))} calls`, `${short(sum(r.upstream_failed))} failed`],
  },
];

const rings = {};
let drawn = [];
let range = "1s";

/** Takes over the samples of an answer: the last of each column is of the interval before `end`. */
export function learn(series) {
  for (const [name, news] of Object.entries(series ?? {})) {
    const { end, ...columns } = news;
    const ring = rings[name];
    const steps = ring ? Math.round((end - ring.end) / STEP[name]) : Infinity;
    if (steps <= 0) continue;
    const joined = {};
    for (const [column, fresh] of Object.entries(columns)) {
      const old = ring?.columns[column];
      if (!old || steps >= KEPT[name]) joined[column] = fresh.slice(-KEPT[name]);
      else {
        const gap = Array(Math.max(0, steps - fresh.length)).fill(null);
        joined[column] = [...old, ...gap, ...fresh.slice(-steps)].slice(-KEPT[name]);
      }
    }
    rings[name] = { end, columns: joined };
  }
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function options(chart, width, box) {
  const [text, grid] = [colour("--muted"), colour("--line")];
  const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  const pad = (number) => String(number).padStart(2, "0");
  const hour = (at) => { const d = new Date(at * 1000); return `${pad(d.getHours())}:${pad(d.getMinutes())}`; };
  return {
    width, height: HEIGHT,
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 5 } },
    legend: { show: false },
    // The whole time that was chosen, also while less of it is known.
    scales: { x: { range: () => [rings[range].end - KEPT[range] * STEP[range], rings[range].end] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
    axes: [
      { ...axis, size: 22, space: 60, values: (_, splits) => splits.map(hour) },
      { ...axis, size: 52, space: 28, values: (_, splits) => splits.map((value) => chart.show(value)) },
    ],
    series: [{}, ...chart.lines.map(([label, dash], at) => ({
      label, dash, stroke: colour(`--series-${at + 1}`), width: 1.5, spanGaps: Boolean(chart.spanGaps), points: { show: false },
    }))],
    hooks: {
      setCursor: [(plot) => {
        const at = plot.cursor.idx;
        const pointed = at === null || at === undefined || plot.cursor.left < 0;
        box.textContent = pointed ? "" : `${hour(plot.data[0][at])} ${chart.lines.map(([label], line) => `${label} ${chart.show(plot.data[line + 1][at])}`).join(", ")}`;
      }],
    },
  };
}

function build() {
  drawn.forEach(({ plot }) => plot?.destroy());
  const place = find("charts");
  drawn = CHARTS.map((chart) => {
    const [big, small] = [make("p", { className: "big" }), make("p", { className: "small" })];
    const canvas = make("div", { className: "plot", role: "img" });
    const pointed = make("p", { className: "pointed", "aria-hidden": "true" });
    const key = make("p", { className: "key", "aria-hidden": "true" }, chart.lines.length < 2 ? chart.unit
      : chart.lines.map(([label], at) => make("span", { className: `line-${at + 1}`, textContent: label })));
    const card = make("div", { className: "card" }, make("h3", { textContent: chart.title }), big, small, canvas, pointed, key);
    return { chart, card, big, small, canvas, pointed, plot: undefined };
  });
  place.replaceChildren(...drawn.map(({ card }) => card));
}

/** Draws what is known for the chosen time. */
export function draw() {
  const ring = rings[range];
  if (!ring) return;
  if (drawn.length === 0) build();
  const step = STEP[range];
  const length = ring.columns.requests.length;
  const times = Array.from({ length }, (_, at) => ring.end - (length - 1 - at) * step);
  const measured = ring.columns.requests.filter((one) => one !== null).length;
  for (const one of drawn) {
    const { chart, canvas, big, small, pointed } = one;
    const [first, second] = chart.figures(ring.columns, Math.max(1, measured) * step);
    big.textContent = first;
    small.textContent = second;
    canvas.setAttribute("aria-label", `${chart.title} over ${SPAN[range]}: ${first}; ${second}.`);
    const data = [times, ...chart.lines.map(([, , values]) => values(ring.columns, step))];
    const width = canvas.clientWidth;
    if (width === 0) continue;
    if (one.plot && one.width === width) one.plot.setData(data);
    else {
      one.plot?.destroy();
      one.width = width;
      one.plot = new window.uPlot(options(chart, width, pointed), data, canvas);
    }
  }
}

export function choose(name) {
  range = name;
  draw();
}

/** Another size, or light became dark. */
export function redraw() {
  drawn.forEach((one) => { one.width = 0; });
  draw();
}
