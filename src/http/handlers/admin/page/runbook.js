// What to do about a trouble: its entry of the runbook, which lies beside the page as it is written.

import { text } from "./api.js";
import { inform } from "./dialog.js";
import { make } from "./dom.js";

/** The entry for each kind of trouble. */
const ENTRIES = {
  misconfigured: "BreakwaterUpstreamMisconfigured",
  overloaded: "BreakwaterRequestsShed",
  upstream_down: "BreakwaterBreakerOpen",
  upstream_recovering: "BreakwaterBreakerOpen",
  redis_away: "BreakwaterRedisAway",
  database_away: "BreakwaterDatabaseAway",
  store_held: "BreakwaterBreakerOpen",
  replica_out: "BreakwaterReplicaBehind",
  actor_down: "BreakwaterActorDown",
  pressure: "BreakwaterPressure",
  access_lists: "BreakwaterReplicationUnreadable",
  config_refused: "BreakwaterConfigReloadFailed",
  log: "BreakwaterLogLost",
};

/** Words of a paragraph: bold, code, and links as the words they have. */
const words = (paragraph) => paragraph.replaceAll("\n", " ").split(/(\*\*.+?\*\*|`.+?`|\[.+?\]\(.+?\))/).map((part) =>
  part.startsWith("**") ? make("strong", { textContent: part.slice(2, -2) })
    : part.startsWith("`") ? make("code", { textContent: part.slice(1, -1) })
      : part.startsWith("[") && part.endsWith(")") ? part.slice(1, part.indexOf("]")) : part);

export const whatToDo = ({ kind, text: told }) => inform(told, async () => {
  const entry = (await text("admin/assets/runbook.md")).split("\n## ").find((one) => one.startsWith(`${ENTRIES[kind]}\n`));
  const paragraphs = entry.trim().split("\n\n").slice(1);
  return paragraphs.map((paragraph) => make("p", {}, words(paragraph)));
});
