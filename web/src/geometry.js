/**
 * Sizes and positions: regions of an image, its tiles, and the bands of a tile ("Tiles" and "Bands" in docs/format.md).
 */

const TILE_SIDE = 1024; // pixels
export const TILE_GRID = 256; // pixels; tiles start at multiples of it
export const ORIENTATIONS = 3;

/** A rectangular region: rows top..bottom and columns left..right, excluding bottom and right. */
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

  /** @param {Region} other @returns {Region} the intersection, possibly empty */
  common(other) {
    return new Region(
      Math.max(this.top, other.top),
      Math.max(this.left, other.left),
      Math.min(this.bottom, other.bottom),
      Math.min(this.right, other.right),
    );
  }

  /** Returns this region with `margin` more pixels on each side, clipped to an image of the given size. */
  grown(margin, height, width) {
    const { top, left, bottom, right } = this;
    return new Region(top - margin, left - margin, bottom + margin, right + margin).common(
      new Region(0, 0, height, width),
    );
  }
}

/** The division of an image into tiles. */
export class Tiling {
  constructor(height, width, tileRows, tileColumns) {
    const rows = edges(height, tileRows);
    const columns = edges(width, tileColumns);
    /** Returns all tiles, row by row. */
    this.tiles = [];
    for (let row = 0; row < tileRows; row++) {
      for (let column = 0; column < tileColumns; column++) {
        this.tiles.push(new Region(rows[row], columns[column], rows[row + 1], columns[column + 1]));
      }
    }
  }

  /**
   * Returns the maximum numbers of rows and of columns of a tile, possibly of different tiles. @returns {[number,
   * number]}
   */
  largest() {
    const most = (side) => Math.max(...this.tiles.map((tile) => tile[side]));
    return [most("height"), most("width")];
  }

  /** Returns the rectangle of all tiles that a region intersects, and their numbers. */
  covering(region) {
    const numbers = [...this.tiles.keys()].filter((number) => !this.tiles[number].common(region).isEmpty);
    const [first, last] = [this.tiles[numbers[0]], this.tiles[numbers.at(-1)]];
    return { covered: new Region(first.top, first.left, last.bottom, last.right), numbers };
  }
}

/** Returns the first pixel of each tile along an axis, and the end of the last tile. */
function edges(side, count) {
  const starts = [];
  for (let at = 0; at < count; at++) {
    starts.push(TILE_GRID * Math.floor((2 * at * side + TILE_GRID * count) / (2 * TILE_GRID * count)));
  }
  return [...starts, side];
}

/** Returns the number of tiles along an axis; a tile has about TILE_SIDE pixels. */
export function defaultTiles(side) {
  return Math.max(1, Math.floor((side + TILE_SIDE / 2) / TILE_SIDE));
}

/**
 * Returns [height, width] of a tile, then of the low-pass band after each level.
 * @returns {[number, number][]}
 */
export function lowSizes(height, width, levels) {
  const sizes = [[height, width]];
  for (let level = 0; level < levels; level++) sizes.push(sizes[level].map((side) => Math.ceil(side / 2)));
  return sizes;
}

/** Returns [height, width] of a band of a level, from the size of the level's image. */
export function bandSize([height, width], orientation) {
  const rows = orientation === 0 ? Math.ceil(height / 2) : Math.floor(height / 2);
  const columns = orientation === 1 ? Math.ceil(width / 2) : Math.floor(width / 2);
  return [rows, columns];
}
