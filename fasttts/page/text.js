"use strict";

// Text of models is untrusted: it reaches the page as text nodes and attribute values only, and what
// would be invisible or reorder its surroundings is written out.

const CONCEALED = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]/gu;
const LEGIBLE = new Set(["\n", "\t", "\u200c", "\u200d"]); // joiners are part of words and emoji

function escapeOf(character) {
  return "U+" + character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
}

/** The text with concealed characters written out, for attributes and titles. */
function plain(text) {
  return String(text).replace(CONCEALED, (one) => (LEGIBLE.has(one) ? one : `[${escapeOf(one)}]`));
}

/** The text as nodes, with concealed characters as marked escapes. */
function shown(text) {
  const fragment = document.createDocumentFragment();
  let start = 0;
  for (const match of text.matchAll(CONCEALED)) {
    if (LEGIBLE.has(match[0])) continue;
    fragment.append(text.slice(start, match.index), element("code", "concealed", escapeOf(match[0])));
    start = match.index + match[0].length;
  }
  fragment.append(text.slice(start));
  return fragment;
}

/** An element with a class and children; strings become text nodes. */
function element(name, className = "", ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** A block of text that keeps to its own direction and width. */
function block(name, className, text) {
  const made = element(name, className, shown(text));
  made.dir = "auto";
  return made;
}

/** The beginning of a text on one line. */
function line(text, most = 300) {
  const isLong = text.length > most;
  const start = isLong ? text.slice(0, most).replace(/[\ud800-\udbff]$/, "") : text;
  return start.replace(/\s*\n\s*/g, " \u21b5 ") + (isLong ? "\u2026" : "");
}

function byId(id) {
  return document.getElementById(id);
}

/** A number; null stands for one that JSON lacks. */
function number(value) {
  return value === null ? "\u2013" : value.toLocaleString("en-US");
}

function score(value) {
  return value === null ? "\u2013" : value.toFixed(4);
}

function seconds(value) {
  if (value === null) return "\u2013";
  return value < 10 ? `${value.toFixed(2)} s` : `${value.toFixed(0)} s`;
}
