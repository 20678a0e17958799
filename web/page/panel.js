/** The panel beside the stage: contents of the header, and bytes of each section. */

const COLOURS = {
  latents: "var(--section-a)",
  grids: "var(--section-a)",
  weights: "var(--section-a)",
  code: "var(--section-a)",
  networks: "var(--section-b)",
  adaptation: "var(--section-b)",
  alpha: "var(--section-c)",
  metadata: "var(--section-d)",
  filter: "var(--section-e)",
  checks: "var(--section-f)",
  rgb: "var(--section-f)",
  container: "var(--section-g)",
};

const Q_STEP_UNITS = 64; // unit of q_step in the header: 1/64 code value
const integers = new Intl.NumberFormat("en");

/**
 * Returns rows about a file: [name, value].
 *
 * @param {import("./open_file.js").OpenFile} file
 * @returns {[string, string][]}
 */
export function factsOf(file) {
  const { header, size, blob } = file;
  const rows = [["file", `${integers.format(blob.size)} bytes`]];
  if (size) {
    rows.push(["image", `${size.width} × ${size.height}`]);
    rows.push(["rate", `${((8 * blob.size) / (size.width * size.height)).toFixed(3)} bpp`]);
  }
  if (header) {
    rows.push(["samples", `${kindOf(header)}, ${header.bitDepth} bits`]);
    rows.push(["model", header.model]);
    const { weights_id: weightsId, q_step: qStep, tile_rows: rowsOfTiles, tile_columns: columnsOfTiles } = header.fields;
    if (qStep) rows.push(["q_step", `${(qStep / Q_STEP_UNITS).toFixed(2)} code values`]);
    if (rowsOfTiles) rows.push(["tiles", `${columnsOfTiles} × ${rowsOfTiles}`]);
    if (weightsId !== undefined) rows.push(["weights id", weightsId.toString(16).padStart(8, "0")]);
    rows.push(["format", `version ${header.formatVersion}`]);
  } else if (blob.type) {
    rows.push(["type", blob.type]);
  }
  return rows;
}

/** Fills a description list with rows. */
export function fillFacts(list, rows) {
  list.replaceChildren(...rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

/**
 * Fills the bar and its table with the sections of a header.
 *
 * @param {HTMLElement} bar
 * @param {HTMLTableSectionElement} body
 * @param {{ name: string, bytes: number }[]} sections
 */
export function fillSections(bar, body, sections) {
  const present = sections.filter(({ bytes }) => bytes > 0);
  const sum = present.reduce((total, { bytes }) => total + bytes, 0);
  bar.replaceChildren(...present.map(({ name, bytes }) => segment(name, bytes)));
  body.replaceChildren(
    ...sections.map(({ name, bytes }) => {
      const row = element("tr");
      const title = element("th");
      title.scope = "row";
      title.append(swatch(name), name);
      row.append(title, element("td", integers.format(bytes)), element("td", `${((100 * bytes) / sum).toFixed(1)} %`));
      return row;
    }),
  );
}

function kindOf({ channels, hasAlpha }) {
  return `${channels >= 3 ? "RGB" : "gray"}${hasAlpha ? " with alpha" : ""}`;
}

function segment(name, bytes) {
  const part = swatch(name);
  part.style.flexGrow = String(bytes);
  part.title = `${name}: ${integers.format(bytes)} bytes`;
  return part;
}

function swatch(name) {
  const mark = element("span");
  mark.className = "swatch";
  mark.style.background = COLOURS[name] ?? "var(--section-g)";
  return mark;
}

function element(name, text = "") {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
