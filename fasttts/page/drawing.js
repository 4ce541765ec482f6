// Pictures of a search on canvases: its tree, and the slots of the generator over time.

/** A canvas at the resolution of the screen; its size in CSS pixels. */
function prepared(canvas, height) {
  const width = Math.max(canvas.parentElement.clientWidth, 40);
  const density = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * density);
  canvas.height = Math.round(height * density);
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(density, density);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

function palette() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  const names = ["ink", "muted", "faint", "panel", "required", "ahead", "wasted", "low", "high", "unscored"];
  return { ...Object.fromEntries(names.map((name) => [name, color(name)])), font: style.fontFamily };
}

function blend(low, high, share) {
  const parts = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  const [from, to] = [parts(low), parts(high)];
  return `rgb(${from.map((one, at) => Math.round(one + (to[at] - one) * share)).join(",")})`;
}

/** Where each step of each node stands, from 0 to 1 in both directions. */
function placed(index) {
  if (index.places) return index.places;
  const places = new Map();
  let numLeaves = 0;
  let deepest = 1;
  for (const entry of index.entries) {
    deepest = Math.max(deepest, entry.numBefore + numSteps(entry));
    if (!entry.children.length) places.set(entry, { y: numLeaves++ });
  }
  for (const entry of [...index.entries].reverse()) {
    if (!entry.children.length) continue;
    const ys = entry.children.map((child) => places.get(child)?.y ?? 0);
    places.set(entry, { y: ys.reduce((sum, y) => sum + y, 0) / ys.length });
  }
  for (const [entry, place] of places) {
    place.y = (place.y + 0.5) / Math.max(numLeaves, 1);
    place.x = entry.node.steps.length
      ? entry.node.steps.map((_, step) => (entry.numBefore + step + 1) / deepest)
      : [(entry.numBefore + 1) / deepest];
  }
  index.places = places;
  return places;
}

/** Draws the tree; returns a function that finds the entry nearest to a point. */
function drawTree(canvas, index, height, selected = null) {
  const { context, width } = prepared(canvas, height);
  const colors = palette();
  const places = placed(index);
  const dense = index.entries.length > 800;
  const radius = Math.max(1.3, Math.min(4.5, (0.4 * height) / mostInColumn(index)));
  const margin = radius + 6;
  const at = (x, y) => [margin + x * (width - 2 * margin), margin + y * (height - 2 * margin)];
  const middle = index.roots.length
    ? index.roots.reduce((sum, root) => sum + places.get(root).y, 0) / index.roots.length
    : 0.5;
  const origin = at(0, middle);

  const edge = (entry) => {
    const place = places.get(entry);
    const above = entry.parent ? places.get(entry.parent) : null;
    const from = above ? at(above.x.at(-1), above.y) : origin;
    const to = at(place.x[0], place.y);
    const bend = (from[0] + to[0]) / 2;
    context.moveTo(...from);
    context.bezierCurveTo(bend, from[1], bend, to[1], ...to);
    if (place.x.length > 1) context.lineTo(...at(place.x.at(-1), place.y));
  };
  const edges = (entries, color, thick, dash = [], strength = 1) => {
    context.globalAlpha = strength;
    context.strokeStyle = color;
    context.lineWidth = thick;
    context.setLineDash(dash);
    context.beginPath();
    entries.forEach(edge);
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
  };
  const isWasted = (entry) => entry.node.fate === "wasted";
  edges(index.entries.filter(isWasted), colors.wasted, 0.7, dense ? [] : [2, 2], dense ? 0.3 : 1);
  edges(index.entries.filter((entry) => !isWasted(entry)), colors.faint, dense ? 0.6 : 1, [], dense ? 0.3 : 1);
  edges(index.entries.filter((entry) => entry.isWinner), colors.high, 2.5);
  for (const entry of index.entries) drawSteps(context, entry, places.get(entry), at, radius, colors);
  if (selected && places.has(selected)) mark(context, places.get(selected), at, radius, colors);
  context.fillStyle = colors.muted;
  context.fillRect(origin[0] - 2, origin[1] - 6, 3, 12);
  return (x, y) => nearest(places, at, x, y);
}

/** The most steps that stand above each other. */
function mostInColumn(index) {
  const counts = new Map();
  let most = 1;
  for (const entry of index.entries) {
    const count = (counts.get(entry.numBefore) ?? 0) + 1;
    counts.set(entry.numBefore, count);
    most = Math.max(most, count);
  }
  return most;
}

function drawSteps(context, entry, place, at, radius, colors) {
  const { node } = entry;
  const hollow = node.fate !== "continued" && node.fate !== "answer";
  place.x.forEach((x, step) => {
    const value = node.steps.length > 1 ? node.steps[step].score : node.score ?? node.steps[step]?.score ?? null;
    const color =
      node.fate === "wasted" ? colors.wasted
      : value === null ? colors.unscored
      : blend(colors.low, colors.high, value);
    const isEnd = node.fate === "answer" && step === place.x.length - 1;
    context.beginPath();
    if (isEnd) diamond(context, ...at(x, place.y), radius * 1.6);
    else context.arc(...at(x, place.y), hollow ? radius * 0.8 : radius, 0, 2 * Math.PI);
    context.fillStyle = hollow ? colors.panel : color;
    context.fill();
    if (!hollow) return;
    context.strokeStyle = color;
    context.lineWidth = Math.max(0.8, radius * 0.4);
    context.stroke();
  });
}

function diamond(context, x, y, size) {
  context.moveTo(x, y - size);
  context.lineTo(x + size, y);
  context.lineTo(x, y + size);
  context.lineTo(x - size, y);
  context.closePath();
}

function mark(context, place, at, radius, colors) {
  context.beginPath();
  context.arc(...at(place.x.at(-1), place.y), radius + 4, 0, 2 * Math.PI);
  context.strokeStyle = colors.ink;
  context.lineWidth = 1.5;
  context.stroke();
}

function nearest(places, at, x, y) {
  let found = null;
  let least = Infinity;
  for (const [entry, place] of places) {
    for (const one of place.x) {
      const [left, top] = at(one, place.y);
      const distance = (left - x) ** 2 + (top - y) ** 2;
      if (distance < least) [found, least] = [entry, distance];
    }
  }
  return found;
}

const AXIS = { left: 34, bottom: 18, top: 6, right: 6 };

/** Draws the sequences in each iteration, stacked by kind, with the plain loop as a line. */
function drawSlots(canvas, index, height, numIterations = index.numIterations, hasAxes = true) {
  const { context, width } = prepared(canvas, height);
  const colors = palette();
  const counts = slotsOverTime(index);
  const plainLoop = index.result.occupancy.plain;
  const pad = hasAxes ? AXIS : { left: 1, bottom: 1, top: 2, right: 1 };
  const total = counts.required.map((one, at) => one + counts.ahead[at] + counts.wasted[at]);
  const highest = [...total, ...plainLoop].reduce((most, one) => Math.max(most, one), 1);
  const left = (at) => pad.left + (at / numIterations) * (width - pad.left - pad.right);
  const top = (count) => height - pad.bottom - (count / highest) * (height - pad.bottom - pad.top);
  const floor = new Float64Array(total.length);
  for (const kind of ["required", "ahead", "wasted"]) {
    const ceiling = floor.map((below, at) => below + counts[kind][at]);
    context.fillStyle = colors[kind];
    context.beginPath();
    stairs(context, ceiling, left, top, 1);
    stairs(context, floor, left, top, -1);
    context.fill();
    floor.set(ceiling);
  }
  context.strokeStyle = colors.ink;
  context.lineWidth = 1.2;
  context.beginPath();
  stairs(context, plainLoop, left, top, 1, plainLoop.length);
  context.stroke();
  if (hasAxes) drawAxes(context, { width, height, highest, numIterations, left, top, colors });
}

/** A line of steps along counts, forwards or back. */
function stairs(context, counts, left, top, direction, end = counts.length - 1) {
  for (let step = 0; step < end; step += 1) {
    const at = direction > 0 ? step : end - 1 - step;
    context.lineTo(left(direction > 0 ? at : at + 1), top(counts[at]));
    context.lineTo(left(direction > 0 ? at + 1 : at), top(counts[at]));
  }
}

function drawAxes(context, { width, height, highest, numIterations, left, top, colors }) {
  context.font = `11px ${colors.font}`;
  context.fillStyle = colors.muted;
  context.strokeStyle = colors.faint;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(AXIS.left, top(0) + 0.5);
  context.lineTo(width - AXIS.right, top(0) + 0.5);
  context.stroke();
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const count of [highest, Math.round(highest / 2)]) context.fillText(short(count), AXIS.left - 6, top(count));
  context.textBaseline = "alphabetic";
  const step = roundStep(numIterations / Math.max(2, Math.floor(width / 90)));
  for (let at = 0; at <= numIterations; at += step) {
    context.textAlign = at === 0 ? "left" : at + step > numIterations ? "right" : "center";
    context.fillText(number(at), left(at), height - 4);
  }
}

function short(count) {
  return count < 10000 ? String(count) : `${Math.round(count / 1000)}k`;
}

/** The next of 1, 2 and 5 times a power of ten. */
function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  return [1, 2, 5, 10].map((one) => one * power).find((one) => one >= least) || 10 * power;
}
