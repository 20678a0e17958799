/** What the page has in itself, if it is a single file: its worker, its priors, the gallery. */

/** Whether the page is a single file, with nothing beside it. */
export function isSingleFile() {
  return document.getElementById("dfm-worker") !== null;
}

/**
 * The text of a part of the page, or null if it has none of that name.
 *
 * @param {string} name
 * @returns {string|null}
 */
export function embeddedText(name) {
  return document.getElementById(name)?.textContent ?? null;
}

/**
 * The bytes of a part that is in the page as base64, or null if it has none of that name.
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
