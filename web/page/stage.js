/**
 * The stage: a canvas with the size of its element. It shows a part of one image, or of two images on both sides of a
 * dividing line. Lengths and positions are in device pixels, unless a name contains `image`. At scale 1, an image pixel
 * is a device pixel.
 *
 * @typedef {{ x: number, y: number, width: number, height: number }} Rectangle
 * @typedef {{ picture: CanvasImageSource, place: Rectangle, isCoarse: boolean }} Layer
 *   what is drawn at a place of the image; a coarse one is enlarged smoothly
 */

const MOST_SCALE = 64;
const CRISP_FROM = 2; // pixels are shown as squares from this scale on
const CHECKS = 12; // side of the checkerboard squares behind transparent pixels, in CSS pixels
const WHEEL = 0.0015; // change of the logarithm of the scale per pixel of the wheel
const PINCH_WHEEL = 0.01; // browsers report touchpad pinches as wheel events with Ctrl and small steps

export class Stage {
  /**
   * Returns the layers to draw. It is called at each drawing, because a picture may be closed when it is no longer
   * returned.
   * @type {() => { left: Layer[], right: Layer[]|null }}
   */
  layers = () => ({ left: [], right: null });
  /** The position of the dividing line as a fraction of the width. */
  divider = 0.5;
  /** Called when the visible part of the image changes. */
  onView = () => {};

  #element;
  #canvas;
  #context;
  #image = { width: 0, height: 0 };
  #scale = 1;
  #origin = { x: 0, y: 0 }; // top left corner of the image
  #isFit = true; // the scale follows the window size
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
   * Sets the size of the image. If it changes, the entire image is shown.
   *
   * @returns {boolean} whether the size has changed
   */
  setSize(width, height) {
    if (width === this.#image.width && height === this.#image.height) return false;
    this.#image = { width, height };
    this.fit();
    return true;
  }

  /** Fits the image to the window without enlarging it. */
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

  /** Shows pixels at scale 1, around the centre. */
  showActual() {
    this.zoomBy(1 / this.#scale);
  }

  /**
   * Changes the scale around a point, whose image pixel stays in place.
   *
   * @param {number} factor
   * @param {{ x: number, y: number }} [at] the default is the centre
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

  /** Returns the visible part of the image in integer pixels. It may be empty. */
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

  /** Schedules drawing for the next frame. */
  draw() {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    requestAnimationFrame(() => {
      this.#isDrawing = false;
      this.#paint();
    });
  }

  /** Returns the scale at which the image fits to the window, at most 1. */
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
    this.#paint(); // immediately, because resizing clears a canvas
  }

  /** Keeps the centre of the window within the image, or centres a smaller image. */
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

  /** Draws layers between two columns of the canvas. */
  #paintSide(layers, from, to) {
    const context = this.#context;
    const { height } = this.#canvas;
    // Integer positions, so that at scale 1 image pixels coincide with device pixels.
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

  /** Draws the background of transparent pixels. */
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

  /** Handles pointers: one moves the image; two change the scale, and move the image with their centre. */
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
