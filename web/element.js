/**
 * Shows .dfm files in any page, with one tag:
 *
 *     <script type="module" src="dfm/element.js"></script>
 *
 * It finds `<img src="photo.dfm">`, `<source srcset="photo.dfm" type="image/x-dfm">` in a `<picture>`, and
 * `style="background-image: url(photo.dfm)"`, including elements added later. A URL matches if its path ends in .dfm,
 * regardless of "?" and "#". Files near the visible part of the page are decoded in workers and shown as PNG.
 *
 * The element has `data-dfm="loading"`, then "shown" or "error", with the kind of the error in `data-dfm-error`. Then
 * it sends a bubbling event: "dfmload" with the detail { urls }, or "dfmerror" with { urls, kind, message }. An image
 * with an error shows its alternative text.
 */

import { DfmClient } from "./src/client.js";
import { DfmError } from "./src/errors.js";

const NEAR = "400px"; // distance from the visible part within which files are decoded
const MOST_WORKERS = 3;
const MOST_PREVIEW_PIXELS = 1 << 16;
const DFM_TYPE = "image/x-dfm"; // browsers do not know this type and skip such a source
const CANDIDATES = "img, picture > source, [style*='.dfm' i]";
const CSS_URL = /url\((?:"([^"]*)"|'([^']*)'|([^)"']*))\)/g;

const client = new DfmClient({
  workerUrl: new URL("worker.js", import.meta.url),
  weightsUrl: new URL("weights.bin", import.meta.url),
  workers: Math.max(1, Math.min(MOST_WORKERS, (navigator.hardwareConcurrency ?? 2) - 1)),
});

/**
 * The task of an element, from its discovery until its files change or it leaves the page.
 * @typedef {object} Task
 * @property {string} original the original text, in the form of `read`
 * @property {string[]} addresses URLs of the .dfm files in it
 * @property {string[]} made the blob: URLs that replace them
 * @property {boolean} isStarted
 * @property {AbortController} controller
 */

/** @type {WeakMap<Element, Task>} */
const tasks = new WeakMap();

const nearby = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      nearby.unobserve(target);
      for (const element of waitingFor(target)) show(element, tasks.get(element));
    }
  },
  { rootMargin: NEAR },
);

new MutationObserver((records) => {
  for (const { type, target, addedNodes, removedNodes } of records) {
    if (type === "attributes") consider(target);
    for (const node of removedNodes) if (!node.isConnected) candidatesIn(node).forEach(forget);
    for (const node of addedNodes) candidatesIn(node).forEach(consider);
  }
}).observe(document, { subtree: true, childList: true, attributeFilter: ["src", "srcset", "style"] });
candidatesIn(document.documentElement).forEach(consider);

/** @param {Node} root */
function candidatesIn(root) {
  if (!(root instanceof Element)) return [];
  // A background that is shown contains no .dfm URL.
  const within = [...root.querySelectorAll(`${CANDIDATES}, [data-dfm]`)];
  return root.matches(CANDIDATES) || tasks.has(root) ? [root, ...within] : within;
}

/** Starts, restarts or ends the task of an element if its files have changed. */
function consider(element) {
  const task = tasks.get(element);
  const text = read(element);
  if (task && (text === task.original || isOurs(text, task))) return;
  forget(element);
  const addresses = addressesIn(element, text);
  if (addresses.length === 0) return;
  tasks.set(element, { original: text, addresses, made: [], isStarted: false, controller: new AbortController() });
  // Until it is shown, the image of the picture is used.
  if (element instanceof HTMLSourceElement) element.type = DFM_TYPE;
  element.dataset.dfm = "loading";
  nearby.observe(shownBy(element));
}

/** Ends the task of an element, and restores its original text if it shows the result of the task. */
function forget(element) {
  const task = tasks.get(element);
  if (!task) return;
  tasks.delete(element);
  task.controller.abort();
  if (isOurs(read(element), task)) write(element, task.original);
  task.made.forEach((url) => URL.revokeObjectURL(url));
  delete element.dataset.dfm;
  delete element.dataset.dfmError;
}

/** Decodes the files of an element and shows them. */
async function show(element, task) {
  let urls = task.addresses;
  const { signal } = task.controller;
  task.isStarted = true;
  try {
    urls = urls.map((address) => new URL(address, document.baseURI).href);
    const onPreview = task.addresses.length === 1 ? previewer(element, task) : undefined;
    const images = await Promise.all(urls.map((url) => decoded(url, { signal, ...onPreview })));
    replace(element, task, images.map(({ png }) => new Blob([png], { type: "image/png" })));
    await loaded(shownBy(element));
    signal.throwIfAborted();
    element.dataset.dfm = "shown";
    element.dispatchEvent(new CustomEvent("dfmload", { bubbles: true, detail: { urls } }));
  } catch (error) {
    if (signal.aborted) return;
    task.controller.abort(); // stops the other files of the element
    const kind = error instanceof DfmError ? error.kind : "failure";
    if (isOurs(read(element), task)) write(element, task.original);
    Object.assign(element.dataset, { dfm: "error", dfmError: kind });
    const detail = { urls, kind, message: error.message };
    element.dispatchEvent(new CustomEvent("dfmerror", { bubbles: true, detail }));
  }
}

/** Waits until an image has loaded; the policy of a page may block it. */
async function loaded(place) {
  if (place instanceof HTMLImageElement) await place.decode();
}

async function decoded(url, options) {
  const response = await fetch(url, { signal: options.signal });
  if (!response.ok) throw new Error(`${url} cannot be loaded: the server answers ${response.status}`);
  return client.decode(new Uint8Array(await response.arrayBuffer()), { ...options, png: true });
}

/** Shows coarse levels, at full size, until the image is decoded. */
function previewer(element, task) {
  let header = null;
  return {
    onHeader: (found) => (header = found),
    onPreview: (image) => {
      if (!task.controller.signal.aborted) replace(element, task, [enlarged(image, header)]);
    },
    maxPreviewPixels: MOST_PREVIEW_PIXELS,
  };
}

/** Returns a picture of the full size that shows a smaller one. */
function enlarged({ png }, { width, height }) {
  const binary = Array.from(png, (byte) => String.fromCharCode(byte)).join("");
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">` +
    `<image width="${width}" height="${height}" preserveAspectRatio="none" ` +
    `href="data:image/png;base64,${btoa(binary)}"/></svg>`;
  return new Blob([svg], { type: "image/svg+xml" });
}

/** Replaces the files of a task, or their earlier replacements, by pictures. */
function replace(element, task, blobs) {
  const before = task.made;
  task.made = blobs.map((blob) => URL.createObjectURL(blob));
  const by = new Map(task.addresses.map((address, i) => [address, task.made[i]]));
  const text = isPainted(element)
    ? task.original.replace(CSS_URL, (complete, ...groups) => {
        const url = by.get(groups.slice(0, 3).find((group) => group !== undefined));
        return url ? `url("${url}")` : complete;
      })
    : task.made[0];
  write(element, text);
  before.forEach((url) => URL.revokeObjectURL(url));
}

/** Whether the files of an element are backgrounds. */
function isPainted(element) {
  return !(element instanceof HTMLImageElement || element instanceof HTMLSourceElement);
}

/** Returns the text of an element that contains URLs. */
function read(element) {
  if (element instanceof HTMLImageElement) return element.getAttribute("src") ?? "";
  if (element instanceof HTMLSourceElement) return element.getAttribute("srcset") ?? "";
  return element.style?.backgroundImage ?? "";
}

/** Writes the text that `read` returns. */
function write(element, text) {
  if (element instanceof HTMLImageElement) {
    element.src = text;
  } else if (element instanceof HTMLSourceElement) {
    if (isDfm(text)) element.type = DFM_TYPE;
    else element.removeAttribute("type");
    element.srcset = text;
  } else {
    element.style.backgroundImage = text;
  }
}

function addressesIn(element, text) {
  if (!isPainted(element)) return isDfm(text) ? [text] : [];
  const addresses = Array.from(text.matchAll(CSS_URL), ([, ...groups]) => groups.find((group) => group !== undefined));
  return [...new Set(addresses.filter(isDfm))];
}

function isDfm(address) {
  return /^[^?#]+\.dfm\s*(?:[?#]|$)/i.test(address);
}

function isOurs(text, task) {
  return task.made.some((url) => text.includes(url));
}

/** Returns the element whose position matters: a source of a picture has no position of its own. */
function shownBy(element) {
  return (element instanceof HTMLSourceElement && element.parentElement?.querySelector("img")) || element;
}

/** Returns the elements with a task that are shown by an element: itself, and the sources of its picture. */
function waitingFor(place) {
  const sources = place.parentElement instanceof HTMLPictureElement ? place.parentElement.children : [];
  return new Set([place, ...sources].filter((element) => tasks.get(element)?.isStarted === false));
}
