/** A list of any length, of which only what is in sight is made: its elements are used again for others as one scrolls. */
import { eachFrame, Part } from "../lib/dom.js";

const SPARE = 48;
const STEPS = { ArrowRight: [1, 0, 0], ArrowLeft: [-1, 0, 0], ArrowDown: [0, 1, 0], ArrowUp: [0, -1, 0], PageDown: [0, 0, 1], PageUp: [0, 0, -1] };

/**
 * One element of the list.
 * @typedef {object} Item
 * @property {HTMLElement} element a list item.
 * @property {HTMLElement} link what in it is focused.
 * @property {(value: any) => void} show makes it that of another value.
 */

/**
 * The list. It scrolls with the `main` that it is in. The arrows, Home, End, PageUp and PageDown move the focus.
 *
 * Calls `ranged(first, end)` after each change of what is in sight or of `values`.
 */
export class Window extends Part {
  values = [];
  /** What is made now. @type {Map<string, Item>} */
  items = new Map();
  #places = new Map();
  #spare = [];
  #active = null;
  #sizes = null;
  #draw = eachFrame(() => this.isConnected && this.draw());

  /**
   * @param {object} options
   * @param {string} options.label
   * @param {() => Item} options.make
   * @param {(rems: number) => {columns: number, height: number, gap: number}} options.shape of a list that is so many rem wide; `height`, `gap`: rem.
   * @param {number} [options.margin] of what is made beyond each edge, as a share of what is in sight.
   */
  constructor({ label, make, shape, margin = 0.3, ranged = () => {} }) {
    super();
    Object.assign(this, { makeItem: make, shape, margin, ranged });
    this.role = "list";
    this.ariaLabel = label;
    this.className = "window";
  }

  shown() {
    this.scroller = this.closest("main");
    const observer = new ResizeObserver(() => this.measure());
    observer.observe(this);
    observer.observe(this.scroller);
    this.until(() => observer.disconnect());
    this.listen(this.scroller, "scroll", this.#draw, { passive: true });
    this.listen(this, "keydown", (event) => this.#key(event));
    this.listen(this, "focusin", (event) => this.#focused(event.target));
    this.measure();
  }

  /** Other values; `value.id` tells which element is whose. The focus stays with its value, or where that was. */
  set(values) {
    const lost = this.#focusedPlace();
    this.values = values;
    this.#places = new Map(values.map((value, place) => [value.id, place]));
    this.draw();
    if (lost !== null && !this.#places.has(this.#active)) this.focusAt(Math.min(lost, values.length - 1), false);
  }

  /** Another shape. */
  reshape(shape) {
    this.shape = shape;
    this.#sizes = null;
    this.measure();
  }

  /** Reads how large everything is. */
  measure() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const width = this.clientWidth;
    if (width === 0) return; // it is not shown
    const { columns, height, gap } = this.shape(width / rem);
    const sizes = { columns, rem, width: Math.floor((width - (columns - 1) * gap * rem) / columns), height: Math.round(height * rem), gap: Math.round(gap * rem), sight: this.scroller.clientHeight };
    const same = this.#sizes && Object.entries(sizes).every(([name, value]) => this.#sizes[name] === value);
    if (same) return;
    this.#sizes = sizes;
    this.style.setProperty("--item-width", `${sizes.width}px`);
    this.style.setProperty("--item-height", `${sizes.height}px`);
    for (const item of this.items.values()) item.at = -1;
    this.draw();
  }

  /** Makes what is in sight. */
  draw() {
    if (!this.#sizes) return;
    const { height, gap, columns } = this.#sizes;
    const rows = Math.ceil(this.values.length / columns);
    const tall = Math.max(0, rows * (height + gap) - gap);
    if (tall !== this.tall) this.style.height = `${(this.tall = tall)}px`;
    const [first, end] = this.#sight();
    const wanted = this.#wanted(first, end);
    this.#recycle(wanted);
    for (const place of wanted) this.#put(place);
    this.#arrange(wanted.map((place) => this.items.get(this.values[place].id)));
    this.#stop(first, end);
    this.ranged(first, end);
  }

  /** Where the list begins in what scrolls. */
  get #top() {
    return this.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top + this.scroller.scrollTop;
  }

  /** The first place in sight, and the first after it that is not. */
  #sight() {
    const { height, gap, columns, sight } = this.#sizes;
    const above = this.scroller.scrollTop - this.#top;
    const count = this.values.length;
    const row = (at) => Math.floor(at / (height + gap));
    return [Math.min(count, Math.max(0, row(above)) * columns), Math.min(count, Math.max(0, row(above + sight) + 1) * columns)];
  }

  /** Places that are made: with a margin, and where the focus is. */
  #wanted(first, end) {
    const { columns } = this.#sizes;
    const more = Math.ceil(((end - first) * this.margin) / columns) * columns;
    const from = Math.max(0, first - more);
    const to = Math.min(this.values.length, end + more);
    const wanted = Array.from({ length: to - from }, (_, at) => from + at);
    const focused = this.#focusedPlace() === null ? undefined : this.#places.get(this.#active);
    if (focused < from) wanted.unshift(focused);
    if (focused >= to) wanted.push(focused);
    return wanted;
  }

  #recycle(wanted) {
    const kept = new Set(wanted.map((place) => this.values[place].id));
    for (const [id, item] of this.items) {
      if (kept.has(id)) continue;
      item.element.remove();
      this.items.delete(id);
      if (this.#spare.length < SPARE) this.#spare.push(item);
    }
  }

  #put(place) {
    const value = this.values[place];
    let item = this.items.get(value.id);
    if (!item) {
      item = this.#spare.pop() ?? this.makeItem();
      Object.assign(item, { at: -1, total: -1 });
      item.link.tabIndex = -1;
      this.items.set(value.id, item);
      item.show(value);
    } else if (item.value !== value) {
      item.show(value);
    }
    item.value = value;
    if (item.total !== this.values.length) item.element.ariaSetSize = String((item.total = this.values.length));
    if (item.at === place) return;
    const { columns, width, height, gap } = this.#sizes;
    item.at = place;
    item.element.ariaPosInSet = String(place + 1);
    item.element.style.transform = `translate(${(place % columns) * (width + gap)}px, ${Math.floor(place / columns) * (height + gap)}px)`;
  }

  /** Screen readers go through elements as they stand: they stand as they are seen. The focused one is never moved, as it would lose the focus. */
  #arrange(items) {
    const held = Math.max(0, items.findIndex(({ link }) => link === document.activeElement));
    if (!items.length) return;
    if (items[held].element.parentNode !== this) this.append(items[held].element);
    for (let at = held - 1; at >= 0; at--) {
      if (items[at].element.nextSibling !== items[at + 1].element) this.insertBefore(items[at].element, items[at + 1].element);
    }
    for (let at = held + 1; at < items.length; at++) {
      if (items[at - 1].element.nextSibling !== items[at].element) items[at - 1].element.after(items[at].element);
    }
  }

  /** The Tab key comes to one of them: the last that was focused, if it is in sight. */
  #stop(first, end) {
    const at = this.#places.get(this.#active);
    const place = at >= first && at < end ? at : this.#focusedPlace() === null ? first : at;
    const item = this.items.get(this.values[place]?.id);
    if (item === this.tabStop && item?.link.tabIndex === 0) return;
    if (this.tabStop) this.tabStop.link.tabIndex = -1;
    this.tabStop = item;
    if (item) item.link.tabIndex = 0;
  }

  #focused(target) {
    for (const [id, { link }] of this.items) if (link === target) this.#active = id;
    const [first, end] = this.#sight();
    this.#stop(first, end);
  }

  /** Where the focus is; null: elsewhere. */
  #focusedPlace() {
    return this.contains(document.activeElement) ? (this.#places.get(this.#active) ?? null) : null;
  }

  /** The id of the value that was focused last. */
  get active() {
    return this.#active;
  }

  /** Focuses the element of an id. Returns false where it is not in the list. */
  focusOn(id) {
    const place = this.#places.get(id);
    if (place === undefined) return false;
    this.focusAt(place, false);
    return true;
  }

  /** Focuses what is at a place. `scroll`: so that it is in sight. */
  focusAt(place, scroll = true) {
    const value = this.values[place];
    if (!value) return;
    if (scroll) this.#reveal(place);
    this.#active = value.id;
    if (!this.items.has(value.id)) this.#put(place);
    const { element, link } = this.items.get(value.id);
    if (element.parentNode !== this) this.append(element);
    link.focus({ preventScroll: true });
    this.draw();
  }

  #reveal(place) {
    const { columns, height, gap } = this.#sizes;
    const { scroller } = this;
    const covered = parseFloat(getComputedStyle(scroller).scrollPaddingTop) || 0;
    const top = this.#top + Math.floor(place / columns) * (height + gap);
    if (top - covered - gap < scroller.scrollTop) scroller.scrollTop = top - covered - gap;
    else if (top + height + gap > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + height + gap - scroller.clientHeight;
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const at = this.#places.get(this.#active);
    const last = this.values.length - 1;
    const { columns, height, gap, sight } = this.#sizes;
    let to;
    if (event.key === "Home") to = 0;
    else if (event.key === "End") to = last;
    else if (event.key in STEPS && at !== undefined) {
      const [one, row, page] = STEPS[event.key];
      const rows = Math.max(1, Math.floor(sight / (height + gap)) - 1);
      to = at + one + (row + page * rows) * columns;
      if (page) to = Math.max(at % columns, Math.min(to, last));
    } else return;
    event.preventDefault();
    if (to >= 0 && to <= last) this.focusAt(to);
    else if (to > last && Math.floor(last / columns) > Math.floor(at / columns)) this.focusAt(last);
  }
}
customElements.define("hub-window", Window);
