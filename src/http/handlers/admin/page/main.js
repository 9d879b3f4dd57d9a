// The life of the page: signing in and out, asking for news after each answer, and saying how old they are.

import { Gone, Refused, get, post, remove } from "./api.js";
import { choose, draw, learn, redraw } from "./charts.js";
import { clock, find, span } from "./dom.js";
import * as actions from "./actions.js";
import * as explain from "./explain.js";
import * as sections from "./sections.js";

const PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 5000;
const OLD_SECONDS = 3;
const PARTS = ["breakers", "actors", "credentials", "limits", "recent"];

/** What was received last. `polling` ends the loop that it belongs to. */
let known = { seq: 0, started: 0 };
let heardAt = 0;
let trouble = "";
/** Why a link did not sign in. */
let linkTrouble = "";
let polling;

const sleep = (ms, signal) => new Promise((done) => {
  const timer = setTimeout(done, ms);
  signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
});

const untilVisible = () => new Promise((done) => {
  if (!document.hidden) done();
  else document.addEventListener("visibilitychange", done, { once: true });
});

function show(part) {
  for (const name of ["login", "setup", "board"]) find(name).hidden = name !== part;
  for (const name of ["age", "sign-out"]) find(name).hidden = part !== "board";
}

function stop() {
  polling?.abort();
  polling = undefined;
}

function signIn(message = "") {
  stop();
  show("login");
  document.title = "Breakwater";
  find("about").textContent = "";
  find("login-error").textContent = message;
  find("login-key").focus();
}

function hear(news) {
  heardAt = Date.now();
  trouble = "";
  if (find("board").hidden) show("board");
  const mayWrite = news.access !== "read";
  const isFirst = news.started !== known.started || mayWrite !== known.mayWrite;
  known = { seq: news.seq, started: news.started, mayWrite };
  find("readonly").hidden = mayWrite;
  if (isFirst) actions.show(news, mayWrite);
  sections.verdict(news);
  PARTS.filter((name) => news[name]).forEach((name) => sections[name](news[name], mayWrite));
  if (news.actors) actions.nameActors(news.actors);
  learn(news.series);
  draw();
}

async function poll(signal) {
  let pause = PAUSE_MS;
  while (!signal.aborted) {
    await untilVisible();
    try {
      const news = await get(`admin/live?since=${known.seq}`, signal);
      if (signal.aborted) return;
      hear(news);
      pause = PAUSE_MS;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status === 403) return refuse(error);
      trouble = error instanceof Gone ? "The gateway does not answer." : error.message;
      pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
      if (!heardAt) find("about").textContent = `${trouble} Trying again.`;
      tick();
    }
    await sleep(pause, signal);
  }
}

function refuse(error) {
  stop();
  signIn(heardAt ? "Your session has ended; sign in again." : linkTrouble);
}

function start() {
  stop();
  heardAt = 0;
  known = { seq: 0, started: 0 };
  polling = new AbortController();
  poll(polling.signal);
}

/** A link signs in once. Its token leaves the address before it is sent; a session that is there already goes on. */
async function followLink() {
  const login = new URLSearchParams(location.hash.slice(1)).get("login");
  linkTrouble = "";
  if (login) {
    history.replaceState(null, "", location.pathname + location.search);
    try {
      await post("admin/session", { login });
    } catch (error) {
      linkTrouble = error.message;
    }
  }
  start();
}

/** Says how old the data is; that the gateway is gone stands there until it is back. */
function tick() {
  if (!heardAt) return;
  const age = (Date.now() - heardAt) / 1000;
  const isOld = Boolean(trouble) || age > OLD_SECONDS;
  const said = isOld ? `■ ${trouble || "Nothing new comes."} What you see is of ${clock(heardAt)}, ${span(age)} ago.` : `● Live, ${span(age)} old`;
  const place = find("age");
  place.className = isOld ? "gone" : "";
  place.setAttribute("role", isOld ? "alert" : "note");
  if (place.textContent !== said) place.textContent = said;
  document.body.classList.toggle("old", isOld);
}

find("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const key = find("login-key");
  find("login-error").textContent = "";
  try {
    await post("admin/session", { key: key.value });
    key.value = "";
    start();
    find("content").focus();
  } catch (error) {
    find("login-error").textContent = error.message;
    key.select();
  }
});

find("sign-out").addEventListener("click", async () => {
  try {
    await remove("admin/session");
    signIn();
  } catch (error) {
    trouble = `Signing out failed: ${error.message}`;
    tick();
  }
});

document.querySelectorAll("input[name=range]").forEach((one) => one.addEventListener("change", () => choose(one.value)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
new ResizeObserver(redraw).observe(find("charts"));
setInterval(tick, 1000);
actions.prepare();
explain.prepare();
if (document.documentElement.dataset.closed === undefined) {
  addEventListener("hashchange", () => { if (location.hash.startsWith("#login=")) followLink(); });
  followLink();
} else {
  show("setup");
}
