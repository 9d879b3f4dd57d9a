// What an operator does, as buttons. Each says what it will do, asks once, shows the result, and the audit
// list is read again.

import { get, post, remove } from "./api.js";
import { ask as askOnce, tell } from "./dialog.js";
import { button, count, fill, find, make, mark, moment, table } from "./dom.js";

const AUDIT_SHOWN = 20;
const AUDIT_EVERY_MS = 15000;

const ask = (question) => askOnce({ ...question, after: () => { showAudit(); question.after?.(); } });

async function showAudit() {
  if (find("board").hidden || document.hidden) return;
  try {
    const page = await get(`admin/audit?limit=${AUDIT_SHOWN}`);
    const list = Object.values(page).find(Array.isArray) ?? [];
    const rows = list.slice(0, AUDIT_SHOWN).map((one) => [moment(one.at), one.action, one.subject || "–",
      mark(one.outcome === "done" ? "good" : "warn", one.outcome.replaceAll("_", " ")), one.details || "–", make("span", { textContent: one.actor, title: one.address })]);
    fill(find("audit"), table("What admins did, the newest first", ["At", "Action", "Subject", "Outcome", "Details", "Who"], rows, "Nobody did anything yet."));
  } catch (error) {
    fill(find("audit"), make("p", { className: "problem", textContent: error.message }));
  }
}

const MOVES = {
  open: (name) => `Every call through ${name} is refused until somebody closes or resets it. Clients get what the cache holds, and 503 where it holds nothing.`,
  close: (name) => `Calls through ${name} are let through again at once. If what is behind it is still down, it opens again by itself.`,
  reset: (name) => `What was counted of ${name} is forgotten and it is closed; a credential that was not accepted is tried again.`,
};

export function moveBreaker(breaker, move) {
  ask({
    title: `${move[0].toUpperCase() + move.slice(1)} the breaker ${breaker.name}?`,
    text: `${MOVES[move](breaker.name)} It is ${breaker.state.replaceAll("_", "-")} now. This holds for every instance that shares the database.`,
    yes: `${move[0].toUpperCase() + move.slice(1)} ${breaker.name}`,
    run: () => post(`admin/breakers/${encodeURIComponent(breaker.name)}/${move}`),
    show: (now) => make("p", {}, `It is ${now.state.replaceAll("_", "-")} now.`),
  });
}

const field = (label, input) => make("label", {}, `${label} `, input);
const choice = (options) => make("select", {}, options.map(([value, text]) => make("option", { value, textContent: text })));
const card = (title, ...children) => make("div", { className: "card", "data-card": title }, make("h3", { textContent: title }), children);

/** A form whose mistakes stand under it. `submit` is called with what is needed to show one. */
function form(parts, press, submit) {
  const problem = make("p", { className: "problem", role: "alert" });
  const made = make("form", {}, parts, make("button", { type: "submit", textContent: press }));
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.textContent = "";
    try {
      await submit();
    } catch (error) {
      problem.textContent = error.message;
    }
  });
  return [made, problem];
}

function cache() {
  const kind = choice([["tag", "tag"], ["key", "key"], ["pattern", "pattern"], ["all", "everything"]]);
  const value = make("input", { maxLength: 256, size: 22, placeholder: "category:26", autocomplete: "off", spellcheck: false });
  const mode = choice([["hard", "hard: not answered with any more"], ["soft", "soft: only when nothing newer can be had"]]);
  kind.addEventListener("change", () => {
    value.disabled = kind.value === "all";
    value.placeholder = { tag: "category:26", key: "products:search:…", pattern: "*:search:*", all: "" }[kind.value];
  });
  const subject = () => (kind.value === "all" ? { all: true } : { [kind.value]: value.value.trim() });
  return card("Invalidate the cache",
    ...form([field("By", kind), field("value", value), field("mode", mode)], "Count, then ask …", async () => {
      const what = { ...subject(), mode: mode.value };
      const seen = await post("admin/cache/invalidate", { ...what, dry_run: true });
      const largest = Math.max(seen.memory, seen.redis, seen.database);
      const none = seen.matched_nothing;
      const meant = none?.suggestion ? ` Did you mean ${Object.values(none.suggestion)[0]}?` : "";
      ask({
        title: "Invalidate?",
        text: `${kind.value === "all" ? "Everything" : `${kind.value} ${value.value.trim()}`} hits ${seen.complete ? "" : "at least "}${count(largest)} keys: ${count(seen.memory)} in memory, ${count(seen.redis)} in Redis, ${count(seen.database)} in the database. ${mode.value === "hard" ? "They are loaded anew when a client asks for them." : "They are answered with only when nothing newer can be had."}${none ? ` ${none.reason}${meant}` : ""}`,
        more: seen.keys?.length ? make("details", {}, make("summary", { textContent: `The first ${seen.keys.length} keys` }),
          make("ul", {}, seen.keys.map((key) => make("li", { textContent: key })))) : undefined,
        yes: "Invalidate",
        // The count was shown: a pattern that matches everything is meant.
        run: () => post("admin/cache/invalidate", kind.value === "pattern" ? { ...what, all: true } : what),
        show: (done) => make("p", {}, `Hit: ${count(done.memory)} in memory, ${count(done.redis)} in Redis, ${count(done.database)} in the database${done.complete ? "" : ", and more that were not counted"}.`),
      });
    }),
    make("p", { className: "row" }, button("Warm the cache …", "Warm the cache", () => ask({
      title: "Warm the cache?",
      text: "Keys asked for most are lifted from the database into memory; stale ones are loaded from the upstream, slowly, while clients leave room.",
      yes: "Warm",
      run: () => post("admin/cache/warm"),
    }))));
}

const LISTS = {
  blacklist: { title: "Deny list", press: "Deny …", text: (who) => `Every request of ${who} is answered 403, but for health and admin addresses.` },
  whitelist: { title: "Allow list", press: "Allow …", text: (who) => `No limit applies to ${who} any more, unless it is on the deny list.` },
};

/** What there is, read when it is opened; each with a button that takes it away. */
function listed(title, read, row) {
  const place = make("div");
  const made = make("details", {}, make("summary", { textContent: title }), place);
  const again = async () => {
    try {
      const rows = await read();
      fill(place, rows.length ? make("ul", {}, rows.map((one) => make("li", {}, row(one, again)))) : make("p", { className: "nothing", textContent: "Empty." }));
    } catch (error) {
      fill(place, make("p", { className: "problem", textContent: error.message }));
    }
  };
  made.addEventListener("toggle", () => made.open && again());
  return [made, () => made.open && again()];
}

function list(name) {
  const { title, press, text } = LISTS[name];
  const path = `admin/rate-limit/${name}`;
  const who = make("input", { required: true, maxLength: 100, size: 18, placeholder: "203.0.113.0/24", autocomplete: "off" });
  const reason = make("input", { maxLength: 200, size: 18, autocomplete: "off" });
  const hours = choice([["", "for ever"], ["1", "for 1 h"], ["24", "for 24 h"], ["168", "for 7 d"]]);
  const [shown, again] = listed("Who is on it", async () => (await get(`${path}?limit=100`)).entries, (one, reread) => [
    `${one.identifier}${one.reason ? `: ${one.reason}` : ""} `,
    button("Remove", `Remove ${one.identifier} from the ${title.toLowerCase()}`, () => ask({
      title: `Remove ${one.identifier}?`, text: `${one.identifier} is treated like any other client again.`, yes: "Remove",
      run: () => remove(path, { identifier: one.identifier }), after: reread,
    })),
  ]);
  return card(title, ...form([field("Address, network or key id", who), field("reason", reason), field("until", hours)], press, () => {
    const body = { identifier: who.value.trim() };
    if (reason.value) body.reason = reason.value;
    if (hours.value) body.expires_at = new Date(Date.now() + 3600000 * hours.value).toISOString();
    ask({ title: `${title}: ${body.identifier}?`, text: text(body.identifier), yes: press.replace(" …", ""), run: () => post(path, body), show: ({ entry }) => tell(entry), after: again });
  }), shown);
}

function keys() {
  const label = make("input", { required: true, maxLength: 200, size: 18, autocomplete: "off" });
  const perMinute = make("input", { type: "number", min: 1, max: 1000000000 });
  const [shown, again] = listed("Keys", async () => (await get("admin/keys?limit=100")).keys, (one, reread) => [
    `${one.label} (${one.id})${one.expired ? ", expired" : ""} `,
    button("Revoke", `Revoke the key ${one.label} ${one.id}`, () => ask({
      title: `Revoke the key ${one.label}?`, text: `Requests with the key ${one.id} are answered as if it never was. This cannot be undone.`, yes: "Revoke",
      run: () => remove("admin/keys", { id: one.id }), after: reread,
    })),
  ]);
  return card("Clients' keys", ...form([field("Owner", label), field("requests a minute", perMinute)], "Make a key …", () => {
    const body = { label: label.value };
    if (perMinute.value) body.per_minute = Number(perMinute.value);
    ask({
      title: `Make a key for ${body.label}?`, text: "Its text is shown once, here. Only a digest of it is stored.", yes: "Make the key",
      run: () => post("admin/keys", body), after: again,
      show: (made) => make("p", {}, "The key, shown only now: ", make("code", { textContent: made.secret })),
    });
  }), shown);
}

const configuration = () => card("Reload the configuration",
  make("p", { className: "row" }, button("Reload …", "Reload the configuration", () => ask({
    title: "Reload the configuration?",
    text: "The file is read again. Limits, lifetimes, accounts, pace, breaker, features and the log level are taken over, and what counts from the next start is named; with a mistake anywhere nothing changes.",
    yes: "Reload",
    run: () => post("admin/config/reload"),
    show: (done) => make("p", {}, `Taken over: ${done.taken_over.join(", ") || "nothing has changed"}.${done.need_restart.length ? ` From the next start: ${done.need_restart.join(", ")}.` : ""}${done.cautions.map((caution) => ` But: ${caution}.`).join("")}`),
  }))));

const FAULTS = [
  ["503", { fault: "status", status: 503 }, "answers every call with 503"],
  ["hangs", { fault: "hang" }, "accepts every call and never answers"],
  ["resets", { fault: "reset" }, "closes every connection without an answer"],
  ["slow by 1 s", { fault: "delay", ms: 1000 }, "answers every call a second later"],
  ["garbage", { fault: "garbage" }, "answers every call with bytes that mean nothing"],
  ["throttles", { fault: "throttle" }, "tells every call that there were too many"],
];

const simulator = () => card("Simulator (it is the upstream)",
  make("p", { className: "row" },
    FAULTS.map(([text, rule, what]) => button(`Upstream: ${text}`, `Upstream: ${text}`, () => ask({
      title: `Upstream: ${text}?`, text: `The simulator ${what}, until it is healed. Its other faults end.`, yes: `Upstream: ${text}`,
      run: () => post("admin/simulator/faults", { rules: [{ method: "*", share: 1.0, ...rule }] }), show: inForce,
    }))),
    button("Heal the upstream", "Heal the upstream", () => ask({
      title: "Heal the upstream?", text: "Every fault of the simulator ends.", yes: "Heal",
      run: () => post("admin/simulator/faults", { rules: [] }), show: inForce,
    }))));

const inForce = ({ rules }) => make("p", {}, rules.length ? `In force: ${rules.map((rule) => rule.fault).join(", ")}.` : "The simulator has no faults.");

const actorNames = choice([]);

/** The actors that chaos can strike. */
export function nameActors(actors) {
  const names = actors.map((one) => one.name);
  if ([...actorNames.options].map((one) => one.value).join() === names.join()) return;
  actorNames.replaceChildren(...names.map((name) => make("option", { value: name, textContent: name })));
}

function chaos() {
  const fault = choice([["panic", "panics"], ["stop", "stops"], ["hang", "hangs for 1 s"]]);
  return card("Chaos", ...form([field("Actor", actorNames), field("fault", fault)], "Strike …", () => {
    const [name, what] = [actorNames.value, fault.value];
    ask({
      title: `Have ${name} ${what}?`, text: `Every actor named ${name} meets this once. The supervisor is to start it again; clients should not notice.`, yes: `Have it ${what}`,
      run: () => post(`admin/chaos/actors/${encodeURIComponent(name)}/${what}`),
    });
  }));
}

/** The cards that this gateway and this key allow. */
export function show(news, mayWrite) {
  const cards = [cache(), list("blacklist"), list("whitelist"), keys(), configuration()];
  if (news.state.integration === "simulator") cards.push(simulator());
  if (news.state.chaos) cards.push(chaos());
  if (mayWrite) fill(find("actions"), cards);
  else fill(find("actions"), make("p", { className: "nothing", textContent: "The read-only key allows no action." }));
  showAudit();
}

/** Looks now and then for what others did. */
export function prepare() {
  setInterval(showAudit, AUDIT_EVERY_MS);
}
