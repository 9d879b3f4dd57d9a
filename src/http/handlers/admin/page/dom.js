// Makes elements and words. Text gets into the page here and through textContent only.

export const find = (id) => document.getElementById(id);

/** An element: properties, `data` for data-*, `aria`/`role` attributes, and children. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key.includes("-") || key === "role" || key === "scope" || key === "for") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null).map(nodeOrText));
  return element;
}

const nodeOrText = (child) => (child instanceof Node ? child : String(child));

/** Replaces what is in `place`, and gives the focus back to the control of the same name. */
export function fill(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.name : undefined;
  place.replaceChildren(...children.flat().filter(Boolean));
  if (focused) [...place.querySelectorAll("[data-name]")].find((one) => one.dataset.name === focused)?.focus();
}

export function button(text, name, press) {
  const made = make("button", { type: "button", textContent: text, onclick: press });
  made.dataset.name = name;
  made.setAttribute("aria-label", name);
  return made;
}

/** A table that becomes a list of cards on a narrow screen. `rows` are lists of cells. */
export function table(caption, columns, rows, nothing) {
  if (rows.length === 0) return make("p", { className: "nothing", textContent: nothing });
  const head = make("tr", {}, columns.map((text) => make("th", { scope: "col", textContent: text })));
  const body = rows.map((cells) => make("tr", {}, cells.map((cell, at) => {
    const made = make(at === 0 ? "th" : "td", at === 0 ? { scope: "row" } : {}, cell ?? "");
    made.dataset.column = columns[at];
    return made;
  })));
  return make("table", {}, make("caption", { className: "hidden-title", textContent: caption }),
    make("thead", {}, head), make("tbody", {}, body));
}

const SHAPES = { good: "●", warn: "▲", bad: "■", off: "○" };

/** A word with a shape, so that its colour is never all there is. */
export const mark = (level, word) =>
  make("span", { className: `mark ${level}` }, make("span", { "aria-hidden": "true", textContent: SHAPES[level] }), ` ${word}`);

export const count = (number) => (number ?? 0).toLocaleString("en");

export function short(number) {
  if (number === null || number === undefined) return "–";
  if (number >= 1e6) return `${(number / 1e6).toFixed(1)} M`;
  if (number >= 1e4) return `${(number / 1e3).toFixed(1)} k`;
  return number >= 100 || Number.isInteger(number) ? count(Math.round(number)) : number.toFixed(number < 1 ? 2 : 1);
}

export function micros(us) {
  if (us === null || us === undefined) return "–";
  if (us < 1000) return `${Math.round(us)} µs`;
  return us < 1e6 ? `${(us / 1000).toPrecision(3)} ms` : `${(us / 1e6).toPrecision(3)} s`;
}

export const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "–");

export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.floor(whole / 60)} min`;
  return whole < 172800 ? `${Math.floor(whole / 3600)} h` : `${Math.floor(whole / 86400)} d`;
}

export const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

/** A moment: the time of the day, with the whole date for those who point at it. */
export const moment = (value) => {
  const date = new Date(value);
  return make("time", { dateTime: date.toISOString(), title: date.toISOString(), textContent: date.toLocaleTimeString("en-GB") });
};

export const bytes = (number) => (number === undefined ? "unknown" : `${(number / 1048576).toFixed(1)} MB`);
