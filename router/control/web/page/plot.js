// Throughput of a policy over the last hour: out above the axis, in below it, on one scale. Where
// nothing is known there is a gap.

import { clock, drawn, element, rate } from "./format.js";

const HEIGHT = 150, LEFT = 80, BOTTOM = 20, TOP = 8;
const HOUR = 3600;
const MIDDLE = TOP + (HEIGHT - TOP - BOTTOM) / 2;

// width: in pixels, so that letters have their size. interval: of seconds, between two times.
export function plot(name, kind, { times, interval, series, policy, width }) {
  const end = times[times.length - 1] ?? 0;
  const known = [...series.out, ...series.in].filter((value) => value !== null);
  const most = scale(Math.max(1000, ...known));
  const x = (time) => LEFT + (width - LEFT - 4) * (1 - (end - time) / HOUR);
  const reach = MIDDLE - TOP;
  const ways = { out: (value) => MIDDLE - reach * value / most, in: (value) => MIDDLE + reach * value / most };
  const cursor = drawn("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  const readout = element("span", { class: "readout" });
  const svg = drawn("svg", {
    viewBox: `0 0 ${width} ${HEIGHT}`, role: "img",
    "aria-label": `Throughput of ${name} over the last hour, at most ${rate(Math.max(0, ...known))}`,
  }, ...axes(most, x, end, width));
  for (const [way, y] of Object.entries(ways)) svg.append(...curve(times, interval, series[way], x, y, way));
  svg.append(cursor);
  const lastKnown = Math.max(series.out.findLastIndex((value) => value !== null),
    series.in.findLastIndex((value) => value !== null));
  const isLatest = lastKnown === times.length - 1;
  const latest = () => lastKnown < 0
    || show(readout, isLatest ? "latest" : `last at ${clock(times[lastKnown])}`, series, lastKnown);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const place = nearest(times, x, (event.clientX - box.left) * width / box.width);
    cursor.setAttribute("x1", x(times[place]));
    cursor.setAttribute("x2", x(times[place]));
    cursor.setAttribute("visibility", "visible");
    show(readout, clock(times[place]), series, place);
  });
  svg.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    latest();
  });
  latest();
  const title = element("strong", {}, element("span", { class: "swatch" }), name);
  const caption = element("figcaption", {}, title);
  if (policy && policy.state !== "up") caption.append(element("span", { class: "badge" }, "down"));
  caption.append(readout);
  return element("figure", { class: kind }, caption, svg);
}

function show(readout, when, series, place) {
  readout.textContent = `${when}: ↑ ${rate(series.out[place])}  ↓ ${rate(series.in[place])}`;
}

function nearest(times, x, wanted) {
  let best = 0;
  times.forEach((time, place) => {
    if (Math.abs(x(time) - wanted) < Math.abs(x(times[best]) - wanted)) best = place;
  });
  return best;
}

function scale(most) {
  const step = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((times) => times * step).find((value) => value >= most);
}

function axes(most, x, end, width) {
  const parts = [];
  for (const [y, words] of [[TOP, `↑ ${rate(most)}`], [MIDDLE, "0"], [HEIGHT - BOTTOM, `↓ ${rate(most)}`]]) {
    parts.push(drawn("line", { class: "grid", x1: LEFT, x2: width - 4, y1: y, y2: y }));
    const shift = y === TOP ? 9 : y === MIDDLE ? 4 : 0;
    parts.push(drawn("text", { class: "soft", x: LEFT - 6, y: y + shift, "text-anchor": "end" }, words));
  }
  for (const minutes of width < 350 ? [60, 30, 0] : [60, 40, 20, 0]) {
    const anchor = minutes === 60 ? "start" : minutes === 0 ? "end" : "middle";
    const words = minutes ? `−${minutes} min` : "now";
    parts.push(drawn("text", {
      class: "soft", x: x(end - minutes * 60), y: HEIGHT - 5, "text-anchor": anchor,
    }, words));
  }
  return parts;
}

// A value is that of the interval before its time.
function curve(times, interval, values, x, y, way) {
  const parts = [];
  let run = [];
  const finish = () => {
    if (run.length) {
      run.unshift([run[0][0] - interval, run[0][1]]);
      const line = run.map(([time, value]) => `${x(time).toFixed(1)},${y(value).toFixed(1)}`).join(" L");
      const [first, last] = [x(run[0][0]).toFixed(1), x(run[run.length - 1][0]).toFixed(1)];
      parts.push(drawn("path", { class: `area ${way}`, d: `M${first},${MIDDLE} L${line} L${last},${MIDDLE} Z` }));
      parts.push(drawn("path", { class: `edge ${way}`, d: `M${line}` }));
    }
    run = [];
  };
  times.forEach((time, place) => {
    if (values[place] === null) finish();
    else run.push([time, values[place]]);
  });
  finish();
  return parts;
}
