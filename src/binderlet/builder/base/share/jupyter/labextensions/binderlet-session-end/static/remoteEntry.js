// Says in an open JupyterLab or Notebook when its session will end, or why it did, and lets typing and scrolling count
// as use. By hand in the form in which JupyterLab loads extensions, so that nothing has to be built and 4 KB are all.
(() => {
  "use strict";
  const NAME = "binderlet-session-end";
  const PRESENT = 30_000; // milliseconds between two signs of a person
  const FIRST = 2_000; // milliseconds: not while the page loads
  const SOON = 3_000; // milliseconds between two questions at least
  const RETRY = 60; // seconds
  const FAILED = [424, 502, 503, 504]; // what the service answers for a session that does not
  let shared = {};

  // What the page itself uses, out of all versions that it shares with extensions.
  async function take(name) {
    const versions = Object.values(shared[name] ?? {});
    const version = versions.find((one) => one.loaded) ?? versions[0];
    return version ? (await version.get())() : {};
  }

  function clock(seconds) {
    return new Date(Date.now() + 1000 * seconds).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  }

  async function watch(app) {
    const { serverSettings, contents } = app.serviceManager;
    const place = new URL(serverSettings.baseUrl, location.href).pathname.match(/^(.*)\/user\/([^/]+)\/$/);
    const { Notification } = await take("@jupyterlab/apputils");
    if (!place || !Notification) return; // not behind binderlet, or older than JupyterLab 4
    let shown = null; // the notification that is there, and what it is about
    let used = 0;

    // A request that counts as use; the page's own polling does not.
    function use() {
      used = Date.now();
      contents.get("", { type: "directory", content: false }).catch(() => {});
    }
    function present() {
      if (Date.now() - used > PRESENT) use();
    }
    for (const kind of ["keydown", "pointerdown", "wheel"]) {
      document.addEventListener(kind, present, { capture: true, passive: true });
    }

    function say(about, kind, message, actions) {
      if (shown?.about === about) {
        Notification.update({ id: shown.id, message }); // closed by hand, it stays closed
        return;
      }
      unsay();
      shown = { about, id: Notification.emit(message, kind, { autoClose: false, actions }) };
    }
    function unsay() {
      if (shown) Notification.dismiss(shown.id);
      shown = null;
    }

    function tell(end) {
      const again = { label: "Launch again", callback: () => window.open(place[1] + end.launch) };
      const stay = { label: "I am still here", displayType: "accent", callback: use };
      if (end.ended) {
        say("ended", "error", `This session has ended: ${end.because}. Use File, Download for what you still see.`, [again]);
      } else if (end.warn && end.because === "age") {
        say("age", "warning", `This session ends at ${clock(end.ends_in)}, as none runs for longer. Download what you want to keep.`, []);
      } else if (end.warn && used < Date.now() - 1000 * end.seen - 1000) {
        say("idle", "warning", `Nobody seems to use this session: it ends at ${clock(end.ends_in)}.`, [stay]);
      } else {
        unsay();
      }
    }

    // The page fetches what draws its messages with the first of them, which is too late once the session has ended.
    setTimeout(() => take("react-toastify").catch(() => {}), FIRST);

    let timer;
    let asked = Date.now();
    async function ask() {
      clearTimeout(timer);
      asked = Date.now();
      let wait = RETRY;
      try {
        const answer = await fetch(`${place[1]}/api/sessions/${place[2]}/end`, { cache: "no-store" });
        if (answer.ok) {
          const end = await answer.json();
          tell(end);
          if (end.ended) return requests.disconnect();
          wait = end.ask_again;
        }
      } catch (error) {
        console.debug(`${NAME}: the service does not answer; sessions go on without it`, error);
      }
      clearTimeout(timer);
      timer = setTimeout(ask, 1000 * wait);
    }
    timer = setTimeout(ask, FIRST);

    // The page's own requests fail first when the session has ended.
    function failed(request) {
      return FAILED.includes(request.responseStatus) && request.name.startsWith(serverSettings.baseUrl);
    }
    const requests = new PerformanceObserver((seen) => {
      if (Date.now() - asked > SOON && seen.getEntries().some(failed)) ask();
    });
    requests.observe({ type: "resource" });
  }

  // JupyterLab does not show itself before every extension's "activate" is done, so this one begins and returns.
  const plugin = { id: `${NAME}:plugin`, autoStart: true, activate: (app) => void watch(app) };
  const extension = { __esModule: true, default: plugin };
  (window._JUPYTERLAB ??= {})[NAME] = {
    init: (scope) => void (shared = scope),
    get: async () => () => extension,
  };
})();
