/**
 * Made by packaging/kernels/make_kernel_interface.py: constants, and the layouts of the kernels' arguments
 * in WebAssembly.
 *
 * @module kernel_interface
 */

export const PRECISION_BITS = 24;
export const RADIUS = 64;
export const ESCAPE = 129;
export const TABLE_SIZE = 130;
export const LAPLACE_COUNT = 112;
export const UNIT_SCALE_INDEX = 16;
export const LAST_DIRECT = 28;
export const MEANS_PER_SYMBOL = 16;
export const SYMBOL_MEANS = 9;
export const GUIDE_BITS = 8;
export const CHANNELS = 3;
export const STATES = 8;
export const QUANTIZERS = 2;
export const FINE = 64;
export const OFFSET_SYMBOLS = 3;
export const TABLES_PER_QUANTIZER = 290;
export const DIRECT_TABLES = 580;
export const EMPTY_CONTEXT = 255;
export const SLOPE_REACH = 2;
export const CONSTANT_UNIT = 64;
export const LIFTING_BITS = 12;
export const ALPHA = -6497;
export const BETA = -217;
export const GAMMA = 3616;
export const DELTA = 1817;
export const LOW_GAIN = 5039;
export const MAX_UNITS = 65536;
export const LOW_PAD = 2;
export const CELL_SAMPLES = 12;
export const CELLS_AROUND = 9;
export const CORRECTION_FEATURES = 108;
export const DIMENSIONS_PER_MOVED = 16;
export const GRID_LEVELS = 7;
export const CAUSAL_FEATURES = 14;
export const CELL_FEATURES = 9;
export const COARSER_FEATURES = 6;
export const GRID_FEATURES = 29;
export const MAX_MEAN = 8192;
export const HALO = 4;
export const TAPS = 4;
export const STAGES = 2;
export const WINDOW = 128;

/** Name, kind and offset of each argument; of groups, their own. Bytes are written. */
export const KERNELS = [
  { name: "startDecoding", bytes: 16, fields: [
    ["state", "written", 0],
    ["words", "read", 8],
  ] },
  { name: "decodeHighs", bytes: 68, fields: [
    ["state", "written", 0],
    ["words", "read", 8],
    ["cumulative", "read", 16],
    ["guide", "read", 24],
    ["shifts", "read", 32],
    ["numbers", "read", 40],
    ["isSorted", "number", 48],
    ["order", "written", 52],
    ["highs", "written", 60],
  ] },
  { name: "decodeBits", bytes: 28, fields: [
    ["state", "written", 0],
    ["words", "read", 8],
    ["bits", "number", 16],
    ["values", "written", 20],
  ] },
  { name: "chooseTables", bytes: 140, fields: [
    ["codingPass", "group", 0, [["w1", "read", 0], ["c1", "read", 8], ["w2", "read", 16], ["c2", "read", 24], ["w3", "read", 32], ["c3", "read", 40], ["available", "read", 48], ["signedCount", "number", 56], ["symbols", "read", 60], ["coarser", "read", 68], ["differences", "read", 76], ["views", "read", 84], ["rows", "number", 92], ["columns", "number", 96], ["quantizers", "read", 100], ["classOfMean", "read", 108]]],
    ["table", "written", 116],
    ["sign", "written", 124],
    ["hidden", "written", 132],
  ] },
  { name: "chooseWavefrontTables", bytes: 108, fields: [
    ["network", "group", 0, [["first", "read", 0], ["constants", "read", 8], ["second", "read", 16], ["secondConstants", "read", 24], ["last", "read", 32]]],
    ["plane", "read", 40],
    ["causal", "read", 48],
    ["planeStart", "number", 56],
    ["planeStride", "number", 60],
    ["coarser", "read", 64],
    ["coarserStart", "number", 72],
    ["coarserStride", "number", 76],
    ["count", "number", 80],
    ["table", "written", 84],
    ["sign", "written", 92],
    ["middle", "written", 100],
  ] },
  { name: "acceptWavefront", bytes: 48, fields: [
    ["symbols", "read", 0],
    ["companded", "read", 8],
    ["grid", "written", 16],
    ["gridStart", "number", 24],
    ["gridStride", "number", 28],
    ["plane", "written", 32],
    ["planeStart", "number", 40],
    ["planeStride", "number", 44],
  ] },
  { name: "correctionResidual", bytes: 68, fields: [
    ["weights", "read", 0],
    ["firstConstants", "read", 8],
    ["factors", "read", 16],
    ["depth", "number", 24],
    ["samples", "read", 28],
    ["channels", "number", 36],
    ["height", "number", 40],
    ["width", "number", 44],
    ["stepSize", "number", 48],
    ["blockHeight", "number", 52],
    ["blockWidth", "number", 56],
    ["residual", "written", 60],
  ] },
  { name: "filterResidual", bytes: 48, fields: [
    ["weights", "read", 0],
    ["taps", "read", 8],
    ["radius", "number", 16],
    ["samples", "read", 20],
    ["channels", "number", 28],
    ["height", "number", 32],
    ["width", "number", 36],
    ["residual", "written", 40],
  ] },
  { name: "planesToPixels", bytes: 64, fields: [
    ["planes", "read", 0],
    ["channels", "number", 8],
    ["height", "number", 12],
    ["width", "number", 16],
    ["basis", "read", 20],
    ["scale", "real", 32],
    ["middle", "real", 40],
    ["peak", "real", 48],
    ["pixels", "bytes", 56],
  ] },
  { name: "acceptSymbols", bytes: 100, fields: [
    ["symbols", "read", 0],
    ["table", "read", 8],
    ["sign", "read", 16],
    ["offsets", "read", 24],
    ["nextState", "read", 32],
    ["rows", "number", 40],
    ["columns", "number", 44],
    ["states", "written", 48],
    ["stateStride", "number", 56],
    ["companded", "read", 60],
    ["plane", "written", 68],
    ["planeStart", "number", 76],
    ["planeStride", "number", 80],
    ["fine", "written", 84],
    ["fineStart", "number", 92],
    ["fineStride", "number", 96],
  ] },
  { name: "synthesiseChannel", bytes: 64, fields: [
    ["low", "read", 0],
    ["band0", "read", 8],
    ["band1", "read", 16],
    ["band2", "read", 24],
    ["step0", "number", 32],
    ["step1", "number", 36],
    ["step2", "number", 40],
    ["height", "number", 44],
    ["width", "number", 48],
    ["stride", "number", 52],
    ["samples", "written", 56],
  ] },
  { name: "lowDifferences", bytes: 52, fields: [
    ["low", "read", 0],
    ["height", "number", 8],
    ["width", "number", 12],
    ["levelStep", "number", 16],
    ["offsets", "read", 20],
    ["companded", "read", 28],
    ["firstRow", "number", 36],
    ["lastRow", "number", 40],
    ["differences", "written", 44],
  ] },
];
