"use strict";
const good = ["connected", "ready"];
const says = { healthy: "Everything is in order.", degraded: "Calls are limited: a service is not in order.",
  unhealthy: "No call can be taken." };

function show(id, text, kind) {
  const place = document.getElementById(id);
  if (!place) return;
  place.textContent = text;
  place.className = kind || "";
}

async function refresh() {
  try {
    const health = await (await fetch("/health", { cache: "no-store" })).json();
    show("state", says[health.status] || health.status,
      { healthy: "good", degraded: "warn", unhealthy: "bad" }[health.status]);
    for (const [service, state] of Object.entries(health.services)) {
      show(service, state, good.includes(state) ? "good" : state === "not configured" || state === "unknown" ? "warn" : "bad");
    }
    show("calls", `${health.calls.active} of at most ${health.calls.maximum}`);
    show("version", `Version ${health.version}.`);
  } catch {
    show("state", "The server does not answer.", "bad");
  }
}

refresh();
setInterval(refresh, 5000);
