// Headless Chromium, driven by commands: JSON lines on stdin, JSON lines on stdout.
//   node chromium.js EXECUTABLE PROFILE_DIRECTORY
//   {"do": "open", "tab": 1, "id": 1, "url": URL}
//   {"do": "run", "tab": 1, "id": 2, "name": NAME, "args": [...]}     calls page.NAME(...) in the tab
//   {"do": "close", "tab": 1, "id": 3}
// Each is answered with {"id", "value"} or {"id", "error"}. What a tab complains of is said as {"tab", "trouble"}.
const readline = require("readline");
const puppeteer = require("puppeteer-core");

const [executablePath, userDataDir] = process.argv.slice(2);
const tabs = new Map();
const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

const commands = {
  async open(browser, { tab, url }) {
    const page = await browser.newPage();
    const trouble = (text) => say({ tab, trouble: text });
    page.on("console", (message) => {
      if (["error", "warn", "assert"].includes(message.type())) trouble(`console ${message.type()}: ${message.text()}`);
    });
    page.on("pageerror", (error) => trouble(`page error: ${error}`));
    page.on("requestfailed", (request) => trouble(`failed: ${request.method()} ${request.url()} ${request.failure().errorText}`));
    page.on("response", (response) => {
      if (response.status() >= 400) trouble(`${response.status()}: ${response.request().method()} ${response.url()}`);
    });
    tabs.set(tab, page);
    await page.goto(url);
  },
  run: (_browser, { tab, name, args }) =>
    tabs.get(tab).evaluate((name, args) => window.page[name](...args), name, args),
  close: (_browser, { tab }) => tabs.get(tab).close(),
};

(async () => {
  const browser = await puppeteer.launch({
    executablePath,
    userDataDir,
    pipe: true,
    args: [
      "--no-sandbox", // it does not start as root with one
      "--disable-dev-shm-usage", // containers have little of it
      "--disable-features=WebRtcHideLocalIpsWithMdns", // there is nobody to answer mDNS
      "--allow-loopback-in-peer-connection",
    ],
  });
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const command = JSON.parse(line);
    commands[command.do](browser, command).then(
      (value) => say({ id: command.id, value: value ?? null }),
      (error) => say({ id: command.id, error: String(error) }),
    );
  });
  lines.on("close", () => browser.close().then(() => process.exit(0)));
  say({ id: 0, value: await browser.version() });
})().catch((error) => say({ id: 0, error: String(error) }));
