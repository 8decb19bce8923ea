/* What pages do beyond forms and links: they hear of changes, and rows of a list are reached by j and k.
   Everything works without it; then a page is as new as when it was loaded. */
"use strict";

(() => {
  const source = document.body.dataset.live;
  const later = (action, delay) => window.setTimeout(action, delay);

  /* Changes: elements with hx-trigger="changed from:body" are loaded again. */
  let isPaused = false;
  const announce = () => {
    if (!isPaused) document.body.dispatchEvent(new CustomEvent("changed"));
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-pause]");
    if (!button) return;
    isPaused = !isPaused;
    button.setAttribute("aria-pressed", String(isPaused));
    button.textContent = isPaused ? "Updates are paused" : "Pause updates";
    announce();
  });
  const listen = () => {
    const events = new EventSource(source);
    events.addEventListener("changed", announce);
    /* What changed between the page and the first event, or while the connection was lost. */
    events.addEventListener("open", announce);
    events.addEventListener("error", () => {
      if (events.readyState === EventSource.CLOSED) later(listen, 5000);
    });
    window.addEventListener("pagehide", () => events.close(), { once: true });
  };
  if (source && "EventSource" in window) listen();

  /* Where the links of the pages are in one row that scrolls, the current one is in sight. */
  document.querySelector('nav [aria-current="page"]')?.scrollIntoView({ block: "nearest", inline: "center" });

  /* j and k go through the rows of a list (links with data-row), Enter opens; r goes to the field for the reason, u up to the list. */
  const rows = () => [...document.querySelectorAll("[data-row]")];
  const move = (step) => {
    const all = rows();
    if (all.length === 0) return;
    const at = all.indexOf(document.activeElement);
    all[Math.min(all.length - 1, Math.max(0, at + step))].focus();
  };
  const keys = {
    j: () => move(1),
    k: () => move(-1),
    r: () => document.querySelector("[data-key-r]")?.focus(),
    u: () => document.querySelector("[data-key-u]")?.click(),
  };
  const isTyping = (target) => target.closest("input, textarea, select, [contenteditable]") !== null;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const action = keys[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  /* A form is sent once. */
  document.addEventListener("submit", (event) => {
    if (event.target.dataset.sent) event.preventDefault();
    else if (event.target.method === "post") event.target.dataset.sent = "yes";
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });
})();
