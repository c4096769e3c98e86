// Keep the part of a page that is marked as live up to date, until it is no more marked or the button pauses it.
"use strict";

const INTERVAL = 2000;
let live = document.querySelector("[data-live]");
let paused = false;

function restore(before, focused) {
  for (const id of before) document.getElementById(id)?.setAttribute("open", "");
  if (!focused) return;
  const same = focused.id
    ? document.getElementById(focused.id)
    : [...live.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused.getAttribute("href"));
  same?.focus({ preventScroll: true });
}

async function update() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("live");
  if (!fresh || paused) return;
  const open = [...live.querySelectorAll("details[open]")].map((each) => each.id);
  const focused = live.contains(document.activeElement) ? document.activeElement : null;
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
