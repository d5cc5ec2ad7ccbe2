// Puts text on the clipboard, also on pages without HTTPS, where browsers offer only the older way.

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { /* no permission, or not a secure page */ }
  const before = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.readOnly = true;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus({ preventScroll: true });
  return done;
}

/** Copy, and say so on the button for a moment. */
export async function copyFrom(button, text) {
  const label = button.textContent;
  const done = await copyText(text);
  button.textContent = done ? "Copied" : "No access";
  setTimeout(() => { button.textContent = label; }, 1600);
  return done;
}
