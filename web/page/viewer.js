/** The page: open files, their display on the stage, and the panel. */

import { embeddedBytes, embeddedText, isSingleFile } from "./embedded.js";
import { OpenFile } from "./open_file.js";
import { ownClient } from "./own_client.js";
import { factsOf, fillFacts, fillSections } from "./panel.js";
import { Stage } from "./stage.js";

const ZOOM_FACTOR = 1.25;
const MOVE_PIXELS = 60;
const MOST_HELD_PIXELS = 36e6; // limit for files that are not on the stage
const GALLERY = "dfm-gallery"; // embedded part of a single file; absent in a page that opens given files
const PART_DELAY_MS = 150; // delay after the last movement before the visible part is decoded

const $ = (id) => /** @type {any} */ (document.getElementById(id));
const client = ownClient();
const stage = new Stage($("stage"), $("canvas"));

/** @type {OpenFile[]} */
const files = [];
/** @type {OpenFile|null} the file that the page is about */
let current = null;
/** @type {OpenFile|null} the file that it is compared with */
let other = null;
/** @type {string[]} the names of those of the last addresses that cannot be loaded */
let lost = [];
/** @type {import("../types/index").DecodeLimits} those of `dfm view` */
let limits = {};
let showings = 0;
let partTimer = 0;
let frame = 0;

/** Opens files and shows the first one. */
function open(named) {
  const completePixels = 1e6 * Number($("stage").dataset.completeMegapixels);
  lost = [];
  const opened = named.map(({ name, blob }) => new OpenFile(name, blob, client, { completePixels, ...limits }, changed));
  files.push(...opened);
  listFiles();
  if (opened.length > 0) show(opened[0]);
  // Makes keyboard shortcuts work immediately.
  if (document.activeElement === document.body) $("stage").focus({ preventScroll: true });
}

function show(file) {
  current = file;
  if (other === file) other = null;
  load();
}

function compareWith(file) {
  other = file;
  load();
}

function close(file) {
  file.forget();
  files.splice(files.indexOf(file), 1);
  if (current === file) current = files[0] ?? null;
  if (other === file || other === current) other = null;
  listFiles();
  load();
  (files.length > 0 ? $("files").querySelector("button") : $("open")).focus(); // the focused button has been removed
}

/** Loads the files on the stage. Stops loading the others, and frees them beyond a memory limit. */
function load() {
  const shown = onStage();
  for (const file of files) if (!shown.includes(file)) file.stop();
  for (const file of shown) file.shownAt = ++showings;
  forgetOldest();
  for (const file of shown) file.load();
  render();
}

function onStage() {
  return [current, other].filter((file) => file !== null);
}

function forgetOldest() {
  const shown = onStage();
  const rest = files.filter((file) => !shown.includes(file)).sort((a, b) => b.shownAt - a.shownAt);
  let held = 0;
  for (const file of rest) {
    held += file.heldPixels;
    if (held > MOST_HELD_PIXELS) file.forget();
  }
}

/** Schedules rendering for the next frame. */
function changed() {
  if (frame === 0) frame = requestAnimationFrame(render);
}

/** Updates everything that depends on the files. */
function render() {
  cancelAnimationFrame(frame);
  frame = 0;
  const isEmpty = files.length === 0;
  $("welcome").hidden = !isEmpty;
  document.title = current ? `${current.name} - dfm viewer` : "dfm viewer";
  markFiles();
  renderStage();
  renderPanel();
  renderProgress();
  $("save").disabled = !current?.image;
  $("other").disabled = files.length < 2;
  for (const id of ["zoom-in", "zoom-out", "fit", "actual"]) $(id).disabled = isEmpty;
}

function renderStage() {
  const size = current?.size;
  if (size && stage.setSize(size.width, size.height) && current.isTiled && !current.hasCoarse) stage.showActual();
  stage.draw();
  const compared = comparedFile();
  $("slider").hidden = compared === null;
  $("names").hidden = compared === null;
  $("left-name").textContent = current?.name ?? "";
  $("right-name").textContent = compared ? `${compared.name}${isOfSize(compared, size) ? "" : " (scaled)"}` : "";
  const label = size ? `${current.name}, ${size.width} by ${size.height} pixels` : (current?.name ?? "no image");
  $("canvas").setAttribute("aria-label", compared ? `${label}, compared with ${compared.name}` : label);
  renderParts();
}

/** Returns the file for comparison, if both can be shown. */
function comparedFile() {
  return current?.state !== "failed" && other?.state !== "failed" ? other : null;
}

/** Whether a file has a given size, as far as both sizes are known. */
function isOfSize({ size: own }, size) {
  return !own || !size || (own.width === size.width && own.height === size.height);
}

/** Returns the layers for the stage. */
function layersOnStage() {
  const compared = comparedFile();
  return { left: current?.layers ?? [], right: compared && scaledLayers(compared, current.size) };
}

/** Returns the layers of a file, scaled to the image with which it is compared. */
function scaledLayers(file, size) {
  if (isOfSize(file, size)) return file.layers;
  const [across, down] = [size.width / file.size.width, size.height / file.size.height];
  return file.layers.map((layer) => {
    const { x, y, width, height } = layer.place;
    return { ...layer, place: { x: x * across, y: y * down, width: width * across, height: height * down } };
  });
}

function renderPanel() {
  for (const id of ["files-part", "header-part"]) $(id).hidden = files.length === 0;
  if (current) fillFacts($("header"), factsOf(current));
  const sections = current?.header?.sections;
  $("sections-part").hidden = !sections;
  if (sections) fillSections($("bar"), $("sections").tBodies[0], sections);
  const problems = onStage().filter(({ problem }) => problem).map(({ name, problem }) => `${name}: ${problem}`);
  if (lost.length > 0) problems.unshift(`cannot be loaded: ${lost.join(", ")}`);
  tell("problem", problems.join("\n"));
  $("problem").hidden = problems.length === 0;
}

function renderProgress() {
  const busy = onStage().filter(({ state }) => state === "loading");
  $("progress").hidden = busy.length === 0;
  if (busy.length > 0) $("progress").value = Math.min(...busy.map(({ progress }) => progress));
  tell("status", busy.length > 0 ? `decoding ${busy[0].name}` : doneText());
}

/** Updates text that screen readers announce, if it has changed. */
function tell(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function doneText() {
  const isDecoded = current?.state === "ready" && current.header && current.layers.length > 0;
  return isDecoded ? `decoded in ${current.seconds.toFixed(2)} s` : "";
}

/** Decodes the visible part of a large image after a delay, or reports that it is too large. */
function renderParts() {
  clearTimeout(partTimer);
  const isLarge = ({ isTiled, state }) => isTiled && state !== "failed";
  const large = current?.size ? onStage().filter(isLarge) : [];
  const isTooMuch = large.some((file) => file.isTooMuch(seenOf(file)));
  $("notice").hidden = large.length === 0;
  const { width, height } = large[0]?.size ?? { width: 0, height: 0 };
  const megapixels = ((width * height) / 1e6).toFixed(0);
  const coarse = large.every((file) => file.hasCoarse) ? ", of which you see the coarse levels" : "";
  $("notice-text").textContent = isTooMuch
    ? `An image of ${megapixels} megapixels${coarse}. Zoom in, and what you see is decoded.`
    : `An image of ${megapixels} megapixels: only what you see is decoded.`;
  if (large.length === 0) return;
  partTimer = setTimeout(() => large.forEach((file) => file.loadPart(seenOf(file))), PART_DELAY_MS);
}

/** Returns the visible part of a file, in its own pixels. */
function seenOf({ size: own }) {
  const { x, y, width, height } = stage.seen();
  const [across, down] = [own.width / current.size.width, own.height / current.size.height];
  return { x: x * across, y: y * down, width: width * across, height: height * down };
}

/** Creates the list of files and the choice of the file for comparison. */
function listFiles() {
  $("files").replaceChildren(...files.map(listItem));
  $("other").replaceChildren(new Option("nothing", ""), ...files.map(({ name }, i) => new Option(name, String(i))));
}

function listItem(file) {
  const item = document.createElement("li");
  const choose = button(file.name, () => show(file));
  const remove = button("×", () => close(file));
  remove.setAttribute("aria-label", `Close ${file.name}`);
  item.append(choose, remove);
  return item;
}

function button(text, action) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", action);
  return made;
}

/** Marks the shown file and failed files in the list. */
function markFiles() {
  files.forEach((file, i) => {
    const item = $("files").children[i];
    item.classList.toggle("failed", file.state === "failed");
    item.firstChild.setAttribute("aria-current", String(file === current));
    $("other").options[i + 1].disabled = file === current;
  });
  $("other").value = other ? String(files.indexOf(other)) : "";
}

async function save() {
  const { name } = current;
  download(await current.png(), pngName(name));
}

/** Names an output like `dfm decode`: photo.dfm and photo.png.dfm become photo.png. */
function pngName(name) {
  return name.replace(/\.dfm$/i, "").replace(/\.png$/i, "") + ".png";
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Opens files from given URLs. Files that cannot be loaded are shown with an error. */
async function openAddresses(list) {
  const named = await Promise.all(
    list.map(async ({ name, url }) => {
      const response = await fetch(url).catch(() => null);
      return response?.ok ? { name, blob: await response.blob() } : { name, blob: null };
    }),
  );
  open(named.filter(({ blob }) => blob));
  lost = named.filter(({ blob }) => !blob).map(({ name }) => name);
  changed();
}

/** Opens the gallery, embedded or beside the page. */
function openGallery() {
  const bytes = embeddedBytes(GALLERY);
  if (bytes) open([{ name: "gallery.webp", blob: new Blob([bytes]) }]);
  else openAddresses([{ name: "gallery.webp", url: new URL("gallery.webp", import.meta.url) }]);
}

/** Opens the files of `dfm view`, and those in the fragment of the page's URL: viewer.html#file=photo.dfm */
function openGiven() {
  const given = JSON.parse(embeddedText("dfm-given") ?? '{"names": [], "limits": {}}');
  limits = given.limits;
  const contents = given.names.map((_, number) => embeddedBytes(`dfm-file-${number}`));
  if (contents.length > 0) open(given.names.map((name, number) => ({ name, blob: new Blob([contents[number]]) })));
  const named = new URLSearchParams(location.hash.slice(1)).getAll("file");
  if (named.length > 0) openAddresses(named.map((url) => ({ name: url.replace(/^.*\//, ""), url })));
}

const ACTIONS = {
  "+": () => stage.zoomBy(ZOOM_FACTOR),
  "=": () => stage.zoomBy(ZOOM_FACTOR),
  "-": () => stage.zoomBy(1 / ZOOM_FACTOR),
  _: () => stage.zoomBy(1 / ZOOM_FACTOR),
  0: () => stage.fit(),
  1: () => stage.showActual(),
  ArrowLeft: () => stage.moveBy(MOVE_PIXELS, 0),
  ArrowRight: () => stage.moveBy(-MOVE_PIXELS, 0),
  ArrowUp: () => stage.moveBy(0, MOVE_PIXELS),
  ArrowDown: () => stage.moveBy(0, -MOVE_PIXELS),
  o: () => $("chooser").click(),
  s: () => $("save").click(),
};

/** Handles keys only on the image. Elsewhere they scroll, and single letters have no effect. */
document.addEventListener("keydown", (event) => {
  const isElsewhere = !event.target.closest("#stage") || event.target.closest("input");
  if (isElsewhere || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(ACTIONS, event.key)) return;
  event.preventDefault();
  ACTIONS[event.key]();
});
for (const [id, key] of [["zoom-in", "+"], ["zoom-out", "-"], ["fit", "0"], ["actual", "1"], ["open", "o"]]) {
  $(id).addEventListener("click", ACTIONS[key]);
}
$("open-first").addEventListener("click", ACTIONS.o);
$("save").addEventListener("click", save);
$("gallery").addEventListener("click", openGallery);
$("gallery-offer").hidden = isSingleFile() && embeddedText(GALLERY) === null;
$("complete").addEventListener("click", () => {
  for (const file of onStage()) if (file.isTiled) file.loadComplete();
});
$("other").addEventListener("change", ({ target }) => compareWith(target.value === "" ? null : files[target.value]));
$("slider").addEventListener("input", ({ target }) => {
  target.setAttribute("aria-valuetext", `${Math.round((100 * target.value) / target.max)} %`);
  stage.divider = Number(target.value) / Number(target.max);
  stage.draw();
});
$("chooser").addEventListener("change", ({ target }) => {
  open([...target.files].map((file) => ({ name: file.name, blob: file })));
  target.value = ""; // so that the same file can be chosen again
});
for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dragging", type === "dragover");
    if (type === "drop") open([...event.dataTransfer.files].map((file) => ({ name: file.name, blob: file })));
  });
}
stage.onView = () => {
  $("zoom").textContent = `${Math.round(100 * stage.scale)} %`;
  renderParts();
};

stage.layers = layersOnStage;

client.start();
listFiles();
render();
openGiven();
