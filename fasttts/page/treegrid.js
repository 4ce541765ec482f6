// The steps as a treegrid after WAI-ARIA; of many rows, those in view exist.

const ROW_HEIGHT = 30;
const MARGIN_ROWS = 12;

class TreeGrid {
  /**
   * @param {{toggle: function(object, boolean): void, select: function(object): void}} listener
   */
  constructor(listener) {
    this.grid = byId("grid");
    this.body = byId("rows");
    this.listener = listener;
    this.rows = [];
    this.active = -1;
    this.numIterations = 1;
    this.grid.addEventListener("scroll", () => this.draw());
    this.grid.addEventListener("keydown", (event) => this.press(event));
    this.body.addEventListener("click", (event) => this.click(event));
    new ResizeObserver(() => this.draw()).observe(this.grid);
  }

  /** Shows rows; keeps the active one where it is still there. */
  show(rows, numIterations, activeId) {
    this.rows = rows;
    this.numIterations = numIterations;
    this.active = rows.findIndex((row) => row.id === activeId);
    this.body.style.height = `${rows.length * ROW_HEIGHT}px`;
    this.grid.setAttribute("aria-rowcount", rows.length + 1);
    this.draw();
  }

  /** Makes a row the active one and brings it into view. */
  activate(position) {
    if (!this.rows.length) return;
    this.active = Math.min(Math.max(position, 0), this.rows.length - 1);
    const head = this.body.offsetTop;
    const top = this.active * ROW_HEIGHT;
    const room = this.grid.clientHeight - head;
    if (top < this.grid.scrollTop) this.grid.scrollTop = top;
    else if (top + ROW_HEIGHT > this.grid.scrollTop + room) this.grid.scrollTop = top + ROW_HEIGHT - room;
    this.draw();
    this.listener.select(this.rows[this.active]);
  }

  draw() {
    const first = Math.max(0, Math.floor(this.grid.scrollTop / ROW_HEIGHT) - MARGIN_ROWS);
    const number = Math.ceil(this.grid.clientHeight / ROW_HEIGHT) + 2 * MARGIN_ROWS;
    const positions = new Set();
    for (let at = first; at < Math.min(first + number, this.rows.length); at += 1) positions.add(at);
    if (this.active >= 0) positions.add(this.active); // a screen reader follows it out of view
    const drawn = [...positions].sort((a, b) => a - b).map((at) => this.row(at));
    this.body.replaceChildren(...drawn);
    if (this.active >= 0) this.grid.setAttribute("aria-activedescendant", `row-${this.active}`);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  row(at) {
    const row = this.rows[at];
    const { entry } = row;
    const made = element("div", "row");
    made.id = `row-${at}`;
    made.dataset.at = at;
    made.style.top = `${at * ROW_HEIGHT}px`;
    made.classList.toggle("winner", entry.isWinner);
    made.classList.toggle("wasted", entry.node.fate === "wasted");
    made.classList.toggle("context", Boolean(row.isContext));
    const attributes = {
      role: "row",
      "aria-level": row.level,
      "aria-posinset": row.position,
      "aria-setsize": row.size,
      "aria-rowindex": at + 2,
      "aria-selected": at === this.active,
    };
    if (row.canOpen) attributes["aria-expanded"] = row.isOpen;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...cells(row, this.numIterations));
    return made;
  }

  click(event) {
    const row = event.target.closest(".row");
    if (!row) return;
    const at = Number(row.dataset.at);
    if (event.target.closest(".fold") && this.rows[at].canOpen) {
      this.listener.toggle(this.rows[at], !this.rows[at].isOpen);
      at === this.active || this.activate(at);
      return;
    }
    this.activate(at);
  }

  press(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.grid.clientHeight / ROW_HEIGHT) - 2);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page };
    const row = this.rows[this.active];
    if (event.key in moves) this.activate(this.active < 0 ? 0 : this.active + moves[event.key]);
    else if (event.key === "Home") this.activate(0);
    else if (event.key === "End") this.activate(this.rows.length - 1);
    else if (event.key === "ArrowRight" && row) this.deeper(row);
    else if (event.key === "ArrowLeft" && row) this.higher(row);
    else if ((event.key === "Enter" || event.key === " ") && row?.canOpen) this.listener.toggle(row, !row.isOpen);
    else return;
    event.preventDefault();
  }

  deeper(row) {
    if (row.canOpen && !row.isOpen) this.listener.toggle(row, true);
    else if (row.canOpen) this.activate(this.active + 1);
  }

  higher(row) {
    if (row.canOpen && row.isOpen) {
      this.listener.toggle(row, false);
      return;
    }
    for (let at = this.active - 1; at >= 0; at -= 1) {
      if (this.rows[at].level < row.level) return void this.activate(at);
    }
  }
}

/** The cells of a row: text, score, fate, tokens and iterations. */
function cells(row, numIterations) {
  const { entry, step } = row;
  const { node } = entry;
  const isStep = step !== null;
  const value = isStep ? node.steps[step].score : node.score;
  const [sign, name] = FATES[node.fate];
  const made = [
    textCell(row),
    scoreCell(value),
    element("span", `fate ${node.fate}`, ...(isStep ? [] : [fateSign(sign), element("span", "word", name)])),
    element("span", "tokens", isStep ? "" : number(node.num_tokens)),
    isStep ? element("span", "when") : whenCell(node, numIterations),
  ];
  made.forEach((cell, column) => {
    cell.setAttribute("role", "gridcell");
    cell.setAttribute("aria-colindex", column + 1);
  });
  return made;
}

function fateSign(sign) {
  const made = element("span", "sign", sign);
  made.setAttribute("aria-hidden", "true");
  return made;
}

function textCell(row) {
  const { entry, step } = row;
  const cell = element("span", "text");
  cell.style.setProperty("--level", row.level - 1);
  const fold = element("span", row.canOpen ? "fold" : "fold none", row.canOpen ? (row.isOpen ? "\u25be" : "\u25b8") : "");
  fold.setAttribute("aria-hidden", "true");
  cell.append(fold);
  if (entry.isWinner && step === null) cell.append(element("span", "star", "\u2605"), element("span", "spoken", "winning path: "));
  const { steps } = entry.node;
  if (step === null && steps.length > 1) cell.append(element("span", "many", `${steps.length} steps`));
  const text = line(steps[step ?? steps.length - 1]?.text ?? ""); // of a whole answer, how it ends
  const shownText = element("bdi", "", shown(text || "(no text)"));
  shownText.dir = "auto";
  if (!text) shownText.className = "none";
  cell.append(shownText);
  return cell;
}

function scoreCell(value) {
  const cell = element("span", "score");
  if (value === null || value === undefined) return cell;
  const bar = element("i", "bar");
  bar.style.setProperty("--share", Math.min(Math.max(value, 0), 1));
  cell.append(bar, value.toFixed(3));
  return cell;
}

function whenCell(node, numIterations) {
  const cell = element("span", "when");
  const spans = stretches(node);
  for (const [start, end, kind] of spans) {
    const bar = element("i", kind);
    bar.style.left = `${(100 * start) / numIterations}%`;
    bar.style.width = `${(100 * (end - start)) / numIterations}%`;
    cell.append(bar);
  }
  const told = spans.map(([start, end, kind]) => `${start} to ${end} ${KIND_NAMES[kind]}`);
  cell.append(element("span", "spoken", told.join(", ")));
  return cell;
}

const KIND_NAMES = { required: "required", ahead: "ran ahead, kept", wasted: "ran ahead, wasted" };
