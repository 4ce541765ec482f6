// What is beside the tree: the selected step, and the candidates with their votes.

const MOST_CHARACTERS = 20000;
const MOST_CANDIDATES = 500;

function drawDetail() {
  const index = current();
  const entry = index.named.get(selectedId());
  byId("details").classList.toggle("chosen", Boolean(entry));
  byId("details-title").textContent = entry ? `Step ${entry.level}, path ${entry.path}` : "Step";
  if (!entry) {
    byId("detail").replaceChildren(element("p", "none", "Select a step to read it."));
    return;
  }
  const { node } = entry;
  const before = ancestors(entry);
  byId("detail").replaceChildren(
    element("p", "", FATES[node.fate][2], entry.isWinner ? " It is on the winning path." : ""),
    pairs(nodeNumbers(entry)),
    ...node.steps.map(stepView),
    ...(before.length ? [pathView(before)] : []),
  );
}

function nodeNumbers(entry) {
  const { node } = entry;
  const ran = node.ran.map(([start, end]) => `${number(start)}\u2013${number(end)}`).join(", ");
  return [
    ["score of the path", score(node.score)],
    ["tokens", number(node.num_tokens)],
    ["ran ahead", node.fate === "wasted" ? "all, wasted" : number(node.num_tokens_ahead)],
    ["held a slot", ran || "\u2013"],
    ["asked for at", node.decided_at === null ? "never" : number(node.decided_at)],
    ["scored at", node.scored_at === null ? "never" : number(node.scored_at)],
    ["finish reason", node.finish_reason ?? "none"],
  ];
}

function ancestors(entry) {
  const found = [];
  for (let above = entry.parent; above; above = above.parent) found.unshift(above);
  return found;
}

function stepView(step) {
  const made = element("div", "step");
  if (step.score !== null) made.append(scoreCell(step.score));
  made.append(longText(step.text));
  return made;
}

/** A text, of a very long one the beginning and a button for the rest. */
function longText(text) {
  if (text.length <= MOST_CHARACTERS) return block("pre", "", text);
  const made = block("pre", "", text.slice(0, MOST_CHARACTERS));
  const more = element("button", "", `Show ${number(text.length - MOST_CHARACTERS)} more characters`);
  more.type = "button";
  more.addEventListener("click", () => made.replaceChildren(shown(text)));
  made.append("\u2026 ", more);
  return made;
}

function pathView(before) {
  const made = element("details", "", element("summary", "", before.length === 1 ? "The step before it" : `The ${before.length} steps before it`));
  made.addEventListener("toggle", () => {
    if (made.open && made.children.length === 1) {
      made.append(...before.flatMap((one) => one.node.steps.map(stepView)));
    }
  });
  return made;
}

function drawRanking({ result, named }) {
  byId("votes").replaceChildren(...(result.votes.length ? [votesView(result)] : []));
  const first = result.candidates.slice(0, MOST_CANDIDATES);
  const numMore = result.candidates.length - first.length;
  byId("candidates").replaceChildren(
    ...first.map((one, rank) => candidateView(one, rank, named)),
    ...(numMore ? [element("li", "none", `and ${number(numMore)} more, among the steps`)] : []),
  );
  byId("ranking-title").textContent = `Candidates (${number(result.candidates.length)})`;
}

function votesView({ votes, config }) {
  const most = votes[0].weight || 1;
  const first = votes.slice(0, MOST_CANDIDATES);
  const which = votes.length > first.length ? `, the first ${number(first.length)} of ${number(votes.length)} answers` : "";
  const made = element("table", "votes", element("caption", "", `Votes: ${config.selection}${which}`));
  made.append(
    ...first.map((vote) => {
      const bar = element("i", "bar");
      bar.style.setProperty("--share", vote.weight / most);
      const name = element("th", "", block("span", "", line(vote.answer, 60)));
      name.scope = "row";
      return element("tr", "", name, element("td", "", bar), element("td", "", number(vote.weight)));
    }),
  );
  return made;
}

function candidateView(candidate, rank, named) {
  const answer = candidate.answer === null ? element("span", "none", "no answer") : block("b", "", line(candidate.answer, 60));
  const told = [
    candidate.score === null ? null : candidate.score.toFixed(4),
    `${number(candidate.num_tokens)} tokens`,
    candidate.finish_reason === "stop" ? null : "cut off",
    candidate.is_malformed ? "malformed" : null,
    candidate.answer !== null && !candidate.is_announced ? "not announced" : null,
  ].filter(Boolean);
  const entry = named.get(candidate.path.join("."));
  const made = element("button", "", answer, " ", element("small", "", told.join(" \u00b7 ")));
  made.type = "button";
  made.disabled = !entry;
  made.addEventListener("click", () => reveal(entry));
  return element("li", rank === 0 ? "winner" : "", made);
}
