/**
 * A decoder of lossless WebP (RFC 9649, "Specification for WebP Lossless Bitstream"), which the alpha section contains.
 * Browsers also decode WebP, but a canvas premultiplies colours by alpha and may convert them to another profile, so
 * the result is not lossless.
 */

const ARGB_BLACK = 0xff000000;
const LITERALS = 256;
const LENGTH_CODES = 24;
const DISTANCE_CODES = 40;
const [GREEN, RED, BLUE, ALPHA, DISTANCE] = [0, 1, 2, 3, 4]; // prefix codes of a group
const MAX_CODE_LENGTH = 15;
const ROOT_BITS = 8; // codes up to this length are decoded by one table look-up
const CODE_LENGTH_ORDER = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const CACHE_MULTIPLIER = 0x1e35a7bd;
const [PREDICTOR, CROSS_COLOUR, SUBTRACT_GREEN, COLOUR_INDEXING] = [0, 1, 2, 3];

/**
 * Distances 1..120: the number of rows above in the upper digit, 8 minus the number of columns to the left in the
 * lower.
 */
const NEAR = [
  "180717192806272916 1a262a3805373915 1b363a252b480447 4914 1c353b464a242c58454b343c0357591 31d565a232d444c555b333d",
  "6802676912 1e66 6a222e545c434d656b323e78017779535d111f646c424e767a212f757b313f636d525e00747c414f1020626e30737d515f",
  "40727e616f50717f6070",
]
  .join("")
  .replaceAll(" ", "")
  .match(/../g)
  .map((digits) => parseInt(digits, 16));

/** An error in a WebP file. The alpha section converts it to a DfmError. */
export class WebpError extends Error {}

/** Bit reader, starting with the lowest bit of each byte. Bits beyond the end are 0 and set `isBeyond`. */
class BitReader {
  constructor(bytes) {
    this.bytes = new Uint8Array(bytes.length + 8); // bytes beyond the end are read too
    this.bytes.set(bytes);
    this.end = 8 * bytes.length;
    this.at = 0;
  }

  /** Returns at least the next 24 bits without consuming them. */
  peek() {
    const { bytes } = this;
    const first = Math.min(this.at >>> 3, bytes.length - 4);
    const word = bytes[first] | (bytes[first + 1] << 8) | (bytes[first + 2] << 16) | (bytes[first + 3] << 24);
    return word >>> (this.at & 7);
  }

  /** Reads a number with the given number of bits, 0..24. */
  bits(count) {
    const number = this.peek() & ((1 << count) - 1);
    this.at += count;
    return number;
  }

  get isBeyond() {
    return this.at > this.end;
  }

  requireMore() {
    if (this.isBeyond) throw new WebpError("it ends early");
  }
}

/** A canonical prefix code. Short codes use a table, longer ones are decoded bit by bit. */
class PrefixCode {
  /** @param {Uint8Array} lengths the code length of each symbol; 0 for none */
  constructor(lengths) {
    const counts = new Uint16Array(MAX_CODE_LENGTH + 1);
    for (const length of lengths) counts[length]++;
    const used = lengths.length - counts[0];
    if (used === 0) throw new WebpError("a prefix code is empty");
    // A code with a single symbol takes no bits. A file can contain many of them, so they use little memory.
    this.only = used === 1 ? lengths.findIndex((length) => length > 0) : -1;
    if (used === 1) return;
    counts[0] = 0;
    this.counts = counts;
    this.symbols = symbolsByLength(lengths, counts);
    this.#makeRoot();
  }

  /** Returns the table of short codes: symbol << 4 | length, or 0 for longer codes, by the next bits. */
  #makeRoot() {
    const longest = this.counts.findLastIndex((count) => count > 0);
    this.rootBits = Math.min(ROOT_BITS, longest);
    this.root = new Uint32Array(1 << this.rootBits);
    let code = 0;
    let index = 0;
    for (let length = 1; length <= longest; length++, code <<= 1) {
      for (let n = 0; n < this.counts[length]; n++, code++, index++) {
        if (length <= this.rootBits) this.#fillRoot(code, length, (this.symbols[index] << 4) | length);
      }
      if (code > 1 << length) throw new WebpError("a prefix code has too many symbols");
      if (length === longest && code !== 1 << length) throw new WebpError("a prefix code is incomplete");
    }
  }

  #fillRoot(code, length, entry) {
    let reversed = 0;
    for (let bit = 0; bit < length; bit++) reversed |= ((code >> bit) & 1) << (length - 1 - bit);
    for (let at = reversed; at < this.root.length; at += 1 << length) this.root[at] = entry;
  }

  /** @param {BitReader} reader @returns {number} the next symbol */
  read(reader) {
    if (this.only >= 0) return this.only;
    const next = reader.peek();
    const entry = this.root[next & (this.root.length - 1)];
    if (entry) {
      reader.at += entry & 15;
      return entry >> 4;
    }
    return this.#readLong(reader, next);
  }

  #readLong(reader, next) {
    let code = 0;
    let first = 0;
    let index = 0;
    for (let length = 1; length <= MAX_CODE_LENGTH; length++) {
      code |= (next >> (length - 1)) & 1;
      const count = this.counts[length];
      if (code - first < count) {
        reader.at += length;
        return this.symbols[index + code - first];
      }
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw new WebpError("a prefix code is invalid");
  }
}

/** Returns the symbols that have a code, by its length, then by their number. */
function symbolsByLength(lengths, counts) {
  const starts = new Uint16Array(counts.length + 1);
  counts.forEach((count, length) => (starts[length + 1] = starts[length] + count));
  const symbols = new Uint16Array(starts.at(-1));
  lengths.forEach((length, symbol) => {
    if (length) symbols[starts[length]++] = symbol;
  });
  return symbols;
}

function readPrefixCode(reader, alphabet) {
  const lengths = new Uint8Array(alphabet);
  if (reader.bits(1)) readSimpleLengths(reader, lengths);
  else readLengths(reader, lengths);
  reader.requireMore();
  return new PrefixCode(lengths);
}

function readSimpleLengths(reader, lengths) {
  const count = reader.bits(1) + 1;
  const symbols = [reader.bits(reader.bits(1) ? 8 : 1)];
  if (count === 2) symbols.push(reader.bits(8));
  for (const symbol of symbols) {
    if (symbol < lengths.length) lengths[symbol] = 1; // like libwebp
  }
}

function readLengths(reader, lengths) {
  const codeLengths = new Uint8Array(CODE_LENGTH_ORDER.length);
  const given = reader.bits(4) + 4;
  for (const symbol of CODE_LENGTH_ORDER.slice(0, given)) codeLengths[symbol] = reader.bits(3);
  const code = new PrefixCode(codeLengths);
  let tokens = lengths.length;
  if (reader.bits(1)) tokens = 2 + reader.bits(2 + 2 * reader.bits(3));
  if (tokens > lengths.length) throw new WebpError("a prefix code has too many symbols");
  let before = 8;
  for (let symbol = 0; symbol < lengths.length && tokens > 0; tokens--) {
    const token = code.read(reader);
    if (token < 16) {
      lengths[symbol++] = token;
      if (token) before = token;
      continue;
    }
    const [bits, least] = { 16: [2, 3], 17: [3, 3], 18: [7, 11] }[token];
    const after = symbol + least + reader.bits(bits);
    if (after > lengths.length) throw new WebpError("a prefix code has too many symbols");
    lengths.fill(token === 16 ? before : 0, symbol, after);
    symbol = after;
  }
}

/** Returns the number that starts with a length or distance symbol, from 1 on. */
function readPrefixed(reader, symbol) {
  if (symbol < 4) return symbol + 1;
  const bits = (symbol - 2) >> 1;
  return ((2 + (symbol & 1)) << bits) + reader.bits(bits) + 1;
}

function distanceOf(number, width) {
  if (number > NEAR.length) return number - NEAR.length;
  const near = NEAR[number - 1];
  return Math.max(1, (near >> 4) * width + 8 - (near & 15));
}

/** The prefix codes of an image: one group for all pixels, or one for each square of `1 << bits` pixels. */
function readGroups(reader, width, height, cacheSize, mayHaveSeveral) {
  let bits = 0;
  let numbers = null;
  let count = 1;
  if (mayHaveSeveral && reader.bits(1)) {
    bits = reader.bits(3) + 2;
    numbers = readPixels(reader, partCount(width, bits), partCount(height, bits), false);
    for (let at = 0; at < numbers.length; at++) {
      numbers[at] = (numbers[at] >>> 8) & 0xffff;
      count = Math.max(count, numbers[at] + 1);
    }
  }
  const alphabets = [LITERALS + LENGTH_CODES + cacheSize, LITERALS, LITERALS, LITERALS, DISTANCE_CODES];
  const used = new Set(numbers || [0]); // a number may be far larger than the number of groups
  const groups = [];
  for (let n = 0; n < count; n++) {
    const codes = alphabets.map((alphabet) => readPrefixCode(reader, alphabet));
    groups.push(used.has(n) ? codes : null);
  }
  return { bits, numbers, groups, columns: partCount(width, bits) };
}

const partCount = (side, bits) => (side + (1 << bits) - 1) >> bits;

/** Decodes an image before the inverse transforms, as ARGB pixels row by row. */
function readPixels(reader, width, height, isMain) {
  const hasCache = reader.bits(1);
  const cacheBits = hasCache ? reader.bits(4) : 0;
  if (hasCache && (cacheBits < 1 || cacheBits > 11)) throw new WebpError("its colour cache has an impossible size");
  const cache = new Uint32Array(cacheBits ? 1 << cacheBits : 0);
  const { bits, numbers, groups, columns } = readGroups(reader, width, height, cache.length, isMain);
  const pixels = new Uint32Array(width * height);
  const remember = (pixel) => {
    if (cacheBits) cache[Math.imul(CACHE_MULTIPLIER, pixel) >>> (32 - cacheBits)] = pixel;
  };
  for (let at = 0, x = 0, y = 0; at < pixels.length; ) {
    const group = groups[numbers ? numbers[(y >> bits) * columns + (x >> bits)] : 0];
    const symbol = group[GREEN].read(reader);
    let count = 1;
    if (symbol < LITERALS) {
      const red = group[RED].read(reader);
      const blue = group[BLUE].read(reader);
      const alpha = group[ALPHA].read(reader);
      pixels[at] = (alpha << 24) | (red << 16) | (symbol << 8) | blue;
    } else if (symbol < LITERALS + LENGTH_CODES) {
      count = readPrefixed(reader, symbol - LITERALS);
      const distance = distanceOf(readPrefixed(reader, group[DISTANCE].read(reader)), width);
      if (distance > at || count > pixels.length - at) throw new WebpError("it copies what is not there");
      for (let n = at; n < at + count; n++) pixels[n] = pixels[n - distance];
    } else {
      pixels[at] = cache[symbol - LITERALS - LENGTH_CODES];
    }
    reader.requireMore();
    for (const end = at + count; at < end; at++) remember(pixels[at]);
    for (x += count; x >= width; x -= width) y++;
  }
  return pixels;
}

/** Reads a transform and its data, and the width of the image before its inverse. */
function readTransform(reader, width, height) {
  const type = reader.bits(2);
  if (type === SUBTRACT_GREEN) return { type, width, coded: width };
  if (type === COLOUR_INDEXING) return readPalette(reader, width);
  const bits = reader.bits(3) + 2;
  const data = readPixels(reader, partCount(width, bits), partCount(height, bits), false);
  return { type, width, coded: width, bits, data };
}

function readPalette(reader, width) {
  const size = reader.bits(8) + 1;
  const differences = readPixels(reader, size, 1, false);
  const data = new Uint32Array(256); // colours beyond the palette are 0
  for (let n = 0; n < size; n++) data[n] = addPixels(differences[n], n ? data[n - 1] : 0);
  const bits = size <= 2 ? 3 : size <= 4 ? 2 : size <= 16 ? 1 : 0;
  return { type: COLOUR_INDEXING, width, coded: partCount(width, bits), bits, data };
}

/**
 * Decodes the chunk `VP8L` of a lossless WebP file.
 * @param {Uint8Array} chunk the bytes after signature, size, alpha bit and version
 * @param {number} width
 * @param {number} height
 * @returns {Uint32Array} ARGB pixels, row by row
 * @throws {WebpError}
 */
export function decodeLossless(chunk, width, height) {
  const reader = new BitReader(chunk);
  const transforms = [];
  let coded = width;
  while (reader.bits(1)) {
    const transform = readTransform(reader, coded, height);
    if (transforms.some(({ type }) => type === transform.type)) throw new WebpError("it has a transform twice");
    transforms.push(transform);
    coded = transform.coded;
  }
  let pixels = readPixels(reader, coded, height, true);
  for (const transform of transforms.reverse()) pixels = UNDO[transform.type](pixels, transform, height);
  return pixels;
}

const UNDO = {
  [PREDICTOR]: undoPredictor,
  [CROSS_COLOUR]: undoCrossColour,
  [SUBTRACT_GREEN]: undoSubtractGreen,
  [COLOUR_INDEXING]: undoColourIndexing,
};

/** Adds two pixels, channel by channel modulo 256. */
function addPixels(a, b) {
  const alphaAndGreen = (a & 0xff00ff00) + (b & 0xff00ff00);
  const redAndBlue = (a & 0x00ff00ff) + (b & 0x00ff00ff);
  return ((alphaAndGreen & 0xff00ff00) | (redAndBlue & 0x00ff00ff)) >>> 0;
}

/** Returns the mean of two pixels, channel by channel, rounded down. */
function average(a, b) {
  return ((((a ^ b) & 0xfefefefe) >>> 1) + (a & b)) >>> 0;
}

/** Applies a function of three channel values to each of the four channels. */
function byChannel(a, b, c, combine) {
  let pixel = 0;
  for (let shift = 0; shift < 32; shift += 8) {
    const value = combine((a >>> shift) & 255, (b >>> shift) & 255, (c >>> shift) & 255);
    pixel |= Math.min(255, Math.max(0, value)) << shift;
  }
  return pixel >>> 0;
}

/** Returns left or top, whichever is closer to left + top - topLeft. */
function select(left, top, topLeft) {
  let difference = 0;
  for (let shift = 0; shift < 32; shift += 8) {
    const corner = (topLeft >>> shift) & 255;
    difference += Math.abs(((left >>> shift) & 255) - corner) - Math.abs(((top >>> shift) & 255) - corner);
  }
  return difference <= 0 ? top : left;
}

/** The predictors of a pixel, from the pixels to the left, above, above right and above left. */
const PREDICTORS = [
  () => ARGB_BLACK,
  (l) => l,
  (l, t) => t,
  (l, t, tr) => tr,
  (l, t, tr, tl) => tl,
  (l, t, tr) => average(average(l, tr), t),
  (l, t, tr, tl) => average(l, tl),
  (l, t) => average(l, t),
  (l, t, tr, tl) => average(tl, t),
  (l, t, tr) => average(t, tr),
  (l, t, tr, tl) => average(average(l, tl), average(t, tr)),
  (l, t, tr, tl) => select(l, t, tl),
  (l, t, tr, tl) => byChannel(l, t, tl, (a, b, c) => a + b - c),
  (l, t, tr, tl) => byChannel(average(l, t), tl, 0, (a, b) => a + Math.trunc((a - b) / 2)),
  () => ARGB_BLACK,
  () => ARGB_BLACK,
];

function undoPredictor(pixels, { width, bits, data }, height) {
  const columns = partCount(width, bits);
  pixels[0] = addPixels(pixels[0], ARGB_BLACK);
  for (let x = 1; x < width; x++) pixels[x] = addPixels(pixels[x], pixels[x - 1]);
  for (let y = 1; y < height; y++) {
    let at = y * width;
    pixels[at] = addPixels(pixels[at], pixels[at - width]);
    at++;
    for (let x = 1; x < width; x++, at++) {
      const predict = PREDICTORS[(data[(y >> bits) * columns + (x >> bits)] >>> 8) & 15];
      const above = at - width; // the pixel after the last of a row is the first of the next row
      const predicted = predict(pixels[at - 1], pixels[above], pixels[above + 1], pixels[above - 1]);
      pixels[at] = addPixels(pixels[at], predicted);
    }
  }
  return pixels;
}

const signed = (byte) => (byte << 24) >> 24;

function undoCrossColour(pixels, { width, bits, data }, height) {
  const columns = partCount(width, bits);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const factors = data[(y >> bits) * columns + (x >> bits)];
      const pixel = pixels[at];
      const green = signed(pixel >>> 8);
      const red = ((pixel >>> 16) + ((signed(factors) * green) >> 5)) & 255;
      const fromRed = (signed(factors >>> 16) * signed(red)) >> 5;
      const blue = (pixel + ((signed(factors >>> 8) * green) >> 5) + fromRed) & 255;
      pixels[at] = (pixel & 0xff00ff00) | (red << 16) | blue;
    }
  }
  return pixels;
}

function undoSubtractGreen(pixels) {
  for (let at = 0; at < pixels.length; at++) {
    const green = (pixels[at] >>> 8) & 255;
    pixels[at] = addPixels(pixels[at], (green << 16) | green);
  }
  return pixels;
}

function undoColourIndexing(pixels, { width, coded, bits, data }, height) {
  const perPixel = 1 << bits; // indices per coded pixel
  const indexBits = 8 >> bits;
  const mask = (1 << indexBits) - 1;
  const colours = new Uint32Array(width * height);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const packed = (pixels[y * coded + (x >> bits)] >>> 8) & 255;
      colours[at] = data[(packed >> ((x & (perPixel - 1)) * indexBits)) & mask];
    }
  }
  return colours;
}
