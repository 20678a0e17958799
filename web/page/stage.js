/**
 * The stage: a canvas as large as its element that shows a part of one image, or of two beside each
 * other at a dividing line. Lengths and places are in device pixels, unless a name says `image`; so at
 * scale 1 a pixel of the image is a pixel of the screen.
 *
 * @typedef {{ x: number, y: number, width: number, height: number }} Rectangle
 * @typedef {{ picture: CanvasImageSource, place: Rectangle, isCoarse: boolean }} Layer
 *   what is drawn at a place of the image; a coarse one is enlarged smoothly
 */

const MOST_SCALE = 64;
const CRISP_FROM = 2; // from this scale on, pixels are shown as squares
const CHECKS = 12; // side of the squares behind transparent pixels, in CSS pixels
const WHEEL = 0.0015; // of the logarithm of the scale, for each pixel of the wheel
const PINCH_WHEEL = 0.01; // browsers report pinches on touchpads as wheels with Ctrl and small steps

export class Stage {
  /**
   * What is drawn, asked for at each drawing: a picture may be closed as soon as it is not given.
   * @type {() => { left: Layer[], right: Layer[]|null }}
   */
  layers = () => ({ left: [], right: null });
  /** Where the right image begins, as a share of the width. */
  divider = 0.5;
  /** Called when another part of the image is seen. */
  onView = () => {};

  #element;
  #canvas;
  #context;
  #image = { width: 0, height: 0 };
  #scale = 1;
  #origin = { x: 0, y: 0 }; // of the image's top left corner
  #isFit = true; // the scale follows the size of the window
  #isDrawing = false;
  #checks;
  /** @type {Map<number, { x: number, y: number }>} */
  #pointers = new Map();

  /**
   * @param {HTMLElement} element
   * @param {HTMLCanvasElement} canvas
   */
  constructor(element, canvas) {
    this.#element = element;
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    new ResizeObserver(() => this.#resize()).observe(element);
    element.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#drag(event));
    for (const type of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(type, (event) => this.#pointers.delete(event.pointerId));
    }
    canvas.addEventListener("dblclick", () => (this.#isFit ? this.showActual() : this.fit()));
    this.#resize();
  }

  get scale() {
    return this.#scale;
  }

  /**
   * Sets the size of the image. One of another size than before is shown whole.
   *
   * @returns {boolean} whether it is another size
   */
  setSize(width, height) {
    if (width === this.#image.width && height === this.#image.height) return false;
    this.#image = { width, height };
    this.fit();
    return true;
  }

  /** Fits the image in the window; small images are not enlarged. */
  fit() {
    const { width, height } = this.#canvas;
    this.#isFit = true;
    this.#scale = this.#fitting();
    this.#origin = {
      x: (width - this.#image.width * this.#scale) / 2,
      y: (height - this.#image.height * this.#scale) / 2,
    };
    this.#changed();
  }

  /** Shows pixels one for one, around the middle. */
  showActual() {
    this.zoomBy(1 / this.#scale);
  }

  /**
   * Zooms so that the pixel of the image at a point stays there.
   *
   * @param {number} factor
   * @param {{ x: number, y: number }} [at]  the middle if it is left out
   */
  zoomBy(factor, at = { x: this.#canvas.width / 2, y: this.#canvas.height / 2 }) {
    const least = this.#fitting() / 2;
    const scale = Math.min(MOST_SCALE, Math.max(least, this.#scale * factor));
    const ratio = scale / this.#scale;
    this.#origin = { x: at.x + (this.#origin.x - at.x) * ratio, y: at.y + (this.#origin.y - at.y) * ratio };
    this.#scale = scale;
    this.#isFit = false;
    this.#keepInSight();
    this.#changed();
  }

  /** Moves the image by CSS pixels. */
  moveBy(x, y) {
    this.#origin.x += x * devicePixelRatio;
    this.#origin.y += y * devicePixelRatio;
    this.#isFit = false;
    this.#keepInSight();
    this.#changed();
  }

  /** The part of the image that is seen, in whole pixels of the image; its size may be 0. */
  seen() {
    const span = (origin, size, imageSize) => {
      const first = Math.max(0, Math.floor(-origin / this.#scale));
      const end = Math.min(imageSize, Math.ceil((size - origin) / this.#scale));
      return [first, Math.max(0, end - first)];
    };
    const [x, width] = span(this.#origin.x, this.#canvas.width, this.#image.width);
    const [y, height] = span(this.#origin.y, this.#canvas.height, this.#image.height);
    return { x, y, width, height };
  }

  /** Draws before the next frame. */
  draw() {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    requestAnimationFrame(() => {
      this.#isDrawing = false;
      this.#paint();
    });
  }

  /** The scale at which the image fits in the window; small images are not enlarged. */
  #fitting() {
    return Math.min(1, this.#canvas.width / this.#image.width, this.#canvas.height / this.#image.height);
  }

  #resize() {
    const width = Math.max(1, Math.round(this.#element.clientWidth * devicePixelRatio));
    const height = Math.max(1, Math.round(this.#element.clientHeight * devicePixelRatio));
    if (width === this.#canvas.width && height === this.#canvas.height) return;
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.#checks = null;
    if (this.#isFit) this.fit();
    else this.moveBy(0, 0);
    this.#paint(); // at once: a canvas of a new size is empty
  }

  /** Keeps the middle of the window within the image, or the image in the middle if it is smaller. */
  #keepInSight() {
    const kept = (origin, size, imageSize) => {
      const length = imageSize * this.#scale;
      if (length <= size) return (size - length) / 2;
      return Math.min(size / 2, Math.max(size / 2 - length, origin));
    };
    this.#origin.x = kept(this.#origin.x, this.#canvas.width, this.#image.width);
    this.#origin.y = kept(this.#origin.y, this.#canvas.height, this.#image.height);
  }

  #changed() {
    this.draw();
    this.onView();
  }

  #paint() {
    const { width, height } = this.#canvas;
    const context = this.#context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    const { left, right } = this.layers();
    if (right === null) {
      this.#paintSide(left, 0, width);
      return;
    }
    const middle = Math.round(width * this.divider);
    this.#paintSide(left, 0, middle);
    this.#paintSide(right, middle, width);
    context.fillStyle = "#fff";
    context.fillRect(middle - devicePixelRatio, 0, 2 * devicePixelRatio, height);
  }

  /** Paints layers between two columns of the canvas. */
  #paintSide(layers, from, to) {
    const context = this.#context;
    const { height } = this.#canvas;
    // Whole pixels, so that pixels of the image at scale 1 are those of the screen.
    const x = Math.round(this.#origin.x);
    const y = Math.round(this.#origin.y);
    context.save();
    context.beginPath();
    context.rect(from, 0, to - from, height);
    context.clip();
    for (const { picture, place, isCoarse } of layers) {
      const left = x + place.x * this.#scale;
      const top = y + place.y * this.#scale;
      const [wide, high] = [place.width * this.#scale, place.height * this.#scale];
      context.fillStyle = this.#checkerboard();
      context.fillRect(left, top, wide, high);
      context.imageSmoothingEnabled = isCoarse || this.#scale < CRISP_FROM;
      context.imageSmoothingQuality = "high";
      context.drawImage(picture, left, top, wide, high);
    }
    context.restore();
  }

  /** What is seen through transparent pixels. */
  #checkerboard() {
    if (this.#checks) return this.#checks;
    const side = Math.round(CHECKS * devicePixelRatio);
    const tile = new OffscreenCanvas(2 * side, 2 * side);
    const context = tile.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, 2 * side, 2 * side);
    context.fillStyle = "#ddd";
    context.fillRect(0, 0, side, side);
    context.fillRect(side, side, side, side);
    this.#checks = this.#context.createPattern(tile, "repeat");
    return this.#checks;
  }

  #wheel(event) {
    event.preventDefault();
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : 30 * event.deltaY;
    this.zoomBy(Math.exp(-pixels * (event.ctrlKey ? PINCH_WHEEL : WHEEL)), this.#pointOf(event));
  }

  #press(event) {
    if (event.button !== 0) return;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, this.#pointOf(event));
  }

  /** One pointer moves the image; two zoom it and move it with their middle. */
  #drag(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = this.#pointOf(event);
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.#pointers.set(event.pointerId, now);
    if (other) {
      const distance = (point) => Math.hypot(point.x - other.x, point.y - other.y);
      this.zoomBy(Math.max(1, distance(now)) / Math.max(1, distance(before)), other);
    } else {
      this.moveBy((now.x - before.x) / devicePixelRatio, (now.y - before.y) / devicePixelRatio);
    }
  }

  #pointOf(event) {
    const box = this.#canvas.getBoundingClientRect();
    return { x: (event.clientX - box.left) * devicePixelRatio, y: (event.clientY - box.top) * devicePixelRatio };
  }
}
