// Talks to the gateway that this page came from. Addresses are relative to the page, so that a proxy may
// put a path in front. The session is a cookie that no script can read.

/** Nothing came: the gateway is gone, or the way to it. */
export class Gone extends Error {}

/** The gateway said no. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const PATIENCE_MS = 15000;

async function call(method, path, body, signal, read = (text) => JSON.parse(text).data) {
  let answer;
  const patience = AbortSignal.timeout(PATIENCE_MS);
  try {
    answer = await fetch(path, {
      method,
      cache: "no-store",
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
    });
    if (answer.status === 204) return undefined;
    const text = await answer.text();
    if (answer.ok && text) return read(text);
    const told = JSON.parse(text);
    throw new Refused(answer.status, told.code, told.error ?? `The gateway answered ${answer.status}.`);
  } catch (error) {
    if (error instanceof Refused || signal?.aborted) throw error;
    if (answer && !answer.ok) throw new Refused(answer.status, "", `Something on the way answered ${answer.status}.`);
    throw new Gone("The gateway does not answer.");
  }
}

export const get = (path, signal) => call("GET", path, undefined, signal);
export const text = (path) => call("GET", path, undefined, undefined, (text) => text);
export const post = (path, body) => call("POST", path, body);
export const remove = (path, body) => call("DELETE", path, body);
