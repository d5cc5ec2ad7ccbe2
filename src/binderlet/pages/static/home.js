import { copyFrom } from "./copy.js";
import { isValidSpec, makeBadges, makeLink, makeSpec, readAddress } from "./links.js";

const { repoProviders: providers, badgeBaseUrl } = window.pageConfig;
const $ = (id) => document.getElementById(id);
const OUTPUTS = ["link", "markdown", "rst", "html"];

function chosen() {
  return providers.find((entry) => entry.id === $("provider").value);
}

function showProvider() {
  const provider = chosen();
  $("repo-label").textContent = provider.repo.label;
  $("repo").placeholder = provider.repo.placeholder.replace(/^example: /, "").split(" or ")[0];
  $("ref").disabled = !provider.ref.enabled;
  $("ref").placeholder = provider.ref.enabled ? provider.ref.default || "HEAD" : "not used here";
  $("repo-help").textContent = provider.repo.placeholder ? `For example ${provider.repo.placeholder.replace(/^example: /, "")}` : "";
}

/** The link the form stands for, or "" with the reason shown. */
function read({ complain }) {
  const text = $("repo").value.trim();
  const { provider, repo } = readAddress(text, chosen(), providers);
  const spec = makeSpec(provider, repo, $("ref").value.trim());
  const valid = repo !== "" && isValidSpec(provider, decodeURIComponentSafe(spec, provider));
  let error = "";
  if (complain && !repo) error = "Which repository? Paste its address or name.";
  else if (complain && !valid) error = `This is not a ${provider.displayName} repository; it should look like ${$("repo").placeholder || "owner/name"}.`;
  $("repo-error").textContent = error;
  $("repo").setAttribute("aria-invalid", String(Boolean(error)));
  return valid ? { provider, spec } : null;
}

function decodeURIComponentSafe(spec, provider) {
  return provider.repo.urlEncode ? spec : decodeURI(spec);
}

function update(options = {}) {
  const found = read({ complain: false, ...options });
  const path = $("path").value.trim();
  const link = found ? makeLink(badgeBaseUrl, found.provider, found.spec, path, $("kind").value) : "";
  const values = link ? { link, ...makeBadges(badgeBaseUrl, link) } : {};
  for (const id of OUTPUTS) $(id).value = values[id] ?? "";
  for (const button of document.querySelectorAll("[data-copy]")) button.disabled = !link;
  $("share-hint").textContent = link ? "Whoever opens it gets a session of their own." : "Fill in the form to make a link and a badge.";
  return found && makeLink("/", found.provider, found.spec, path, $("kind").value);
}

/** A pasted address may say more than the repository: which provider, ref and file. */
function spread() {
  const { provider, repo, ref, path } = readAddress($("repo").value, chosen(), providers);
  if (provider.id !== $("provider").value) { $("provider").value = provider.id; showProvider(); }
  if (ref) { $("ref").value = ref; $("path").value = path; $("repo").value = repo; }
}

async function copy(button) {
  const name = button.getAttribute("aria-label").replace("Copy ", "");
  const done = await copyFrom(button, $(button.dataset.copy).value);
  $("copied").textContent = done ? `Copied the ${name}.` : `The browser does not let the ${name} be copied.`;
}

$("form").addEventListener("input", (event) => {
  if (event.target === $("repo")) spread();
  update();
});
$("provider").addEventListener("change", () => { showProvider(); update(); });
$("kind").addEventListener("change", () => {
  $("path").placeholder = $("kind").value === "url" ? "lab?reset" : "notebooks/start.ipynb";
  update();
});
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const link = update({ complain: true });
  if (link) location.href = link; else $("repo").focus();
});
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
showProvider();
update();
