// A search as the page uses it: the nodes of its record, linked and named.

const FATES = {
  continued: ["\u25cf", "continued", "Continued: a decision let it grow."],
  answer: ["\u25c6", "answer", "An answer ends here."],
  pruned: ["\u2715", "pruned", "Pruned: a decision preferred others."],
  dominated: ["\u2298", "given up", "Given up before it was scored: no score could have saved it."],
  running: ["\u2026", "running", "Running: it was still decoding, or waited for a decision."],
  wasted: ["\u25cb", "wasted", "Wasted: it was generated ahead, and no decision asked for it."],
};

const KINDS = {
  winner: (entry) => entry.isWinner,
  kept: ({ node }) => node.fate === "continued" || node.fate === "answer",
  pruned: ({ node }) => node.fate === "pruned" || node.fate === "dominated",
  ahead: ({ node }) => node.fate !== "wasted" && node.num_tokens_ahead > 0,
  wasted: ({ node }) => node.fate === "wasted",
};

/** Nodes with parents, children and stable names: a wasted node may share the path of another. */
function indexed(result) {
  const nodes = result.record.nodes;
  const winner = winningPath(result);
  const candidates = new Map(result.candidates.map((one, rank) => [one.path.join("."), rank]));
  const named = new Map();
  const repeats = new Map();
  const entries = nodes.map((node) => {
    const path = node.path.join(".");
    const isWasted = node.fate === "wasted";
    const repeat = isWasted ? (repeats.get(path) || 0) + 1 : 0;
    if (isWasted) repeats.set(path, repeat);
    const id = path + "~".repeat(repeat);
    const isWinner = !isWasted && winner.has(path);
    const rank = isWasted ? undefined : candidates.get(path);
    const entry = { id, path, node, isWinner, rank, parent: null, children: [], level: node.path.length };
    named.set(id, entry);
    return entry;
  });
  const roots = [];
  for (const entry of entries) {
    const above = entry.node.path.slice(0, -1).join(".");
    entry.parent = above ? named.get(above) || named.get(`${above}~`) || null : null;
    (entry.parent ? entry.parent.children : roots).push(entry);
    entry.numBefore = entry.parent ? entry.parent.numBefore + numSteps(entry.parent) : 0;
  }
  return { result, entries, roots, named, winner, numIterations: numIterations(result) };
}

/** The paths from a root to the chosen candidate; empty where that is in no tree. */
function winningPath(result) {
  const [best] = result.candidates;
  const path = best ? best.path : [];
  return new Set(path.map((_, depth) => path.slice(0, depth + 1).join(".")));
}

function numSteps(entry) {
  return Math.max(1, entry.node.steps.length);
}

function textOf(entry) {
  return entry.node.steps.map((step) => step.text).join("\n");
}

function numIterations(result) {
  const ends = result.record.nodes.flatMap((node) => node.ran.map(([, end]) => end));
  const occupied = [result.occupancy.required.length, result.occupancy.plain.length];
  return [...ends, ...occupied].reduce((most, one) => Math.max(most, one), 1);
}

/** The stretches in which a node held a slot, each with the kind of work that it was then. */
function stretches(node) {
  const decided = node.fate === "wasted" ? Infinity : node.decided_at ?? Infinity;
  const early = node.fate === "wasted" ? "wasted" : "ahead";
  return node.ran.flatMap(([start, end]) => {
    const middle = Math.min(Math.max(decided, start), end);
    return [[start, middle, early], [middle, end, "required"]].filter(([from, to]) => to > from);
  });
}

/** Sequences of each kind in each iteration. */
function slotsOverTime(index) {
  const counts = {};
  for (const kind of ["required", "ahead", "wasted"]) {
    counts[kind] = new Float64Array(index.numIterations + 1);
  }
  for (const { node } of index.entries) {
    for (const [start, end, kind] of stretches(node)) {
      counts[kind][start] += 1;
      counts[kind][end] -= 1;
    }
  }
  for (const values of Object.values(counts)) {
    for (let at = 1; at < values.length; at += 1) values[at] += values[at - 1];
  }
  return counts;
}

/** A small tree is unfolded, of a large one the winning path is; what was wasted is folded. */
function isOpenAtFirst(entry, numEntries) {
  if (entry.node.fate === "wasted" || entry.node.steps.length > 1) return false;
  return entry.isWinner || numEntries <= 300;
}

/** Whether a filter asks for anything. */
function isFiltering(filter) {
  return Boolean(filter.text || filter.kinds.size || filter.least > 0);
}

function matches(entry, filter) {
  const { node } = entry;
  if (filter.least > 0 && !(node.score >= filter.least)) return false;
  if (filter.kinds.size && ![...filter.kinds].some((kind) => KINDS[kind](entry))) return false;
  return !filter.text || textOf(entry).toLowerCase().includes(filter.text);
}

/** The entries that a filter asks for, and those above them. */
function filtered(index, filter) {
  const found = new Set();
  const kept = new Set();
  for (const entry of index.entries) {
    if (!matches(entry, filter)) continue;
    found.add(entry);
    for (let one = entry; one && !kept.has(one); one = one.parent) kept.add(one);
  }
  return { found, kept };
}

/** The rows that are unfolded, in order; a node with several steps has a row for each below it. */
function unfolded(index, folds, filter) {
  const { found, kept } = isFiltering(filter) ? filtered(index, filter) : { found: null, kept: null };
  const isOpen = (entry) =>
    folds.get(entry.id) ?? (kept ? true : isOpenAtFirst(entry, index.entries.length));
  const below = (entries) => (kept ? entries.filter((one) => kept.has(one)) : entries);
  const rows = [];
  const waiting = siblings(below(index.roots));
  while (waiting.length) {
    const row = waiting.pop();
    rows.push(row);
    if (row.step !== null) continue;
    const { entry } = row;
    const children = below(entry.children);
    const steps = entry.node.steps.length > 1 ? entry.node.steps : [];
    row.canOpen = children.length + steps.length > 0;
    row.isOpen = row.canOpen && isOpen(entry);
    row.isContext = found !== null && !found.has(entry);
    if (row.isOpen) waiting.push(...siblings(children, entry, steps));
  }
  return { rows, numFound: found ? found.size : index.entries.length };
}

/** The rows of siblings, last first. */
function siblings(entries, parent = null, steps = []) {
  const size = entries.length + steps.length;
  const rows = steps.map((_, step) => ({ id: `${parent.id}#${step}`, entry: parent, step, level: parent.level + 1 }));
  rows.push(...entries.map((entry) => ({ id: entry.id, entry, step: null, level: entry.level })));
  rows.forEach((row, position) => Object.assign(row, { position: position + 1, size }));
  return rows.reverse();
}
