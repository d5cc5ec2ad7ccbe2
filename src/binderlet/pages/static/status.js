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

function bytes(size) {
  const units = [["GB", 2 ** 30], ["MB", 2 ** 20], ["kB", 2 ** 10]];
  const [unit, factor] = units.find(([, factor]) => size >= factor) ?? ["bytes", 1];
  return `${(size / factor).toFixed(factor >= 2 ** 30 ? 1 : 0)} ${unit}`;
}

const KINDS = {
  image: "Images", environment: "Environments", base: "Base images", cache: "Build cache", container: "Ended sessions",
  log: "Build logs", checkout: "Checkouts", mirror: "Copies of repositories", state: "Settings, history and caches",
};

function kind([name, size]) {
  const item = document.createElement("li"), label = document.createElement("strong"), value = document.createElement("span");
  label.textContent = KINDS[name] ?? name;
  value.textContent = bytes(size);
  value.className = "muted";
  item.append(label, value);
  return item;
}

function storage(disk) {
  $("storage").hidden = !disk || disk.used === null;
  if ($("storage").hidden) return;
  const share = disk.budget ? Math.min(100, Math.round((100 * disk.used) / disk.budget)) : 0;
  $("disk-meter").setAttribute("aria-valuenow", share);
  $("disk-meter").firstElementChild.style.width = `${share}%`;
  $("disk-sum").textContent = `${bytes(disk.used)} of ${bytes(disk.budget)} are used; builds may take ${bytes(disk.room)} more.`;
  const bucket = disk.bucket;
  $("bucket").hidden = !bucket || bucket.used === null;
  if (!$("bucket").hidden) {
    const price = bucket.month.total > 0 ? `, about ${bucket.month.total.toFixed(2)} ${bucket.currency} a month` : "";
    $("bucket").textContent = `${bytes(bucket.used)} of images are in object storage${price}.${bucket.problem ? ` ${bucket.problem}` : ""}`;
  }
  $("disk-kinds").replaceChildren(...Object.entries(disk.kinds).filter(([, size]) => size > 0).map(kind));
}

function show(status) {
  storage(status.storage);
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
