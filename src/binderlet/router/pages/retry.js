// Ask now and then whether it answers again, ever more slowly, and load the page when it does. A page that comes
// back broken three times is left alone, so that no tab reloads for ever.
const key = "binderlet-reloads " + location.pathname;
const waits = [3, 5, 8, 13, 21, 34, 55, 60, 60, 60, 60, 60];
const state = document.getElementById("state");
let reloads = 3;
try { reloads = Number(sessionStorage.getItem(key)); } catch { /* storage is off: do not reload by ourselves */ }
async function answers() {
  try {
    const reply = await fetch(probe, { cache: "no-store", redirect: "manual" });
    return ![502, 503, 504].includes(reply.status);
  } catch { return false; }
}
async function watch() {
  state.textContent = "This page looks again by itself.";
  for (const wait of waits) {
    await new Promise((resolve) => setTimeout(resolve, wait * 1000));
    if (!document.hidden && await answers()) {
      sessionStorage.setItem(key, reloads + 1);
      location.replace(location.href);
      return;
    }
  }
  state.textContent = "It still does not answer. This page has stopped looking.";
}
if (reloads < 3) watch();
