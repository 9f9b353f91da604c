// What every page does: ages that go on by themselves, parts read again, keys, and saying so when the server is gone.

const POLL_MS = 2000;
const registry = [];

/** Offer an action by a single key. `act` is also what buttons name in data-act. */
export function key(keys, act, title, run, group = "Everywhere") {
  registry.push({ keys: [].concat(keys), act, title, run, group });
}

export function say(text) {
  const place = document.getElementById("say");
  place.textContent = "";
  requestAnimationFrame(() => { place.textContent = text; });
}

export function run(act) {
  const found = registry.find((entry) => entry.act === act);
  if (found) found.run();
  return Boolean(found);
}

// --- ages: by the server's clock, whatever this computer's says ---
let offset = Number(document.body.dataset.now) - Date.now() / 1000;

export function ageText(seconds) {
  const s = Math.max(seconds, 0);
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

function tick() {
  const now = Date.now() / 1000 + offset;
  for (const place of document.querySelectorAll("time.age")) {
    const age = now - Number(place.dataset.at);
    const text = `${ageText(age)} ago`;
    if (place.textContent !== text) place.textContent = text;
    if (place.dataset.stale) {
      const card = place.closest("[data-ages]");
      if (card) card.classList.toggle("is-stale", age > Number(place.dataset.stale) || card.querySelector(".link-tag:not(.good)") !== null);
    }
  }
}

// --- parts that are read again ---
let cutOffSince = null;

function setCutOff(isCut) {
  if (isCut === (cutOffSince !== null)) return;
  cutOffSince = isCut ? Date.now() : null;
  const bar = document.getElementById("cut-off");
  if (!bar) return;
  bar.hidden = !isCut;
  document.body.classList.toggle("is-cut-off", isCut);
  if (isCut) bar.querySelector("[data-since]").textContent = new Date(cutOffSince).toLocaleTimeString();
}

// --- a log-in that ended: what is drawn here stays, and goes on with the next log-in of the same person ---
let isLoggedOut = false;

async function takeLogIn(answer) {
  const { name, csrf } = await answer.json();
  if (name !== document.body.dataset.who) { showNotice(`You are logged in as ${name} now; this page is of ${document.body.dataset.who}.`); return; }
  for (const field of document.querySelectorAll("input[name=csrf]")) field.value = csrf;
  if (isLoggedOut) document.getElementById("notices").replaceChildren();
  isLoggedOut = false;
}

async function ask(address) {
  return fetch(address, { headers: { "HX-Request": "true", "X-Poll": "1" }, signal: AbortSignal.timeout(5000) });
}

async function pollAlive() {
  try {
    const answer = await ask(document.body.dataset.alive);
    if (answer.ok && isLoggedOut) await takeLogIn(answer);
    else if (!answer.ok && answer.status !== 401) throw new Error(String(answer.status));
  } catch { setCutOff(true); return; }
  setCutOff(false);
}

async function poll() {
  const part = document.querySelector("[data-poll]");
  if (document.hidden || !document.body.dataset.alive) return;
  if (!part || isLoggedOut) { await pollAlive(); return; }
  const open = new Map([...part.querySelectorAll("details[id]")].map((item) => [item.id, item.open]));
  const focused = document.activeElement && part.contains(document.activeElement) ? document.activeElement.id : null;
  let text;
  try {
    const answer = await ask(part.dataset.poll);
    if (answer.status === 401 && document.getElementById("editor")) { isLoggedOut = true; showNotice("You are logged out.", "error", "", "/review/login"); return; }
    if (answer.status === 401) { location.reload(); return; }
    if (!answer.ok) throw new Error(String(answer.status));
    text = await answer.text();
  } catch { setCutOff(true); return; }
  setCutOff(false);
  if (part.querySelector(".htmx-request") || !part.isConnected) return;
  const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("[data-poll]");
  if (!fresh) return;
  for (const item of fresh.querySelectorAll("details[id]")) if (open.has(item.id)) item.open = open.get(item.id);
  part.replaceWith(fresh);
  htmx.process(fresh);
  offset = Number(fresh.dataset.now) - Date.now() / 1000;
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  tick();
}

// --- forms: each is carried out once, the next one has a new number ---
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.xhr?.status === 401) isLoggedOut = true;
  const fresh = event.detail.xhr?.getResponseHeader("X-Nonce");
  const field = event.detail.elt.closest?.("form")?.elements.namedItem("nonce");
  if (fresh && field) field.value = fresh;
});
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target.id === "preview") event.detail.target.scrollIntoView({ block: "nearest" });
});
document.addEventListener("htmx:sendError", () => showNotice("The server does not answer. What you did was not sent; try again."));

/** A line above the page; `about` lets whoever showed it take it away again, see `clearNotice`; `logIn` is an address. */
export function showNotice(text, kind = "error", about = "", logIn = "") {
  const box = document.createElement("div"), line = document.createElement("p"), close = document.createElement("button");
  box.className = `notice ${kind}`;
  box.dataset.about = about;
  box.setAttribute("role", "alert");
  line.textContent = text;
  if (logIn) line.append(" ", Object.assign(document.createElement("a"), { href: logIn, target: "_blank", rel: "noopener", textContent: "Log in" }));
  Object.assign(close, { type: "button", className: "quiet", textContent: "✕", ariaLabel: "Dismiss" });
  close.dataset.act = "dismiss";
  box.append(line, close);
  document.getElementById("notices").replaceChildren(box);
}

export function clearNotice(about) {
  for (const box of document.querySelectorAll("#notices .notice")) if (box.dataset.about === about) box.remove();
}

// --- keys ---
const KEYS_OFF = "skyloop-keys-off";
const isTyping = (target) => target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, dialog") !== null;

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.metaKey || event.isComposing || document.querySelector("dialog[open]")) return;
  const name = (event.ctrlKey ? "Ctrl+" : "") + event.key;
  const always = event.key === "?" || event.key === "Escape" || event.ctrlKey;
  if (isTyping(event.target) && !(event.key === "Escape")) return;
  if (localStorage.getItem(KEYS_OFF) && !always) return;
  const found = registry.find((entry) => entry.keys.includes(name));
  if (!found) return;
  event.preventDefault();
  found.run(event);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (!button || button.tagName === "A" || button.type === "submit" || button.hasAttribute("hx-post")) return;
  event.preventDefault();
  run(button.dataset.act);
});

function showHelp() {
  const dialog = document.getElementById("help");
  if (dialog.open) { dialog.close(); return; }
  const place = document.getElementById("help-keys");
  const groups = new Map();
  for (const entry of registry) if (entry.title) groups.set(entry.group, [...(groups.get(entry.group) ?? []), entry]);
  place.replaceChildren(...[...groups].flatMap(([group, entries]) => {
    const title = document.createElement("h3");
    title.textContent = group;
    return [title, ...entries.map((entry) => {
      const line = document.createElement("p"), text = document.createElement("span"), keys = document.createElement("span");
      text.textContent = entry.title;
      keys.append(...entry.keys.slice(0, 3).map((name) => Object.assign(document.createElement("kbd"), { textContent: SHOWN[name] ?? name })));
      line.append(text, keys);
      return line;
    })];
  }));
  dialog.showModal();
}
const SHOWN = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", Delete: "Del" };

const follow = (act) => document.querySelector(`a[data-act="${act}"]`)?.click();
key("?", "help", "These keys", showHelp);
key("Escape", "dismiss", "Close, let go", () => document.getElementById("notices").replaceChildren());
for (const [number, [name, title]] of [["q", "Queue"], ["f", "Fleet"], ["o", "Targets"], ["i", "Map"], ["l", "Log"]].entries()) {
  key(name, `page-${number}`, `Go to ${title}`, () => document.querySelectorAll(".top nav a")[number]?.click(), "Pages");
}
if (document.body.dataset.page === "queue" && document.getElementById("cards")) {
  const cards = () => [...document.querySelectorAll(".case-link")];
  const step = (by) => {
    const all = cards(), at = all.indexOf(document.activeElement);
    all[Math.min(Math.max(at + by, 0), all.length - 1)]?.focus();
  };
  key(["j", "ArrowRight"], "card-next", "Next case", () => step(1), "Queue");
  key(["k", "ArrowLeft"], "card-before", "Case before", () => step(-1), "Queue");
  key("n", "next-page", "More cases", () => follow("next-page"), "Queue");
} else if (document.querySelector(".case-head")) {
  key("j", "next-case", "Next case", () => follow("next-case"), "Queue");
  key("k", "previous", "Case before", () => follow("previous"), "Queue");
}

document.documentElement.classList.add("has-js");
document.addEventListener("change", (event) => { if (event.target.matches("[data-submit]")) event.target.form.requestSubmit(); });
const keysOn = document.getElementById("keys-on");
keysOn.checked = !localStorage.getItem(KEYS_OFF);
keysOn.addEventListener("change", () => { keysOn.checked ? localStorage.removeItem(KEYS_OFF) : localStorage.setItem(KEYS_OFF, "1"); });
tick();
setInterval(tick, 500);
setInterval(poll, POLL_MS);
