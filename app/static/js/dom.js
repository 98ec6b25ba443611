// Helpers to build elements. Text only becomes text nodes: nothing on this page parses HTML.

import { pathTo } from "./base.js";

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/**
 * el("button", { class: "quiet", type: "button", onclick: run, vars: { "--w": 4 } }, icon("copy"), "Copy")
 * Absent (null, undefined, false) attributes and children are left out.
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "vars") setVars(node, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Sets custom properties through the style object: the content security policy forbids style attributes. */
export function setVars(node, vars) {
  for (const [name, value] of Object.entries(vars)) node.style.setProperty(name, value);
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function icon(name) {
  return svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: pathTo(`static/icons.svg#${name}`) }));
}

/** A button with an icon and a label. */
export function button(label, iconName, run, attributes = {}) {
  return el("button", { type: "button", class: "quiet", onclick: run, ...attributes }, iconName && icon(iconName), label);
}

/** Sets a node's text only where it differs, so that screen readers and selections are not disturbed. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
