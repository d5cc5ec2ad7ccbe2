const $ = (id) => document.getElementById(id);
const EVERY = 5000;

function age(seconds) {
  const units = [["day", 86400], ["hour", 3600], ["minute", 60]];
  const [name, size] = units.find(([, size]) => seconds >= size) ?? ["second", 1];
  const count = Math.floor(seconds / size);
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}

function check(entry) {
  const item = document.createElement("li");
  item.className = entry.ok ? "ok" : "bad";
  const name = document.createElement("strong"), state = document.createElement("span"), message = document.createElement("span");
  name.textContent = entry.service;
  state.textContent = entry.ok ? "well" : "not well";
  state.className = "state";
  message.textContent = entry.message ?? "";
  message.className = "muted";
  item.append(state, name, message);
  return item;
}

function reservation(entry) {
  const when = (seconds) => new Date(seconds * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  return check({
    service: `${entry.count} of ${entry.spec.replaceAll("%3A", ":").replaceAll("%2F", "/")}`,
    ok: entry.problem === "",
    message: `${when(entry.from)} to ${when(entry.to)}: ${entry.ready} ready, ${entry.launched} launched${entry.problem ? "; it cannot be prepared" : ""}`,
  });
}

function show(status) {
  for (const key of ["sessions", "standbys", "launches_waiting", "builds_running", "builds_waiting"]) $(key).textContent = status[key];
  $("session-limit").textContent = status.session_limit === null ? "" : ` of ${status.session_limit}`;
  const share = status.session_limit ? Math.min(100, Math.round((100 * status.sessions) / status.session_limit)) : 0;
  $("meter").setAttribute("aria-valuenow", share);
  $("meter").firstElementChild.style.width = `${share}%`;
  $("checks").replaceChildren(...status.checks.map(check));
  $("reservations").replaceChildren(...status.reservations.map(reservation));
  $("reserved").hidden = status.reservations.length === 0;
  $("uptime").textContent = age(status.uptime_seconds);
  say(status.ok, status.draining ? "The service is stopping." : status.ok ? "Everything is well." : "Something is not well.");
}

function say(ok, text) {
  $("status").dataset.state = ok ? "ok" : "bad";
  if ($("verdict").textContent !== text) $("verdict").textContent = text;
}

async function refresh() {
  try {
    const response = await fetch("/api/status", { cache: "no-store", signal: AbortSignal.timeout(EVERY) });
    show(await response.json());
  } catch {
    say(false, "The service does not answer.");
  }
  $("status").removeAttribute("aria-busy");
  setTimeout(refresh, EVERY);
}

refresh();
