// What goes where: from the applications to policies, and from these to where they lead. The width
// of a band is its share of the bytes a second, in both directions.

import { drawn, isBuiltIn, rate } from "./format.js";

const NODE = 10;
const ROW = 50;
const PAD = 12;
const HEAD = 40;
const THINNEST = 3;
const TWO_LINES = 34;
const LEAD = 16;
const SIZES = { strong: "600 13px", soft: "12px", bad: "13px" };
// LEAD: room above a thin band, for its label. SIZES: of letters, as in style.css.
const LEADS = {
  reply: "answered here", drop: "dropped", reject: "rejected", bypass: "the system's own routes",
};

const ruler = document.createElement("canvas").getContext("2d");

export function diagram(width, policies, colour) {
  const shown = policies.filter((each) => !isBuiltIn(each.name) || each.packets || each.rate);
  shown.sort((a, b) => isBuiltIn(a.name) - isBuiltIn(b.name));
  const narrow = width < 620;
  const total = shown.reduce((sum, each) => sum + each.rate, 0);
  const spare = Math.max(90, shown.length * 22);
  const heights = shown.map((each) =>
    total && each.rate ? Math.max(THINNEST, spare * each.rate / total) : 1);
  // A thin band has its label above itself.
  const leads = shown.map((each, place) =>
    narrow || heights[place] >= TWO_LINES || !each.up ? 0 : LEAD);
  const rows = heights.map((size, place) => Math.max(ROW, size + PAD + leads[place]));
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
  const height = HEAD + sum(rows);
  const xPolicy = Math.round(width * (narrow ? 0.28 : 0.3));
  const xEnd = width - (narrow ? NODE : 170);
  const top = HEAD;
  const below = [], above = [];
  let yLeft = top, row = HEAD;
  shown.forEach((each, place) => {
    const size = heights[place], lead = leads[place];
    const y = row + lead + (rows[place] - lead - size) / 2, middle = y + size / 2;
    const kind = `${colour(each.name)} band${each.rate ? "" : " idle"}`;
    below.push(band(NODE, yLeft, xPolicy, y, size, kind));
    above.push(node(xPolicy, y, Math.max(THINNEST, size), colour(each.name)));
    const x = xPolicy + NODE + 8;
    above.push(...label(each, x, middle, size, (narrow ? width : xEnd - 8) - x, narrow));
    if (each.up && !narrow) {
      below.push(band(xPolicy + NODE, y, xEnd, y, size, kind));
      above.push(node(xEnd, y, Math.max(THINNEST, size), colour(each.name)));
      const right = xEnd + NODE + 8;
      above.push(text(end(each), right, middle + 4, "soft", width - right));
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

function end(each) {
  return LEADS[each.name] ?? each.server ?? each.interface ?? "";
}

// room: as wide as it may be.
function label(each, x, middle, size, room, narrow) {
  const long = each.name + (narrow && each.up && end(each) ? ` → ${end(each)}` : "");
  const name = widthOf(long, "strong") <= room ? long : each.name;
  const numbers = each.up ? `↑ ${rate(each.out)}  ↓ ${rate(each.in)}` : `down: ${each.applies} applies`;
  const kind = each.up ? "soft" : "bad";
  if (narrow || size >= TWO_LINES || !each.up) {
    return [text(name, x, middle - 3, "strong", room), text(numbers, x, middle + 13, kind, room)];
  }
  const left = room - 10 - widthOf(numbers, "soft");
  const one = text(name, x, middle - size / 2 - 5, "strong", left);
  one.append(drawn("tspan", { class: "soft", dx: 10 }, numbers));
  return [one];
}

// room: as wide as it may be; what is cut shows as a whole under the pointer.
function text(words, x, y, kind, room = Infinity) {
  if (widthOf(words, kind) <= room) return drawn("text", { x, y, class: kind }, words);
  let letters = words.length;
  while (letters > 0 && widthOf(`${words.slice(0, letters)}…`, kind) > room) letters -= 1;
  return drawn("text", { x, y, class: kind }, drawn("title", {}, words), `${words.slice(0, letters)}…`);
}

function widthOf(words, kind) {
  ruler.font = `${SIZES[kind]} ${getComputedStyle(document.body).fontFamily}`;
  return ruler.measureText(words).width;
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
