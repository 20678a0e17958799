/** The page's decoder: its worker and all priors are in the page itself, if it is a single file, or beside it. */

import { DfmClient } from "../src/client.js";

/** @returns {DfmClient} */
export function ownClient() {
  const worker = document.getElementById("dfm-worker");
  const prior = document.getElementById("dfm-prior");
  if (!worker || !prior) {
    return new DfmClient({
      workerUrl: new URL("../worker.js", import.meta.url),
      priorUrl: new URL("../prior.bin", import.meta.url),
    });
  }
  const workerUrl = URL.createObjectURL(new Blob([worker.textContent], { type: "text/javascript" }));
  // A classic worker: browsers refuse module workers that a page opened from a folder makes from its text.
  const createWorker = () => new Worker(workerUrl);
  return new DfmClient({ createWorker, loadPrior: async () => bytesOfBase64(prior.textContent.trim()) });
}

/** @param {string} text */
function bytesOfBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
