/** The page's decoder: its worker and all priors are in the page itself, if it is a single file, or beside it. */

import { DfmClient } from "../src/client.js";
import { embeddedBytes, embeddedText, isSingleFile } from "./embedded.js";

const MOST_HELPERS = 3;

/** @returns {DfmClient} */
export function ownClient() {
  const helpers = Math.min(MOST_HELPERS, (navigator.hardwareConcurrency ?? 2) - 1);
  if (!isSingleFile()) {
    return new DfmClient({
      helpers,
      workerUrl: new URL("../worker.js", import.meta.url),
      priorUrl: new URL("../prior.bin", import.meta.url),
    });
  }
  const workerUrl = URL.createObjectURL(new Blob([embeddedText("dfm-worker")], { type: "text/javascript" }));
  // A classic worker: browsers refuse module workers that a page opened from a folder makes from its text.
  const createWorker = () => new Worker(workerUrl);
  return new DfmClient({ helpers, createWorker, loadPrior: async () => embeddedBytes("dfm-prior") });
}
