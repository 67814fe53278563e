// What is known of the gateway, and how it is heard.

import { useEffect, useState } from "preact/hooks";

const LOG_MAX = 1000;
const CURVE_MAX = 180;

export const store = {
  status: null,
  layout: null,
  log: [],
  lostLines: 0,
  // By route: what it carried in each second, the oldest first.
  curves: new Map(),
  // "connecting", "live", "lost", "token": whether the gateway is heard.
  link: "connecting",
  since: Date.now(),
};

const listeners = new Set();

function changed() {
  listeners.forEach((listener) => listener());
}

// Draws a component again whenever something has changed.
export function useStore() {
  const [, draw] = useState(0);
  useEffect(() => {
    const listener = () => draw((n) => n + 1);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return store;
}

export function token() {
  return sessionStorage.getItem("token") ?? "";
}

export function setToken(value) {
  if (value) sessionStorage.setItem("token", value);
  else sessionStorage.removeItem("token");
  restart();
}

// Asks the gateway. Throws what it says if it says no.
export async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  const answer = await fetch(`/api/v1/${path}`, { ...options, headers });
  const text = await answer.text();
  let body = text;
  try {
    body = JSON.parse(text);
  } catch {
    // Words.
  }
  if (!answer.ok) {
    const error = new Error((body && body.message) || String(text).trim() || `HTTP ${answer.status}`);
    error.status = answer.status;
    error.body = body;
    throw error;
  }
  return body;
}

function setLink(link) {
  if (store.link !== link) {
    store.link = link;
    store.since = Date.now();
  }
  changed();
}

async function takeStatus(status) {
  const before = store.status;
  store.status = status;
  for (const route of status.routes) {
    const curve = store.curves.get(route.name) ?? [];
    const rates = route.rates ?? { received: 0, delivered: 0, dropped: 0 };
    curve.push(rates);
    if (curve.length > CURVE_MAX) curve.shift();
    store.curves.set(route.name, curve);
  }
  const restarted = before && before.gateway.started_at_ms !== status.gateway.started_at_ms;
  if (restarted) {
    store.log = [];
    store.curves.clear();
  }
  if (!store.layout || restarted || before?.gateway.generation !== status.gateway.generation) {
    try {
      store.layout = await ask("layout");
    } catch {
      // With the next status.
      store.status = before;
      return;
    }
  }
  setLink("live");
}

function takeLine(line) {
  const last = store.log.at(-1);
  if (last && line.number <= last.number) return;
  store.log.push(line);
  if (store.log.length > LOG_MAX) store.log.splice(0, store.log.length - LOG_MAX);
  changed();
}

async function take(name, data) {
  if (name === "status") await takeStatus(JSON.parse(data));
  else if (name === "log") takeLine(JSON.parse(data));
  else if (name === "lost") {
    store.lostLines += Number(data);
    changed();
  }
}

// Reads server-sent events (HTML Living Standard, section 9.2). The browser's own reader cannot show a token.
export async function readEvents(path, signal, each) {
  const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
  const answer = await fetch(`/api/v1/${path}`, { headers, signal });
  if (!answer.ok) {
    const error = new Error((await answer.text()).trim());
    error.status = answer.status;
    throw error;
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      const event = rest.slice(0, end);
      rest = rest.slice(end + 2);
      let [name, data] = ["message", ""];
      for (const line of event.split("\n")) {
        if (line.startsWith("event: ")) name = line.slice(7);
        if (line.startsWith("data: ")) data += line.slice(6);
      }
      if (data) await each(name, data);
    }
  }
}

// What is asked for while somebody looks; `null` before it is known.
export function useFound(path, depends = []) {
  const [found, setFound] = useState(null);
  useEffect(() => {
    let wanted = true;
    const look = () => ask(path).then((found) => wanted && setFound(found), () => {});
    look();
    const timer = setInterval(look, 3000);
    return () => {
      wanted = false;
      clearInterval(timer);
    };
  }, [path, ...depends]);
  return found;
}

let controller = null;

async function listen(signal) {
  for (let wait = 500; !signal.aborted; wait = Math.min(wait * 2, 5000)) {
    try {
      const after = store.log.at(-1)?.number ?? 0;
      await readEvents(`stream?after=${after}`, signal, async (name, data) => {
        wait = 500;
        await take(name, data);
      });
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401) return setLink("token");
    }
    if (signal.aborted) return;
    setLink("lost");
    await new Promise((done) => setTimeout(done, wait));
  }
}

export function restart() {
  controller?.abort();
  controller = new AbortController();
  listen(controller.signal);
}

// Where the page is: what is behind the # of its address.
export function useAddress() {
  const read = () => location.hash.slice(2).split("/").map(decodeURIComponent);
  const [address, set] = useState(read);
  useEffect(() => {
    const listener = () => {
      set(read());
      scrollTo(0, 0);
    };
    addEventListener("hashchange", listener);
    return () => removeEventListener("hashchange", listener);
  }, []);
  return address;
}

export function at(...parts) {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}
