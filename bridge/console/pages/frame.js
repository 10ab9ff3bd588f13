/** What every page of the hub does, the edge page too: language, theme, coming back when the network does. */
import { typedIn } from "../lib/typed.js";

/**
 * Shows a page for the app's state, and shows it anew when the language or who is signed in changes.
 * @param {import("../core/app.js").App} app
 * @param {(before?: HTMLElement) => HTMLElement} make what is to be seen now; `before`: what was, where it is the same in another language.
 */
export function adopt(app, make) {
  const root = document.documentElement;
  const show = (before) => {
    root.lang = app.texts.language === "zh" ? "zh-CN" : app.texts.language;
    document.body.replaceChildren(make(before));
  };
  const theme = () => {
    const chosen = app.preferences.get("theme");
    if (chosen === "auto") delete root.dataset.theme;
    else root.dataset.theme = chosen;
  };
  app.texts.on("change", () => {
    const chosen = document.activeElement?.closest("hub-language");
    const retype = typedIn(document.body);
    show(document.body.firstElementChild);
    retype(document.body);
    if (chosen) document.querySelector("hub-language select")?.focus();
  });
  app.on("session", () => show());
  app.preferences.on("change", (name) => {
    if (name === "language") app.texts.choose(app.preferences.get("language"));
    if (name === "theme") theme();
  });
  addEventListener("storage", () => app.stored());
  addEventListener("online", () => app.hub.retry());
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") app.hub.retry();
  });
  theme();
  show();
}
