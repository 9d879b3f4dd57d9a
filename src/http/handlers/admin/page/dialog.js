// The one question before anything is done: what it will do, yes or no, and then what came of it.

import { find, make } from "./dom.js";

/** An answer as words: every field that says something, nested ones by lines. */
export function tell(data) {
  const words = (value) => (Array.isArray(value) ? value.map(words).join(", ") || "none"
    : value && typeof value === "object" ? Object.entries(value).map(([key, one]) => `${key.replaceAll("_", " ")} ${words(one)}`).join(", ")
      : value === true ? "yes" : value === false ? "no" : String(value));
  return make("dl", {}, Object.entries(data ?? {}).filter(([, value]) => value !== null).map(([key, value]) =>
    make("div", {}, make("dt", { textContent: key.replaceAll("_", " ") }), make("dd", { textContent: words(value) }))));
}

/** Shows what `read` finds. */
export async function inform(title, read) {
  const [dialog, result, no, go] = ["dialog", "dialog-result", "dialog-no", "dialog-yes"].map(find);
  find("dialog-title").textContent = title;
  find("dialog-text").textContent = "";
  result.replaceChildren("Reading …");
  no.textContent = "Close";
  go.hidden = true;
  no.onclick = () => dialog.close();
  dialog.showModal();
  no.focus();
  try {
    result.replaceChildren(...await read());
  } catch (error) {
    result.replaceChildren(make("p", { className: "problem", textContent: error.message }));
  }
}

/**
 * Asks once. `run` does it and `show` makes something of its answer; `after` is called when it was
 * tried, whatever came of it.
 */
export function ask({ title, text, more, yes, run, show = tell, after }) {
  const [dialog, result, no, go] = ["dialog", "dialog-result", "dialog-no", "dialog-yes"].map(find);
  find("dialog-title").textContent = title;
  find("dialog-text").textContent = text;
  result.replaceChildren(...(more ? [more] : []));
  no.textContent = "Cancel";
  go.textContent = yes;
  go.hidden = false;
  go.disabled = false;
  no.onclick = () => dialog.close();
  go.onclick = async () => {
    go.disabled = true;
    result.replaceChildren("Working …");
    try {
      const answer = await run();
      result.replaceChildren(make("p", { className: "mark good", textContent: "● Done" }), show(answer));
    } catch (error) {
      result.replaceChildren(make("p", { className: "problem", textContent: `■ Not done: ${error.message}` }));
    }
    find("dialog-text").textContent = "";
    go.hidden = true;
    no.textContent = "Close";
    no.focus();
    after?.();
  };
  dialog.showModal();
  no.focus();
}
