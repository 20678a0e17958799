/**
 * The features of a symbol: the decoded numbers that select its table, and their order ("Context of a symbol" in
 * docs/format.md).
 */

/** (row, column) of the phases within their band modulo 2, in coding order. */
export const PHASES = [
  [0, 0],
  [1, 1],
  [0, 1],
  [1, 0],
];

/** All offsets (dy, dx) with |dy|, |dx| <= reach, row by row. */
function square(reach) {
  const side = Array.from({ length: 2 * reach + 1 }, (_, at) => at - reach);
  return side.flatMap((dy) => side.map((dx) => [dy, dx]));
}

/** The 3x3 offsets, for bands that are completely decoded and for the cells around a cell. */
export const SQUARE = square(1);

/** Returns the number of the phase at an offset (dy, dx) from another one. */
function phaseAt([row, column], [dy, dx]) {
  return PHASES.findIndex(([y, x]) => y === ((row + dy) & 1) && x === ((column + dx) & 1));
}

/** For each phase, the offsets to earlier phases in its own band. */
export const WINDOWS = PHASES.map((own, phase) => square(2).filter((offset) => phaseAt(own, offset) < phase));

/** The offsets of differences in the low-pass band; earlier channels have the first 12. */
export const LOW_OFFSETS = [
  ...SQUARE.filter(([dy, dx]) => dy || dx),
  [-2, 0],
  [2, 0],
  [0, -2],
  [0, 2],
  ...square(2).filter(([dy, dx]) => Math.max(Math.abs(dy), Math.abs(dx)) === 2 && dy && dx),
];
export const LOW_COUNTS = [24, 12, 12];

/** The companding function k of the magnitudes 0..511; larger ones use the value of 511. */
export const COMPANDED = Int16Array.from({ length: 512 }, (_, magnitude) =>
  magnitude < 5 ? [0, 8, 14, 19, 23][magnitude] : Math.min(127, Math.round(23 + 9 * Math.log2(magnitude / 4))),
);

/** Returns the number of features of a phase that are symbols or their magnitudes; they come first. */
export function symbolFeatures(phase) {
  return 2 * (WINDOWS[phase].length + 5 * SQUARE.length);
}
