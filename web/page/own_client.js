/**
 * The decoder of the page. Its worker and pretrained weights are embedded if the page is a single file, and otherwise
 * beside it.
 */

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
      weightsUrl: new URL("../weights.bin", import.meta.url),
    });
  }
  const workerUrl = URL.createObjectURL(new Blob([embeddedText("dfm-worker")], { type: "text/javascript" }));
  // A classic worker, because browsers refuse module workers created from text by a page in a local folder.
  const createWorker = () => new Worker(workerUrl);
  return new DfmClient({ helpers, createWorker, loadWeights: async () => embeddedBytes("dfm-weights") });
}
