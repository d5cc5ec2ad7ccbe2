// A small terminal view: text, line feeds, carriage returns, erase-in-line, and SGR colours. No cursor addressing.

const MOST_LINES = 5000;
const LONGEST_LINE = 2000;
const ESCAPE = /\x1b(?:\[([0-9;:?]*)([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_=>()][0-9A-Za-z]?)/y;
const PARTIAL = /\x1b(?:\[[0-9;:?]*|\][^\x07\x1b]{0,200})?$/;

export class Terminal {
  constructor(element) {
    this.element = element;
    this.style = "";
    this.cells = [];
    this.column = 0;
    this.pending = "";
    this.lines = [];
    this.dropped = 0;
    this.row = null;
    this.scheduled = false;
    this.text = [];
  }

  /** Add text, which may end anywhere, even inside an escape sequence. */
  write(text) {
    text = this.pending + text;
    const cut = text.match(PARTIAL);
    this.pending = cut ? cut[0] : "";
    if (cut) text = text.slice(0, cut.index);
    for (let i = 0; i < text.length;) {
      if (text[i] === "\x1b") {
        ESCAPE.lastIndex = i;
        const found = ESCAPE.exec(text);
        if (found) this.escape(found[1], found[2]);
        i += found ? found[0].length : 1;
        continue;
      }
      const point = text.codePointAt(i);
      this.put(String.fromCodePoint(point), point);
      i += point > 0xffff ? 2 : 1;
    }
    this.schedule();
  }

  put(character, point) {
    if (character === "\n") return this.feed();
    if (character === "\r") { this.column = 0; return; }
    if (character === "\b") { this.column = Math.max(0, this.column - 1); return; }
    if (character === "\t") character = "    ";
    else if (point < 32 || point === 127) return;
    if (this.column >= LONGEST_LINE) this.feed();
    this.cells[this.column++] = { character, style: this.style };
  }

  escape(parameters, final) {
    if (final === "m") this.style = sgr(this.style, parameters);
    else if (final === "K" && (!parameters || parameters === "0")) this.cells.length = Math.min(this.cells.length, this.column);
    else if (final === "K") this.cells = parameters === "2" ? [] : this.cells.fill({ character: " ", style: "" }, 0, this.column);
  }

  feed() {
    this.lines.push(this.cells);
    this.text.push(plain(this.cells));
    if (this.text.length > MOST_LINES) this.text.splice(0, this.text.length - MOST_LINES);
    this.cells = [];
    this.column = 0;
  }

  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    const frame = () => { this.scheduled = false; this.draw(); };
    if (document.hidden) setTimeout(frame, 250); else requestAnimationFrame(frame);
  }

  draw() {
    const box = this.element;
    const follow = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    this.row?.remove();
    const skipped = Math.max(0, this.lines.length - MOST_LINES);
    const fragment = document.createDocumentFragment();
    for (const cells of this.lines.slice(skipped)) fragment.append(line(cells));
    this.lines = [];
    this.row = this.cells.length ? line(this.cells) : null;
    if (this.row) fragment.append(this.row);
    box.append(fragment);
    while (box.childElementCount > MOST_LINES) box.firstElementChild.remove();
    if (follow) box.scrollTop = box.scrollHeight;
  }

  clear() {
    Object.assign(this, { style: "", cells: [], column: 0, pending: "", lines: [], row: null, text: [] });
    this.element.replaceChildren();
  }

  /** All that is shown, without colours. */
  content() {
    return [...this.text, plain(this.cells)].join("\n").trimEnd() + "\n";
  }
}

function plain(cells) {
  return Array.from(cells, (cell) => cell?.character ?? " ").join("").trimEnd();
}

function line(cells) {
  const row = document.createElement("div");
  let run = "", style = "";
  const flush = () => { if (run) row.append(span(run, style)); run = ""; };
  for (const cell of cells) {
    const next = cell?.style ?? "";
    if (next !== style) { flush(); style = next; }
    run += cell?.character ?? " ";
  }
  flush();
  if (!row.firstChild) row.append("\u200b");
  return row;
}

function span(text, style) {
  if (!style) return document.createTextNode(text);
  const node = document.createElement("span");
  node.className = style;
  node.textContent = text;
  return node;
}

/** Apply one SGR sequence to a style, which is a list of classes such as "bold fg2". */
export function sgr(style, parameters) {
  let classes = new Set(style.split(" ").filter(Boolean));
  const drop = (pattern) => { classes = new Set([...classes].filter((name) => !pattern.test(name))); };
  const codes = (parameters || "0").split(/[;:]/).map(Number);
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    if (code === 0) classes.clear();
    else if (code === 1) classes.add("bold");
    else if (code === 2) classes.add("dim");
    else if (code === 3) classes.add("italic");
    else if (code === 4) classes.add("underline");
    else if (code === 22) drop(/^(bold|dim)$/);
    else if (code === 23) drop(/^italic$/);
    else if (code === 24) drop(/^underline$/);
    else if (code === 39) drop(/^fg/);
    else if (code === 49) drop(/^bg/);
    else if (code === 38 || code === 48) {
      const colour = codes[i + 1] === 5 ? near(codes[i + 2]) : null;
      i += codes[i + 1] === 5 ? 2 : 4;
      const kind = code === 38 ? "fg" : "bg";
      drop(new RegExp(`^${kind}`));
      if (colour !== null) classes.add(kind + colour);
    } else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) {
      drop(/^fg/);
      classes.add(`fg${code < 90 ? code - 30 : code - 82}`);
    } else if ((code >= 40 && code <= 47) || (code >= 100 && code <= 107)) {
      drop(/^bg/);
      classes.add(`bg${code < 100 ? code - 40 : code - 92}`);
    }
  }
  return [...classes].sort().join(" ");
}

/** The one of 16 colours that is nearest to one of 256. */
function near(index) {
  if (!(index >= 0 && index < 256)) return null;
  if (index < 16) return index;
  if (index >= 232) return index < 238 ? 0 : index < 244 ? 8 : index < 250 ? 7 : 15;
  const cube = index - 16, parts = [Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6];
  const top = Math.max(...parts);
  if (top === 0) return 0;
  const bits = parts.reduce((sum, part, place) => sum + (part * 2 > top ? 1 << place : 0), 0);
  return top > 3 ? bits + 8 : bits;
}
