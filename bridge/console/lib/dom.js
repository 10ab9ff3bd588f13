/**
 * Elements without markup: text is always text, so that nothing a station calls itself can become an element
 * (the page's policy forbids `innerHTML` as well).
 */

/**
 * Makes an element.
 *
 *     h("button", { class: "primary", onclick: save, "aria-pressed": "true" }, t("save"))
 *
 * @param {string} tag
 * @param {Record<string, any>} [props] `on…` functions are listeners; `class`, `role`, `aria-…`, `data-…` and what the element has no
 *   property for become attributes; the rest properties. null and undefined are left out.
 * @param {...(Node | string | number | null | undefined | false | any[])} children
 * @returns {any} the element.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on") && typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name in element && !name.includes("-") && name !== "list" && name !== "form") element[name] = value;
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name === "class" ? "class" : name, String(value));
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false).map((child) => child instanceof Node ? child : String(child));
}

/** Puts other children in place of an element's own. */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
}

/** Sets the text of an element, if it is another: what does not change costs no layout. */
export function setText(element, text) {
  text = String(text);
  if (element.textContent !== text) element.textContent = text;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * A small picture beside a text, drawn in the text's colour; hidden from screen readers.
 * @param {string} path of a 24 x 24 square, stroked.
 */
export function icon(path) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", focusable: "false" })) svg.setAttribute(name, value);
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

/** Base of the custom elements: made once, when first shown; what it listens to ends when it is taken away. */
export class Part extends HTMLElement {
  #ends = [];
  #made = false;

  connectedCallback() {
    if (!this.#made) {
      this.#made = true;
      this.make();
    }
    this.shown();
  }

  disconnectedCallback() {
    for (const end of this.#ends.splice(0)) end();
    this.gone();
  }

  /** Builds what is inside. */
  make() {}

  /** It is on the page now: the place to listen to models, by `until`. */
  shown() {}

  /** It was taken away. */
  gone() {}

  /** Calls each of `ends` when this is taken away: `this.until(fleet.on("change", draw))`. */
  until(...ends) {
    this.#ends.push(...ends);
  }

  /** Listens to a DOM event until this is taken away. */
  listen(target, event, listener, options) {
    target.addEventListener(event, listener, options);
    this.until(() => target.removeEventListener(event, listener, options));
  }
}

/**
 * Something that is done once a frame, however often it is asked for.
 * @param {() => void} work
 * @returns {() => void} asks for it.
 */
export function eachFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}
