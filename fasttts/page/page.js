// The page: `render(data)` draws searches, and may be called again with newer ones.

const state = {
  searches: [],
  chosen: 0,
  folds: [],
  filterFolds: new Map(),
  filter: { text: "", kinds: new Set(), least: 0 },
  selected: [],
  frame: 0,
  findOnMap: () => null,
};

const STOPS = {
  complete: "",
  seconds: " The search ended at its budget of seconds.",
  tokens: " The search ended at its budget of tokens.",
  verifier_calls: " The search ended at its budget of verifier calls.",
  refused: " The search was refused: it could not have met its deadline.",
  cancelled: " The search was cancelled.",
};

const grid = new TreeGrid({ toggle, select });

/**
 * Draws searches, each a result's JSON; keeps folds, filters, selection and the chosen search.
 * @param {{results: object[]}} data
 */
function render(data) {
  state.searches = data.results.map(indexed);
  state.folds = state.searches.map((_, at) => state.folds[at] ?? new Map());
  state.chosen = Math.max(0, Math.min(state.chosen, state.searches.length - 1));
  drawCards();
  drawSearch();
}

function current() {
  return state.searches[state.chosen];
}

function drawCards() {
  const longest = state.searches.reduce((most, one) => Math.max(most, one.numIterations), 1);
  byId("searches").hidden = state.searches.length < 2;
  const hadFocus = byId("cards").contains(document.activeElement);
  byId("cards").replaceChildren(...state.searches.map(card));
  if (byId("searches").hidden) return;
  state.searches.forEach((index, at) => {
    const [tree, slots] = byId("cards").children[at].querySelectorAll("canvas");
    drawTree(tree, index, 110);
    drawSlots(slots, index, 44, longest, false);
  });
  if (hadFocus) byId("cards").children[state.chosen].focus();
}

function card(index, at) {
  const { result } = index;
  const made = element(
    "button",
    "card",
    element("span", "method", shown(methodOf(result))),
    element("span", "given", ...answerOf(result)),
    element("span", "picture", element("canvas")),
    element("span", "picture", element("canvas")),
    pairs(shortNumbers(index)),
  );
  made.type = "button";
  made.setAttribute("role", "tab");
  made.setAttribute("aria-selected", at === state.chosen);
  made.setAttribute("aria-controls", "search");
  made.tabIndex = at === state.chosen ? 0 : -1;
  made.querySelectorAll("canvas").forEach((canvas) => canvas.setAttribute("aria-hidden", "true"));
  made.addEventListener("click", () => choose(at));
  made.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (move) choose((at + move + state.searches.length) % state.searches.length, true);
  });
  return made;
}

function choose(at, takesFocus = false) {
  state.chosen = at;
  state.filterFolds = new Map();
  [...byId("cards").children].forEach((one, position) => {
    one.setAttribute("aria-selected", position === at);
    one.tabIndex = position === at ? 0 : -1;
  });
  if (takesFocus) byId("cards").children[at].focus();
  grid.grid.scrollTop = 0;
  drawSearch();
}

function methodOf({ config }) {
  if (config.search === "none") return "plain decoding";
  const chosenBy = config.selection && config.selection !== "best" ? `, ${config.selection}` : "";
  return `${config.search}, n = ${config.n}${chosenBy}`;
}

function modelsOf({ generator, verifier }) {
  return [`generator ${generator}`, verifier === null ? "no verifier" : `verifier ${verifier}`];
}

function answerOf(result) {
  if (result.answer === null) return [element("span", "none", "no answer found")];
  return [block("b", "", line(result.answer, 80))];
}

function shortNumbers(index) {
  const { usage, timings, score: best, occupancy } = index.result;
  return [
    ["score", score(best)],
    ["tokens", number(usage.generated_tokens)],
    ["nodes", number(usage.num_nodes)],
    ["iterations", `${number(usage.num_iterations)} (plain ${number(occupancy.plain.length)})`],
    ["time", usage.is_cached ? "from the cache" : seconds(timings.total_s)],
  ];
}

function pairs(rows) {
  const made = element("dl");
  made.append(...rows.map(([name, value]) => element("div", "", element("dt", "", name), element("dd", "", value))));
  return made;
}

function drawSearch() {
  const index = current();
  byId("search").hidden = !index;
  if (!index) return void byId("problem").replaceChildren("No search yet");
  drawOutcome(index);
  drawRanking(index);
  drawRows();
  drawFigures();
  drawDetail();
}

function drawOutcome({ result, entries }) {
  const problem = result.record.problem || "A search";
  document.title = `${plain(line(problem, 60))} \u2013 FastTTS`;
  byId("problem").replaceChildren(shown(problem));
  byId("over").replaceChildren(
    shown([methodOf(result), ...modelsOf(result), `seed ${result.seed}`].join(" \u00b7 ")),
  );
  const cut = result.finish_reason === "length" ? " It was cut off." : "";
  byId("answer").replaceChildren("Answer: ", ...answerOf(result), cut + STOPS[result.stop_reason]);
  byId("numbers").replaceWith(numbers(result, entries));
  byId("warnings").hidden = !result.warnings.length;
  byId("warnings").replaceChildren(...result.warnings.map((one) => block("li", "", one)));
}

function numbers(result, entries) {
  const { usage, timings, occupancy, record } = result;
  const ahead = usage.speculated_tokens;
  const rows = [
    ["score", score(result.score)],
    ["nodes", number(entries.filter(({ node }) => node.fate !== "wasted").length)],
    ["tokens generated", number(usage.generated_tokens)],
    ["ran ahead, kept", number(ahead)],
    ["wasted", number(usage.generated_tokens - usage.required_tokens)],
    ["iterations", number(usage.num_iterations)],
    ["plain loop", number(occupancy.plain.length)],
    ["slots", number(record.num_slots)],
    ["time", usage.is_cached ? "from the cache" : seconds(timings.total_s)],
  ];
  const made = pairs(rows);
  made.id = "numbers";
  return made;
}

function drawFigures() {
  const index = current();
  const { usage, record } = index.result;
  drawTreeOfCurrent();
  drawSlots(byId("slots"), index, 200);
  byId("map").setAttribute("aria-label", `Tree of ${number(index.entries.length)} nodes; the table below has them all.`);
  byId("slots").setAttribute(
    "aria-label",
    `${number(usage.num_iterations)} iterations in ${number(record.num_slots)} slots; the plain loop needs ${number(index.result.occupancy.plain.length)}.`,
  );
}

function drawTreeOfCurrent() {
  state.findOnMap = drawTree(byId("map"), current(), 200, current().named.get(selectedId()));
}

function drawRows() {
  const index = current();
  const { rows, numFound } = unfolded(index, folds(), state.filter);
  grid.show(rows, index.numIterations, state.selected[state.chosen]);
  byId("when").textContent = `Iterations 0 to ${number(index.numIterations)}`;
  const all = `${number(index.entries.length)} nodes`;
  const numWasted = index.entries.filter(KINDS.wasted).length;
  const wasted = numWasted ? `, ${number(numWasted)} of them wasted` : "";
  byId("count").textContent = isFiltering(state.filter) ? `${number(numFound)} of ${all}` : all + wasted;
}

function folds() {
  return isFiltering(state.filter) ? state.filterFolds : state.folds[state.chosen];
}

function toggle(row, isOpen) {
  folds().set(row.entry.id, isOpen);
  drawRows();
}

function select(row) {
  state.selected[state.chosen] = row.id;
  drawDetail();
  cancelAnimationFrame(state.frame);
  state.frame = requestAnimationFrame(drawTreeOfCurrent);
}

/** The entry whose row is selected. */
function selectedId() {
  return (state.selected[state.chosen] ?? "").split("#")[0];
}

/** Unfolds everything above an entry and makes its row the active one. */
function reveal(entry) {
  for (let above = entry.parent; above; above = above.parent) folds().set(above.id, true);
  drawRows();
  let at = grid.rows.findIndex((row) => row.id === entry.id);
  if (at < 0) {
    clearFilter();
    return void reveal(entry);
  }
  grid.activate(at);
}

function followWinner() {
  const path = current().entries.filter((entry) => entry.isWinner);
  if (path.length) reveal(path.at(-1));
}

function foldAll(isOpen) {
  for (const entry of current().entries) folds().set(entry.id, isOpen);
  drawRows();
}

function filterBy(change) {
  Object.assign(state.filter, change);
  state.filterFolds = new Map();
  byId("least-value").textContent = state.filter.least.toFixed(2);
  document.querySelectorAll("[data-kind]").forEach((chip) => {
    chip.setAttribute("aria-pressed", state.filter.kinds.has(chip.dataset.kind));
  });
  grid.grid.scrollTop = 0;
  drawRows();
}

function clearFilter() {
  byId("find").value = "";
  byId("least").value = 0;
  filterBy({ text: "", kinds: new Set(), least: 0 });
}

function listen() {
  byId("find").addEventListener("input", (event) => filterBy({ text: event.target.value.toLowerCase() }));
  byId("least").addEventListener("input", (event) => filterBy({ least: Number(event.target.value) }));
  document.querySelectorAll("[data-kind]").forEach((chip) => {
    chip.addEventListener("click", () => {
      const kinds = new Set(state.filter.kinds);
      kinds.delete(chip.dataset.kind) || kinds.add(chip.dataset.kind);
      filterBy({ kinds });
    });
  });
  byId("unfold").addEventListener("click", () => foldAll(true));
  byId("fold").addEventListener("click", () => foldAll(false));
  byId("follow").addEventListener("click", followWinner);
  byId("map").addEventListener("click", (event) => {
    const entry = state.findOnMap(event.offsetX, event.offsetY);
    if (entry) reveal(entry);
  });
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input[type=search]");
    if (isTyping || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "/") byId("find").focus();
    else if (event.key === "w") followWinner();
    else return;
    event.preventDefault();
  });
  const redraw = () => {
    drawCards();
    if (current()) drawFigures();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.addEventListener("resize", redraw);
}

listen();
render(JSON.parse(byId("data").textContent));
window.fasttts = { render };
if (document.body.dataset.feed) {
  new EventSource(document.body.dataset.feed).onmessage = (event) => render(JSON.parse(event.data));
}
