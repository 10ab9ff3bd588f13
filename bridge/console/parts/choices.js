/** Choosing the language, and light or dark. */
import { h, fill, Part } from "../lib/dom.js";

const NAMES = { en: "English", zh: "中文" };

class Choice extends Part {
  constructor(app) {
    super();
    this.app = app;
  }

  /** @param {[string, string][]} options value and text. */
  choose(label, options, chosen, choose) {
    this.select = h("select", { "aria-label": label, onchange: () => choose(this.select.value) }, options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
    fill(this, this.select);
  }
}

export class LanguageChoice extends Choice {
  make() {
    const { texts, preferences, t } = this.app;
    this.choose(t("choose.language"), texts.languages.map((language) => [language, NAMES[language] ?? language]), texts.language, (language) => preferences.set("language", language));
  }
}
customElements.define("hub-language", LanguageChoice);

export class ThemeChoice extends Choice {
  make() {
    const { preferences, t } = this.app;
    this.choose(t("choose.theme"), ["auto", "light", "dark"].map((theme) => [theme, t(`theme.${theme}`)]), preferences.get("theme"), (theme) => preferences.set("theme", theme));
  }

  shown() {
    const { preferences } = this.app;
    this.until(preferences.on("change", () => (this.select.value = preferences.get("theme")))); // another tab
  }
}
customElements.define("hub-theme", ThemeChoice);
