// Numbers and names for people; elements with text, never with markup.

const UNITS = ["", "k", "M", "G", "T"];

export function amount(number, unit) {
  if (number === null || number === undefined) return "–";
  let scaled = number, place = 0;
  while (scaled >= 999.5 && place < UNITS.length - 1) {
    scaled /= 1000;
    place += 1;
  }
  const digits = place === 0 || scaled >= 99.95 ? 0 : 1;
  return `${scaled.toFixed(digits)} ${UNITS[place]}${unit}`;
}

export const bytes = (number) => amount(number, "B");
export const rate = (number) => amount(number, "B/s");
export const count = (number) => number === null ? "–" : number.toLocaleString("en");

export function milliseconds(number) {
  if (number === null || number === undefined) return "–";
  return `${number < 100 ? Number(number.toPrecision(2)) : number.toFixed(0)} ms`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds % 86400 / 3600)} h`;
}

export function clock(time) {
  return new Date(time * 1000).toLocaleTimeString("en-GB");
}

export function moment(time) {
  const date = new Date(time * 1000);
  const day = date.toDateString() === new Date().toDateString()
    ? "" : `${date.toLocaleDateString("en-CA")} `;
  return day + date.toLocaleTimeString("en-GB");
}

export function endpoint(address, port, protocol) {
  if (protocol === "icmp") return address;
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const BUILT_IN = ["reply", "drop", "reject", "bypass"];
const COLOURS = 8;

export const isBuiltIn = (policy) => BUILT_IN.includes(policy);

// The class that gives a policy its colour, by its place among those of the rules file.
export function colours(names) {
  const own = names.filter((name) => !isBuiltIn(name));
  return (name) => isBuiltIn(name) ? `p-${name}` : `p-c${Math.max(0, own.indexOf(name)) % COLOURS}`;
}
