/** Where the console begins. */
import { App } from "../core/app.js";
import en from "../texts/en.js";
import zh from "../texts/zh.js";
import { adopt } from "./frame.js";
import { Shell } from "./shell.js";
import { SignIn } from "./sign-in.js";

const app = new App({ base: new URL("./", location.href).href.split("#")[0], storage: localStorage, tables: { en, zh }, languages: navigator.languages, devices: navigator.mediaDevices });

// not into bookmarks, screenshots and the history: `hub demo` prints an address that signs in
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  history.replaceState(null, "", location.pathname);
  app.session.use(given);
} else {
  app.start();
}

adopt(app, () => (app.session.signedIn ? new Shell(app) : new SignIn(app)));
