// Links: from the form to a launch URL and badges, and from a `ready` event to the session. Pure functions.

/** What a pasted web address means: {provider, repo, ref, path}; fields that it does not say are "". */
export function readAddress(text, provider, providers) {
  text = text.trim();
  const chosen = providerOf(text, provider, providers);
  const found = chosen.detect && text.match(new RegExp(chosen.detect.regex));
  let repo = found?.groups?.repo ?? text;
  let ref = "", path = "";
  const isWeb = /^https?:\/\//.test(text) && repo !== text;
  const deep = isWeb && repo.match(/^([^/]+\/[^/]+)(?:\/-)?\/(tree|blob)\/([^/?#]+)\/?([^?#]*)/);
  if (deep) [, repo, , ref, path] = deep;
  if (deep && deep[2] === "tree") path = "";
  if (isWeb) repo = repo.replace(/[?#].*$/, "").replace(/\.git$/, "");
  return { provider: chosen, repo, ref: decode(ref), path: decode(path) };
}

function providerOf(text, provider, providers) {
  if (!/^(https?|git|ssh):\/\/|^git@/.test(text)) return provider;
  const owns = (entry) => {
    const found = entry.detect && text.match(new RegExp(entry.detect.regex));
    return found && found.groups?.repo !== text.replace(/\/$/, "");
  };
  if (provider.id === "git" || owns(provider)) return provider;
  return providers.find(owns) ?? providers.find((entry) => entry.id === "git") ?? provider;
}

function decode(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

/** The part of a launch URL after /v2/<provider>/, percent-encoded. */
export function makeSpec(provider, repo, ref) {
  const name = provider.repo.urlEncode ? encodeURIComponent(repo) : encodePath(repo);
  return `${name}/${provider.ref.enabled ? encodePath(ref || provider.ref.default || "HEAD") : ""}`;
}

function encodePath(text) {
  return text.split("/").map(encodeURIComponent).join("/").replaceAll("%3A", ":").replaceAll("%40", "@");
}

export function isValidSpec(provider, spec) {
  return new RegExp(`^${provider.spec.validateRegex}`).test(spec);
}

export function makeLink(base, provider, spec, path, kind) {
  const query = path ? `?${kind === "url" ? "urlpath" : "labpath"}=${encodeURIComponent(path)}` : "";
  return `${base}v2/${provider.id}/${spec}${query}`;
}

export function makeBadges(base, link) {
  const image = `${base}badge_logo.svg`;
  return {
    markdown: `[![Binder](${image})](${link})`,
    rst: `.. image:: ${image}\n   :target: ${link}`,
    html: `<a href="${link.replaceAll("&", "&amp;")}"><img src="${image}" alt="Launch on Binder"></a>`,
  };
}

/**
 * Where to go when a session is ready: labpath wins over filepath, which wins over urlpath.
 * A path never leaves the session: the token must not reach another site or another session.
 */
export function sessionUrl(url, token, query) {
  const root = new URL(url);
  const labpath = query.get("labpath"), filepath = query.get("filepath"), urlpath = query.get("urlpath");
  let path = "";
  if (labpath) path = `lab/tree/${encodeFile(labpath)}`;
  else if (filepath) path = `tree/${encodeFile(filepath)}`;
  else if (urlpath) path = urlpath.replace(/^[/\\]+/, "");
  let target = root;
  try {
    const wanted = new URL(path, root);
    if (wanted.origin === root.origin && wanted.pathname.startsWith(root.pathname)) target = wanted;
  } catch { /* not an address at all: the session's own start page it is */ }
  target = new URL(target);
  target.searchParams.append("token", token);
  return target.href;
}

function encodeFile(path) {
  return path.replace(/^\/+|\/+$/g, "").split("/").map(encodeURIComponent).join("/");
}
