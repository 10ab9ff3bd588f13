/** What the page says, in the reader's language. */
import { Emitter } from "./emitter.js";

/**
 * Texts of one language after another.
 *
 * `change` is emitted when another language was chosen.
 */
export class Texts extends Emitter {
  /**
   * @param {Record<string, Record<string, string>>} tables by language, the first one where nothing else fits.
   * @param {readonly string[]} wanted languages, as a browser tells them, best first.
   */
  constructor(tables, wanted = []) {
    super();
    this.tables = tables;
    this.language = fitting(Object.keys(tables), wanted);
  }

  get languages() {
    return Object.keys(this.tables);
  }

  /** Another language from now on. */
  choose(language) {
    if (language === this.language || !(language in this.tables)) return;
    this.language = language;
    this.emit("change");
  }

  /**
   * A text.
   * @param {string} key
   * @param {Record<string, string | number>} [values] for what stands in braces. With `n`, a text of `key.one` is taken for 1, if there is one.
   */
  get(key, values = {}) {
    const table = this.tables[this.language];
    const text = (values.n === 1 ? table[`${key}.one`] : undefined) ?? table[key] ?? key;
    return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
  }

  /**
   * The text for a word of others, such as a device's type.
   * @param {string} kind what the keys of such words begin with.
   * @param {string} word
   * @param {string} [otherwise] where there is none.
   */
  word(kind, word, otherwise = word) {
    return this.tables[this.language][`${kind}.${word}`] ?? otherwise;
  }
}

function fitting(languages, wanted) {
  for (const tag of wanted) {
    const found = languages.find((language) => tag.toLowerCase().split("-")[0] === language);
    if (found) return found;
  }
  return languages[0];
}
