/** Parts embedded in the page, if it is a single file: its worker, pretrained weights, and gallery. */

/** Whether the page is a single file without other files beside it. */
export function isSingleFile() {
  return document.getElementById("dfm-worker") !== null;
}

/**
 * Returns the text of an embedded part, or null if there is none with this name.
 *
 * @param {string} name
 * @returns {string|null}
 */
export function embeddedText(name) {
  return document.getElementById(name)?.textContent ?? null;
}

/**
 * Returns the bytes of an embedded part stored as base64, or null if there is none with this name.
 *
 * @param {string} name
 * @returns {Uint8Array|null}
 */
export function embeddedBytes(name) {
  const text = embeddedText(name);
  if (text === null) return null;
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
