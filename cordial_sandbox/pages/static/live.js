// Keep the part of a page that is marked as live up to date, until it is no longer marked or the button pauses it.
"use strict";

const INTERVAL = 2000;
let live = document.querySelector("[data-live]");
let paused = false;

// Returns what finds an element again in a fresh copy of the page: an address, or the nearest id.
function describe(element) {
  const href = element.getAttribute("href");
  return href ? `[href="${CSS.escape(href)}"]` : `#${CSS.escape(element.closest("[id]").id)}`;
}

function restore(open, focused) {
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  const same = focused && live.querySelector(focused);
  (same?.querySelector("summary") ?? same)?.focus({ preventScroll: true });
}

async function update() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("live");
  if (!fresh || paused) return;
  const open = [...live.querySelectorAll("details[open]")].map((each) => each.id);
  const focused = live.contains(document.activeElement) ? describe(document.activeElement) : null;
  live.replaceWith(fresh);
  live = fresh;
  restore(open, focused);
  const summary = live.querySelector("[data-summary]")?.textContent ?? "";
  // Assigned only if it has changed: a screen reader reads every assignment.
  if (news.textContent !== summary) news.textContent = summary;
}

const news = document.createElement("p");
news.className = "visually-hidden";
news.setAttribute("role", "status");

async function run() {
  if (!live.hasAttribute("data-live")) return;
  // A selection would be lost, and nobody reads a hidden page.
  const isIdle = document.hidden || paused || !getSelection().isCollapsed;
  if (!isIdle) await update().catch(() => {}); // the sandbox may be restarting
  setTimeout(run, INTERVAL);
}

if (live) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "pause";
  button.textContent = "Pause updates";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
  });
  live.before(button, news);
  setTimeout(run, INTERVAL);
}
