/**
 * Sizes and positions: regions of an image, the tiles that it is cut into, and the bands of a tile
 * ("Tiles" and "Bands" in docs/format.md).
 */

const TILE_SIDE = 1024; // pixels
export const TILE_GRID = 256; // pixels; tiles start at multiples of it
export const ORIENTATIONS = 3;

/** A rectangle of an image: rows top..bottom and columns left..right, without the end values. */
export class Region {
  constructor(top, left, bottom, right) {
    this.top = top;
    this.left = left;
    this.bottom = bottom;
    this.right = right;
  }

  get height() {
    return this.bottom - this.top;
  }

  get width() {
    return this.right - this.left;
  }

  get isEmpty() {
    return this.height <= 0 || this.width <= 0;
  }

  /** @param {Region} other @returns {Region} the rectangle that lies in both, perhaps an empty one */
  common(other) {
    return new Region(
      Math.max(this.top, other.top),
      Math.max(this.left, other.left),
      Math.min(this.bottom, other.bottom),
      Math.min(this.right, other.right),
    );
  }

  /** This region with `margin` more pixels on each side, within an image of a size. */
  grown(margin, height, width) {
    const { top, left, bottom, right } = this;
    return new Region(top - margin, left - margin, bottom + margin, right + margin).common(
      new Region(0, 0, height, width),
    );
  }
}

/** How an image is cut into tiles. */
export class Tiling {
  constructor(height, width, tileRows, tileColumns) {
    const rows = edges(height, tileRows);
    const columns = edges(width, tileColumns);
    /** All tiles, row by row. */
    this.tiles = [];
    for (let row = 0; row < tileRows; row++) {
      for (let column = 0; column < tileColumns; column++) {
        this.tiles.push(new Region(rows[row], columns[column], rows[row + 1], columns[column + 1]));
      }
    }
  }

  /** The most rows and columns of a tile, which need not be of the same one. @returns {[number, number]} */
  largest() {
    const most = (side) => Math.max(...this.tiles.map((tile) => tile[side]));
    return [most("height"), most("width")];
  }

  /** The rectangle that the tiles which a region touches make up, and their numbers. */
  covering(region) {
    const numbers = [...this.tiles.keys()].filter((number) => !this.tiles[number].common(region).isEmpty);
    const [first, last] = [this.tiles[numbers[0]], this.tiles[numbers.at(-1)]];
    return { covered: new Region(first.top, first.left, last.bottom, last.right), numbers };
  }
}

/** The first pixel of each tile along an axis, and the end of the last tile. */
function edges(side, count) {
  const starts = [];
  for (let at = 0; at < count; at++) {
    starts.push(TILE_GRID * Math.floor((2 * at * side + TILE_GRID * count) / (2 * TILE_GRID * count)));
  }
  return [...starts, side];
}

/** The number of tiles along an axis, so that they have about TILE_SIDE pixels. */
export function defaultTiles(side) {
  return Math.max(1, Math.floor((side + TILE_SIDE / 2) / TILE_SIDE));
}

/**
 * The [height, width] of a tile's pixels, then of the low-pass band after each level.
 * @returns {[number, number][]}
 */
export function lowSizes(height, width, levels) {
  const sizes = [[height, width]];
  for (let level = 0; level < levels; level++) sizes.push(sizes[level].map((side) => Math.ceil(side / 2)));
  return sizes;
}

/** The [height, width] of a band of a level whose image has a size. */
export function bandSize([height, width], orientation) {
  const rows = orientation === 0 ? Math.ceil(height / 2) : Math.floor(height / 2);
  const columns = orientation === 1 ? Math.ceil(width / 2) : Math.floor(width / 2);
  return [rows, columns];
}
