// What goes where: from the applications to policies, and from these to where they lead. The width
// of a band is its share of the bytes a second, in both directions.

import { drawn, isBuiltIn, rate } from "./format.js";

const NODE = 10;
const ROW = 50;
const PAD = 12;
const HEAD = 40;
const THINNEST = 3;
const LEADS = {
  reply: "answered here", drop: "dropped", reject: "rejected", bypass: "the system's own routes",
};

export function diagram(width, policies, colour) {
  const shown = policies.filter((each) => !isBuiltIn(each.name) || each.packets || each.rate);
  const narrow = width < 620;
  const total = shown.reduce((sum, each) => sum + each.rate, 0);
  const spare = Math.max(90, shown.length * 22);
  const heights = shown.map((each) =>
    total && each.rate ? Math.max(THINNEST, spare * each.rate / total) : 1);
  const rows = heights.map((size) => Math.max(ROW, size + PAD));
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
  const height = HEAD + sum(rows);
  const xPolicy = Math.round(width * (narrow ? 0.28 : 0.3));
  const xEnd = width - (narrow ? NODE : 170);
  const top = HEAD;
  const below = [], above = [];
  let yLeft = top, row = HEAD;
  shown.forEach((each, place) => {
    const size = heights[place], y = row + (rows[place] - size) / 2, middle = row + rows[place] / 2;
    const kind = `${colour(each.name)} band${each.rate ? "" : " idle"}`;
    below.push(band(NODE, yLeft, xPolicy, y, size, kind));
    above.push(node(xPolicy, y, Math.max(THINNEST, size), colour(each.name)));
    above.push(...label(each, xPolicy + NODE + 8, middle, size, narrow));
    if (each.up && !narrow) {
      below.push(band(xPolicy + NODE, y, xEnd, y, size, kind));
      above.push(node(xEnd, y, Math.max(THINNEST, size), colour(each.name)));
      above.push(text(leads(each), xEnd + NODE + 8, middle + 4, "soft"));
    }
    yLeft += size;
    row += rows[place];
  });
  above.push(node(0, top, Math.max(1, yLeft - top), "p-all"));
  above.push(text("all traffic", 0, top - 24, "strong"), text(rate(total), 0, top - 8, "soft"));
  const summary = shown.map((each) => `${each.name} ${each.up ? rate(each.rate) : "down"}`).join(", ");
  return drawn("svg", {
    viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Bytes a second by policy: ${summary}`,
  }, ...below, ...above);
}

function leads(each) {
  return LEADS[each.name] ?? each.interface ?? "";
}

function label(each, x, middle, size, narrow) {
  const where = narrow && each.up && leads(each) ? ` → ${leads(each)}` : "";
  const numbers = each.up ? `↑ ${rate(each.out)}  ↓ ${rate(each.in)}` : `down: ${each.applies} applies`;
  const kind = each.up ? "soft" : "bad";
  if (narrow || size > 2 * PAD || !each.up) {
    return [text(each.name + where, x, middle - 3, "strong"), text(numbers, x, middle + 13, kind)];
  }
  const one = text(each.name, x, middle - size / 2 - 5, "strong");
  one.append(drawn("tspan", { class: "soft", dx: 10 }, numbers));
  return [one];
}

function text(words, x, y, kind) {
  return drawn("text", { x, y, class: kind }, words);
}

function node(x, y, size, kind) {
  return drawn("rect", { x, y, width: NODE, height: size, rx: 2, class: `${kind} node` });
}

function band(x1, y1, x2, y2, size, kind) {
  const bend = (x1 + x2) / 2;
  const path = `M${x1},${y1} C${bend},${y1} ${bend},${y2} ${x2},${y2} v${size} `
    + `C${bend},${y2 + size} ${bend},${y1 + size} ${x1},${y1 + size} Z`;
  return drawn("path", { d: path, class: kind });
}
