import { copyFrom } from "./copy.js";
import { sessionUrl } from "./links.js";
import { Terminal } from "./terminal.js";

const $ = (id) => document.getElementById(id);
const STEPS = ["find", "build", "start", "open"];
const STEP_OF = { waiting: "find", fetching: "build", building: "build", pushing: "build", built: "start", launching: "start", ready: "open" };
const SAY = {
  waiting: "Waiting for a turn…", fetching: "Fetching the repository…", building: "Building the environment…",
  pushing: "Storing the image…", built: "The image is there.", launching: "Starting your session…", ready: "Ready. Opening it…",
};

const { baseUrl, buildToken } = window.pageConfig;
const title = document.title;
const terminal = new Terminal($("log"));
const began = Date.now();
let step = 0, built = false, source = null, launchId = "", last = "";

const clock = setInterval(() => {
  const seconds = Math.floor((Date.now() - began) / 1000);
  $("elapsed").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}, 500);

function say(text) {
  if (text !== last) $("say").textContent = last = text;
}

function show(reached) {
  step = reached;
  document.querySelectorAll("[data-step]").forEach((item, place) => {
    item.className = place < reached ? "done" : place === reached ? "now" : "";
    if (place === reached) item.setAttribute("aria-current", "step"); else item.removeAttribute("aria-current");
  });
}

function note(name, text) {
  document.querySelector(`[data-step=${name}] .note`).textContent = text;
}

function begin() {
  const spec = location.pathname.slice(location.pathname.indexOf("/v2/") + 4);
  source = new EventSource(`${baseUrl}build/${spec}?build_token=${encodeURIComponent(buildToken)}`);
  source.onmessage = (event) => {
    restarted(event.lastEventId);
    hear(JSON.parse(event.data));
  };
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) fail({ message: "The connection to this service was lost.", hint: "Try again in a moment." });
    else say("The connection was lost. Trying again…");
  };
}

/** After a restart of the service the same connection may tell of a new launch, from its beginning. */
function restarted(eventId) {
  const id = eventId.slice(0, eventId.lastIndexOf("-"));
  if (id && launchId && id !== launchId) { terminal.clear(); built = false; show(0); }
  launchId = id || launchId;
}

function hear(event) {
  const phase = (event.phase ?? "").toLowerCase();
  if (event.message) terminal.write(event.message.endsWith("\n") || event.message.endsWith("\r") ? event.message : `${event.message}\n`);
  if (event.build_id) { $("whole").href = event.build_log ?? `${baseUrl}api/builds/${event.build_id}/log`; $("whole").hidden = false; }
  if (phase === "failed" || phase === "failure") return fail(event);
  const reached = STEPS.indexOf(STEP_OF[phase]);
  if (phase === "fetching" || phase === "building") built = true;
  if (reached > step) show(reached);
  if (phase === "built" && !built) note("build", "not needed: the image is there");
  if (event.queue_position) say(`Number ${event.queue_position} in the queue…`);
  else if (SAY[phase]) say(SAY[phase]);
  document.title = `${["◔", "◑", "◕", "●"][step]} ${title}`;
  if (phase === "ready") open(event);
}

function open(event) {
  stop("ready");
  const target = sessionUrl(event.url, event.token, new URLSearchParams(location.search));
  $("go").href = target;
  $("ready").hidden = false;
  location.replace(target); // replace: going back must not start another session
}

function fail(event) {
  stop("failed");
  document.title = `✕ ${title}`;
  const hint = event.hint ?? "";
  const lines = (event.message || "It failed without a word.").trim().split("\n").filter((line) => line.trim() !== hint.trim());
  $("reason").textContent = lines.join("\n");
  $("hint").textContent = hint;
  document.querySelector(".now")?.classList.replace("now", "broken");
  say("");
  $("trouble").hidden = false;
  $("retry").focus({ preventScroll: true });
}

function stop(state) {
  source?.close();
  clearInterval(clock);
  $("launch").dataset.state = state;
}

$("retry").addEventListener("click", () => location.reload()); // a reload brings a fresh build token
$("copy-log").addEventListener("click", () => copyFrom($("copy-log"), terminal.content()));
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
begin();
