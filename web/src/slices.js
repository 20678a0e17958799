/**
 * Runs long work in time slices, between which other tasks can run.
 *
 * @module slices
 */

const SLICE_MS = 30; // maximum duration of a slice

/**
 * Runs a generator to its end.
 *
 * @template Step, Result
 * @param {Generator<Step, Result>} work
 * @param {object} [options]
 * @param {(step: Step) => boolean} [options.onStep] receives each step; returns whether to end the slice
 * @param {(step: Step) => void} [options.onSlice] receives the last step of each slice
 * @param {AbortSignal} [options.signal]
 * @returns {Promise<Result>}
 */
export async function inSlices(work, { onStep = () => false, onSlice, signal } = {}) {
  signal?.throwIfAborted();
  let start = performance.now();
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
    const isEnd = onStep(value);
    if (!isEnd && performance.now() - start < SLICE_MS) continue;
    onSlice?.(value);
    await nextTask();
    signal?.throwIfAborted();
    start = performance.now();
  }
}

/** Lets other tasks run. Timers would wait longer, at least 4 ms in browsers. */
function nextTask() {
  if (typeof setImmediate === "function") return new Promise((resolve) => setImmediate(resolve));
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
