/** Where the console begins. */
import { App } from "../core/app.js";
import { tokenProblem } from "../core/session.js";
import en from "../texts/en.js";
import zh from "../texts/zh.js";
import { adopt } from "./frame.js";
import { Shell } from "./shell.js";
import { SignIn } from "./sign-in.js";

const app = new App({ base: new URL("./", location.href).href.split("#")[0], storage: localStorage, tables: { en, zh }, languages: navigator.languages, devices: navigator.mediaDevices });

/** Takes the token out of an address that signs in, as `hub demo` prints one: it belongs into no bookmark, screenshot or history. */
function signInByAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return false;
  history.replaceState(null, "", location.pathname);
  const problem = tokenProblem(given);
  if (problem === null) app.session.use(given);
  else if (!app.session.signedIn) app.ended = problem;
  return problem === null;
}

if (!signInByAddress()) app.start();
// opened where the console is open already; before any page looks at the address
addEventListener("hashchange", signInByAddress);
adopt(app, (before) => (app.session.signedIn ? new Shell(app) : new SignIn(app, before)));
