// The page: asks once a second for what is to be seen, and shows it. It changes nothing.

import { diagram } from "./diagram.js";
import {
  bytes, clock, colours, count, duration, element, endpoint, isBuiltIn, milliseconds, moment,
} from "./format.js";
import { plot } from "./plot.js";

const INTERVAL = 1000;
const HISTORY_INTERVAL = 10000;
const FIRST_HISTORY_INTERVAL = 2000;
const EVENTS_SHOWN = 200;
const MOST_MISSES = 3;

const find = (id) => document.getElementById(id);
let former = null;
let colour = colours([]);
let events = [];
let last = 0;
let status = null;
let shownAt = 0;
let history = { times: [], policies: {} };
let misses = 0;

async function fetched(path, query) {
  const response = await fetch(`${path}?${new URLSearchParams(query)}`, { cache: "no-store" });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function refresh() {
  const query = { after: last, search: find("flow-search").value, sort: find("flow-order").value };
  if (find("never-hit").checked) query.never_hit = 1;
  try {
    show(await fetched("/api/page", query));
    misses = 0;
  } catch {
    misses += 1;
    if (misses >= MOST_MISSES) showTrouble("The web process cannot be reached. It is asked again and again.");
  }
  setTimeout(refresh, document.hidden ? 5 * INTERVAL : INTERVAL);
}

function show(answer) {
  if (answer.last < last) events = [];
  last = answer.last;
  if (answer.events.length) showEvents(answer.events);
  if (answer.error !== undefined) {
    showTrouble(`The router cannot be reached: ${answer.error}`);
    return;
  }
  find("trouble").hidden = true;
  document.body.classList.remove("stale");
  find("answer-note").hidden = true;
  shownAt = Date.now() / 1000;
  status = answer.status;
  colour = colours(Object.keys(status.policies));
  setState("running", "up");
  showFacts(answer);
  showDiagram();
  if (!isSelecting()) {
    showFlows(answer.flows);
    showRules(answer);
  }
  showDrops(status.drops);
}

// What somebody has marked, to copy it, stays.
function isSelecting() {
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed;
}

function setState(words, kind) {
  const state = find("state");
  if (state.textContent !== words) state.textContent = words;
  state.className = `pill ${kind}`;
}

function showTrouble(why) {
  former = null;
  setState("not reached", "down");
  document.body.classList.toggle("stale", status !== null);
  find("answer-note").hidden = find("answer").querySelector("dl") === null;
  const words = status === null ? why : `${why} – What is shown here is of ${clock(shownAt)}.`;
  const trouble = find("trouble");
  if (trouble.textContent !== words) trouble.textContent = words;
  trouble.hidden = false;
}

function showFacts(answer) {
  const facts = {
    "up": duration(status.uptime_s), "TUN": status.tun, "rules": status.rules_file,
    "version": answer.version,
  };
  find("facts").replaceChildren(...Object.entries(facts).map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

function showDiagram() {
  const now = { pid: status.pid, time: status.uptime_s, policies: status.policies };
  if (former === null || former.pid !== now.pid || former.time > now.time) former = now;
  const seconds = now.time - former.time;
  const speed = (name, member) => {
    const before = former.policies[name]?.[member], after = now.policies[name][member];
    if (!seconds || before === undefined || before === null || after === null) return 0;
    return Math.max(0, (after - before) / seconds);
  };
  const policies = Object.entries(now.policies).map(([name, policy]) => {
    const out = speed(name, "bytes_out"), inward = speed(name, "bytes_in");
    return {
      name, out, in: inward, rate: out + inward, up: policy.state === "up", applies: policy.applies,
      interface: policy.interface, server: policy.server, packets: policy.packets_out + (policy.packets_in ?? 0),
    };
  });
  if (seconds || !find("diagram").firstChild) {
    find("diagram").replaceChildren(diagram(Math.max(240, find("diagram").clientWidth), policies, colour));
    former = now;
  }
}

function policyCell(name) {
  return element("td", { class: colour(name), "data-label": "Policy" },
    element("span", { class: "swatch" }), name);
}

function cell(label, words, kind = "") {
  return element("td", { class: kind, "data-label": label }, words);
}

function showFlows(flows) {
  const rows = flows.flows.map((flow) => element("tr", {},
    cell("", flow.protocol),
    cell("From", endpoint(flow.source, flow.source_port, flow.protocol), "wide"),
    cell("To", endpoint(flow.destination, flow.destination_port, flow.protocol), "wide"),
    policyCell(flow.policy),
    cell("Leaves by", `${flow.interface ?? "–"}, ${flow.path}`),
    cell("State", flow.state),
    cell("Out", bytes(flow.bytes_out), "number"),
    cell("In", bytes(flow.bytes_in), "number"),
    cell("Round trip", milliseconds(flow.rtt_ms), "number"),
    cell("Age", duration(flow.age_s), "number")));
  find("flow-table").tBodies[0].replaceChildren(...rows);
  const some = rows.length < flows.total ? `the first ${count(rows.length)} of ` : "";
  find("flow-count").textContent = some + count(flows.total);
  const searched = find("flow-search").value ? "No flow matches." : "No flow at present.";
  const unread = flows.unread.length ? `Not listed: ${flows.unread.join("; ")}` : "";
  find("flow-note").textContent = flows.total ? unread : `${searched} ${unread}`;
}

function showRules(answer) {
  const only = find("never-hit").checked;
  const rules = [...status.rules, { index: "default", text: "what no rule matches", ...status.default }];
  const rows = rules.filter((rule) => !only || (!rule.packets && rule.index !== "default")).map((rule) =>
    element("tr", rule.packets ? {} : { class: "never" },
      cell("Rule", String(rule.index), "number"),
      cell("Line", rule.line === null ? "–" : String(rule.line), "number"),
      policyCell(rule.policy),
      cell("Packets", rule.packets ? count(rule.packets) : "never hit", "number"),
      cell("Flows", count(rule.flows), "number"),
      element("td", { class: "text wide" }, element("code", {}, rule.text))));
  find("rule-table").tBodies[0].replaceChildren(...rows);
  find("rule-note").textContent = !answer.rules_total ? "There are no rules."
    : only && !answer.rules_never_hit ? "Each rule was hit." : "";
  const listed = only ? answer.rules_never_hit : answer.rules_total;
  const some = status.rules.length >= listed ? ""
    : `, the ${only ? "first" : "busiest"} ${count(status.rules.length)} shown`;
  find("rule-count").textContent = `${count(answer.rules_total)}, ${count(answer.rules_never_hit)} never hit${some}`;
}

function showDrops(drops) {
  const sorted = Object.entries(drops).sort((a, b) => b[1] - a[1]);
  const most = sorted.length ? sorted[0][1] : 1;
  const items = sorted.map(([reason, number]) => element("li", {},
    element("span", {}, reason), element("span", { class: "number" }, count(number)),
    element("meter", { max: most, value: number, "aria-label": reason })));
  find("drop-list").replaceChildren(
    ...(items.length ? items : [element("li", { class: "nothing" }, "Nothing so far.")]));
}

function showEvents(news) {
  events = [...events, ...news].slice(-EVENTS_SHOWN);
  find("event-list").replaceChildren(...events.toReversed().map((event) => {
    const { words, kind, rest } = described(event);
    return element("li", {},
      element("time", {}, event.time === undefined ? "" : moment(event.time)),
      element("span", { class: kind }, words), element("span", {}, rest));
  }));
}

function described(event) {
  if (event.event === "policy" && event.state === "up") {
    return { words: `${event.policy} is up`, kind: "good", rest: `by ${event.interface}` };
  }
  if (event.event === "policy") {
    return { words: `${event.policy} is down`, kind: "bad", rest: `${event.why}; ${event.applies} applies` };
  }
  if (event.event === "reload") {
    return { words: "reload", kind: event.reloaded ? "good" : "bad", rest: event.summary };
  }
  if (event.event === "conflict") return { words: "conflict", kind: "bad", rest: event.what };
  if (event.event === "router") {
    const isGone = event.state === "gone";
    return { words: isGone ? "router gone" : "router running", kind: isGone ? "bad" : "good", rest: event.why ?? "" };
  }
  if (event.lost !== undefined) return { words: `${event.lost} events lost`, kind: "bad", rest: "" };
  return { words: event.event, kind: "", rest: JSON.stringify(event) };
}

async function refreshHistory() {
  try {
    history = await fetched("/api/history", {});
    if (!find("plots").matches(":hover")) showHistory();
  } catch {
    // The other request says so.
  }
  const isShown = find("plots").querySelector("figure") !== null;
  setTimeout(refreshHistory, isShown ? HISTORY_INTERVAL : FIRST_HISTORY_INTERVAL);
}

function showHistory() {
  const names = Object.keys(history.policies).filter((name) => !isBuiltIn(name)
    || [...history.policies[name].out, ...history.policies[name].in].some((value) => value));
  if (!names.length || history.times.length < 2) return;
  const order = Object.keys(status?.policies ?? {});
  names.sort((a, b) => isBuiltIn(a) - isBuiltIn(b) || order.indexOf(a) - order.indexOf(b));
  if (status === null) colour = colours(names);
  const width = Math.max(240, parseFloat(getComputedStyle(find("plots")).gridTemplateColumns));
  find("plots").replaceChildren(...names.map((name) => plot(name, colour(name), {
    times: history.times, interval: history.interval_s, series: history.policies[name],
    policy: status?.policies[name], width,
  })));
}

// The lines of the command: an address, then words with a key before them, or without as before.
function explained(text) {
  return text.split("\n\n").flatMap((block) => {
    const [destination, ...lines] = block.split("\n");
    const list = element("dl");
    for (const line of lines) {
      const [, key, words] = line.match(/^ {2}(\S*) +(.*)$/) ?? [null, "", line];
      list.append(element("dt", {}, key), element("dd", {}, words));
    }
    return [element("h3", {}, destination), list];
  });
}

async function explain(event) {
  event.preventDefault();
  const answer = find("answer");
  const form = new FormData(find("explain-form"));
  try {
    const found = await fetched("/api/explain", form);
    answer.replaceChildren(...(found.error === undefined
      ? explained(found.text)
      : [element("p", { class: "failure" }, found.error)]));
  } catch {
    answer.replaceChildren(element("p", { class: "failure" }, "The web process cannot be reached."));
  }
}

find("explain-form").addEventListener("submit", explain);
window.addEventListener("resize", showHistory);
refresh();
refreshHistory();
