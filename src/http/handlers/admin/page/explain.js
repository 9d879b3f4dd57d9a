// Why a request was answered as it was: its steps, as the gateway kept them.

import { get } from "./api.js";
import { fill, find, make, mark, moment, short } from "./dom.js";

const OUTCOMES = ["refused", "failed", "stale", "slow", "upstream", "hit"];
const LEVELS = { refused: "bad", failed: "bad", retried: "warn", stale: "warn", miss: "off", bypassed: "off" };

async function show(path, nothing) {
  const place = find("explained");
  try {
    const { requests } = await get(path);
    fill(place, requests.length ? requests.map(one) : make("p", { className: "nothing", textContent: nothing }));
  } catch (error) {
    fill(place, make("p", { className: "problem", textContent: error.message }));
  }
}

function one(request) {
  const steps = request.steps.map((step) => make("li", {},
    make("span", { className: "time", textContent: `${short(step.at_us / 1000)} ms` }),
    make("strong", { textContent: step.stage }), " ", mark(LEVELS[step.verdict] ?? "good", step.verdict.replaceAll("_", " ")),
    step.detail ? ` ${step.detail}` : ""));
  return make("article", { className: "card" },
    make("h3", { textContent: request.sentence }),
    make("p", { className: "small" }, moment(request.at), ` ${request.method} ${request.route}, ${request.status}${request.code ? ` ${request.code}` : ""}, ${short(request.duration_ms)} ms, ${request.request_id}`),
    make("ol", { className: "steps" }, steps));
}

/** Shows the request with this id, and leads there. */
export async function explain(id) {
  find("explain-id").value = id;
  find("explain-title").scrollIntoView({ block: "start" });
  find("explain-id").focus({ preventScroll: true });
  await show(`admin/requests/${encodeURIComponent(id)}`, "No such request is kept.");
}

export function prepare() {
  find("explain-outcome").replaceChildren(...OUTCOMES.map((outcome) => make("option", { value: outcome, textContent: outcome })));
  find("explain-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const id = find("explain-id").value.trim();
    if (id) explain(id);
  });
  find("explain-list").addEventListener("click", () => {
    const outcome = find("explain-outcome").value;
    show(`admin/requests?outcome=${encodeURIComponent(outcome)}&limit=20`, `No request that was ${outcome} is kept.`);
  });
}
