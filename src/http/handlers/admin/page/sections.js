// What the page shows beside the numbers: one function a section, each with the part of `/admin/live` that
// it is about. A section is made anew only when its part has changed.

import { bytes, button, count, fill, find, make, mark, moment, short, span, table } from "./dom.js";
import { moveBreaker } from "./actions.js";
import { explain } from "./explain.js";
import { whatToDo } from "./runbook.js";

const LEVELS = {
  healthy: ["good", "Healthy"],
  degraded: ["warn", "Degraded"],
  failing: ["bad", "Failing"],
};
const BREAKERS = { closed: ["good", "closed"], open: ["bad", "open"], half_open: ["warn", "half-open"] };
const ACTORS = { running: "good", backing_off: "warn", hung: "bad", finished: "bad" };

export function verdict({ summary, state }) {
  const [level, word] = LEVELS[state.level] ?? ["warn", state.level];
  fill(find("level"), mark(level, word));
  const sentence = find("sentence");
  if (sentence.textContent !== summary) sentence.textContent = summary;
  find("verdict").className = level;
  troubles(state.troubles, summary);
  const uptime = span(state.uptime_seconds);
  const behind = state.integration === "simulator" ? "upstream: the simulator" : "upstream: live";
  find("about").textContent = `${state.version}, ${behind}, up for ${uptime}`;
  document.title = state.level === "healthy" ? "Breakwater" : `${word}: Breakwater`;
  const { pressure } = state;
  const because = pressure.because.length ? ` because of ${pressure.because.join(", ").replaceAll("_", " ")}` : "";
  fill(find("pressure"), facts([
    ["Pressure", mark(pressure.level === "normal" ? "good" : "warn", `${pressure.level}${because}`)],
    ["Strain", `${Math.round(100 * pressure.strain)} %`],
    ["Requests in flight", count(state.in_flight)],
    ["Connections", count(state.connections)],
    ["Memory", bytes(state.memory_bytes)],
  ]));
  configuration(state.config);
}

let configurationShown;

/** What was read last: in force, or all that is wrong with it. */
function configuration(config) {
  const now = JSON.stringify(config);
  if (now === configurationShown) return;
  configurationShown = now;
  fill(find("config"), facts([
    ["Read", moment(config.at)],
    ["Outcome", config.ok ? mark("good", "in force") : mark("bad", "not taken over: the one before is in force")],
    ["From the next start", config.need_restart.join(", ") || undefined],
  ]), config.mistakes.length ? make("ul", {}, config.mistakes.map((one) => make("li", { className: "problem", textContent: one }))) : undefined);
}

/** The buttons stay while the texts, which count seconds, change: a press may take longer than a second. */
function troubles(list, summary) {
  const place = find("troubles");
  const names = list.map((one) => [one.kind.replaceAll("_", " "), one.name].filter(Boolean).join(": "));
  if (place.dataset.names !== names.join("\n")) {
    place.dataset.names = names.join("\n");
    fill(place, list.map((one, at) => make("li", {}, make("span"), " ",
      button("What to do", `What to do about ${names[at]}`, () => whatToDo(one)))));
  }
  // The sentence says the worst already, in whole.
  list.forEach((one, at) => fill(place.children[at].firstChild, mark("warn", summary.includes(one.text) ? names[at] : one.text)));
}

const facts = (pairs) => make("dl", {}, pairs.filter(([, value]) => value !== undefined)
  .map(([name, value]) => make("div", {}, make("dt", { textContent: name }), make("dd", {}, value))));

export function breakers(list, mayWrite) {
  const moves = ["open", "close", "reset"];
  const rows = list.map((one) => {
    const [level, word] = BREAKERS[one.state] ?? ["warn", one.state];
    const details = [
      one.forced && "by hand, until it is closed or reset",
      one.retry_at && ["tries again at ", moment(one.retry_at)],
      one.slow_start_per_second && `slow start: ${short(one.slow_start_per_second)} calls/s`,
      one.consecutive_failures > 0 && `${one.consecutive_failures} failures in a row`,
    ].filter(Boolean).flatMap((part, at) => [at ? "; " : "", part].flat());
    return [one.name, mark(level, word), moment(one.since), make("span", {}, details.length ? details : "–"), count(one.transitions),
      make("span", { className: "row" }, moves.map((move) => {
        const made = button(move[0].toUpperCase() + move.slice(1), `${move} breaker ${one.name}`, () => moveBreaker(one, move));
        made.disabled = !mayWrite;
        return made;
      }))];
  });
  fill(find("breakers"), table("Circuit breakers", ["Name", "State", "Since", "Detail", "Changes", "Actions"], rows, "There is none."));
}

export function actors(list) {
  const rows = list.map((one) => [one.name, mark(ACTORS[one.state] ?? "warn", one.state.replaceAll("_", " ")),
    `${one.running} of ${one.instances}`, count(one.restarts), one.last_panic ?? "never", count(one.queue), moment(one.up_since)]);
  fill(find("actors"), table("Actors", ["Name", "State", "Running", "Restarts", "Last panic", "Queue", "Up since"], rows, "There is none."));
}

export function credentials(list) {
  const rows = list.map((one) => {
    const isBanned = one.banned_until !== undefined;
    const state = !one.accepted ? mark("bad", "not accepted") : isBanned ? mark("warn", "paused by the upstream") : mark("good", "accepted");
    const problems = [...(isBanned ? [make("span", {}, "until ", moment(one.banned_until))] : []),
      ...one.problems.map((problem) => make("p", {}, `${problem.fault.replaceAll("_", " ")}${problem.method ? ` (${problem.method})` : ""}: ${problem.advice}`))];
    const budget = one.budget === undefined ? "no budget" : `${count(one.budget_remaining)} of ${count(one.budget)} left today`;
    const left = one.budget === undefined ? budget : make("span", {},
      make("progress", { max: one.budget, value: one.budget_remaining, "aria-label": `budget of ${one.name}` }), ` ${budget}`);
    return [one.name, state, one.breaker.replaceAll("_", "-"), one.pace_per_second === undefined ? "none" : `${short(one.pace_per_second)} calls/s`,
      count(one.waiting), left, problems.length ? make("div", {}, problems) : "none"];
  });
  fill(find("credentials"), table("Upstream credentials", ["Name", "State", "Breaker", "Pace", "Waiting", "Budget", "Problems"], rows, "There is none."));
}

export function limits(part) {
  const shared = { null: "by this instance alone", true: "exactly, over all instances", false: "by shares: what is shared is away" };
  const { abuse } = part;
  const rows = abuse.offenders.map((one) => [one.principal, one.pattern.replaceAll("_", " "), count(one.seen), count(one.flags), count(one.refused)]);
  fill(find("limits"), facts([
    ["Limits", part.enabled ? mark("good", "on") : mark("off", "off")],
    ["Refused", count(part.refused)],
    ["Clients counted", count(part.accounts)],
    ["Kept", shared[String(part.shared)]],
    ["Keys", count(part.api_keys)],
    ["Allow list", count(part.allowed)],
    ["Deny list", count(part.denied)],
    ["Abuse watch", abuse.mode],
    ["Throttled now", abuse.throttled_now ? mark("warn", count(abuse.throttled_now)) : "0"],
    ["Refused as abuse", count(abuse.refused)],
  ]), table("Clients found abusive", ["Client", "Pattern", "Seen", "Flags", "Refused"], rows, "No client was found abusive."));
}

export function recent(part) {
  const rows = (list) => list.map((one) => [moment(one.finished_ms), `${one.method} ${one.route}`, mark(one.status >= 500 ? "bad" : "good", one.status),
    `${short(one.duration_ms)} ms`, one.tier || "–", button(one.request_id, `explain request ${one.request_id}`, () => explain(one.request_id))]);
  const columns = ["At", "Route", "Status", "Took", "Tier", "Request"];
  fill(find("errors"), table("Recent errors", columns, rows(part.errors), "No server error lately."));
  fill(find("slow"), table("Slow requests", columns, rows(part.slow), "No request took a second or more lately."));
}
