/**
 * The rows of header and sections. docs/make_format.py writes this file. A field has the ranges of its valid values,
 * both ends included; the difference between a value and the stored number; and the kind of the error for other values.
 */

export const MAGIC = [137, 68, 70, 77];
export const COORDINATE = 0;
export const WAVELET = 1;
export const OVERFITTED = 3;
export const MAX_PIXELS = 89478485;
export const FIRST_SKIPPED = 128;
export const FIRST_FIELDS = [
  { name: "version", bytes: 1, allowed: [[1, 1]], less: 0, refusal: "unsupported-version" },
  { name: "model", bytes: 1, allowed: [[0, 0], [1, 1], [3, 3]], less: 0, refusal: "unsupported-version" },
];
export const MODELS = {
  0: {
    name: "coordinate",
    main: "weights",
    fields: [
      { name: "channels", bytes: 1, allowed: [[1, 1], [3, 3]], less: 0, refusal: "corrupt" },
      { name: "bit_depth", bytes: 1, allowed: [[8, 8], [16, 16]], less: 0, refusal: "unsupported-version" },
      { name: "width", bytes: 2, allowed: [[1, 65535]], less: 0, refusal: "limit" },
      { name: "height", bytes: 2, allowed: [[1, 65535]], less: 0, refusal: "limit" },
      { name: "depth", bytes: 1, allowed: [[1, 64]], less: 0, refusal: "corrupt" },
      { name: "layer_width", bytes: 1, allowed: [[1, 64]], less: 0, refusal: "corrupt" },
      { name: "order", bytes: 1, allowed: [[1, 64]], less: 0, refusal: "corrupt" },
      { name: "further_bytes", bytes: 1, allowed: [[0, 0]], less: 0, refusal: "unsupported-version" },
      { name: "section_count", bytes: 1, allowed: [[1, 255]], less: 0, refusal: "corrupt" },
    ],
    further: [],
  },
  1: {
    name: "wavelet",
    main: "latents",
    fields: [
      { name: "channels", bytes: 1, allowed: [[1, 1], [3, 3]], less: 0, refusal: "corrupt" },
      { name: "bit_depth", bytes: 1, allowed: [[8, 8], [16, 16]], less: 0, refusal: "unsupported-version" },
      { name: "width", bytes: 2, allowed: [[1, 65535]], less: 0, refusal: "limit" },
      { name: "height", bytes: 2, allowed: [[1, 65535]], less: 0, refusal: "limit" },
      { name: "depth", bytes: 1, allowed: [[0, 255]], less: 0, refusal: "corrupt" },
      { name: "layer_width", bytes: 1, allowed: [[0, 255]], less: 0, refusal: "corrupt" },
      { name: "luma", bytes: 1, allowed: [[1, 1], [2, 2]], less: 0, refusal: "unsupported-version" },
      { name: "further_bytes", bytes: 1, allowed: [[8, 8], [10, 10]], less: 0, refusal: "unsupported-version" },
      { name: "section_count", bytes: 1, allowed: [[1, 255]], less: 0, refusal: "corrupt" },
    ],
    further: [
      { name: "levels", bytes: 1, allowed: [[1, 6]], less: 0, refusal: "corrupt" },
      { name: "q_step", bytes: 2, allowed: [[1, 65535]], less: 0, refusal: "corrupt" },
      { name: "chroma_angle", bytes: 1, allowed: [[0, 255]], less: 0, refusal: "corrupt" },
      { name: "weights_id", bytes: 4, allowed: [[0, 4294967295]], less: 0, refusal: "corrupt" },
      { name: "tile_rows", bytes: 1, allowed: [[1, 64]], less: 0, refusal: "corrupt" },
      { name: "tile_columns", bytes: 1, allowed: [[1, 64]], less: 0, refusal: "corrupt" },
    ],
  },
  3: {
    name: "overfitted",
    main: "grids",
    fields: [
      { name: "channels", bytes: 1, allowed: [[1, 1], [3, 3]], less: 0, refusal: "corrupt" },
      { name: "bit_depth", bytes: 1, allowed: [[8, 8], [16, 16]], less: 0, refusal: "unsupported-version" },
      { name: "width", bytes: 2, allowed: [[1, 65535]], less: 0, refusal: "limit" },
      { name: "height", bytes: 2, allowed: [[1, 65535]], less: 0, refusal: "limit" },
      { name: "depth", bytes: 1, allowed: [[0, 255]], less: 0, refusal: "corrupt" },
      { name: "layer_width", bytes: 1, allowed: [[0, 255]], less: 0, refusal: "corrupt" },
      { name: "order", bytes: 1, allowed: [[0, 255]], less: 0, refusal: "corrupt" },
      { name: "further_bytes", bytes: 1, allowed: [[6, 6]], less: 0, refusal: "unsupported-version" },
      { name: "section_count", bytes: 1, allowed: [[1, 255]], less: 0, refusal: "corrupt" },
    ],
    further: [
      { name: "grids", bytes: 1, allowed: [[7, 7]], less: 0, refusal: "corrupt" },
      { name: "lmbda_code", bytes: 1, allowed: [[-24, 32]], less: -24, refusal: "corrupt" },
      { name: "weights_id", bytes: 4, allowed: [[0, 4294967295]], less: 0, refusal: "corrupt" },
    ],
  },
};
export const SECTIONS = [
  { id: 8, name: "checks", models: [0, 1, 3] },
  { id: 5, name: "adaptation", models: [1] },
  { id: 4, name: "filter", models: [1] },
  { id: 12, name: "texture", models: [1] },
  { id: 7, name: "rgb", models: [0, 1, 3] },
  { id: 2, name: "metadata", models: [0, 1, 3] },
  { id: 1, name: "weights", models: [0] },
  { id: 11, name: "networks", models: [3] },
  { id: 3, name: "latents", models: [1] },
  { id: 10, name: "grids", models: [3] },
  { id: 6, name: "alpha", models: [0, 1, 3] },
];
