// A page in headless Chromium, as a person looks at it: what it asks for, what it complains of, what of it can be selected, and how it looks.
//   node report.js EXECUTABLE PROFILE_DIRECTORY FILE OUTPUT_DIRECTORY
// Writes light.png, dark.png, narrow.png and print.pdf, and says one line of JSON.
const path = require("path");
const puppeteer = require("puppeteer-core");
const { pathToFileURL } = require("url");

const [executablePath, userDataDir, file, output] = process.argv.slice(2);
const SIZES = { wide: { width: 1100, height: 900 }, narrow: { width: 390, height: 800 } };

const overflows = () => document.documentElement.scrollWidth > document.documentElement.clientWidth;
const paper = () => getComputedStyle(document.body).backgroundColor;
const selected = () => {
  getSelection().selectAllChildren(document.body);
  const text = getSelection().toString();
  getSelection().removeAllRanges();
  return text;
};
// texts of charts that reach beyond their chart
const cut = () =>
  [...document.querySelectorAll("svg")].flatMap((svg) => {
    const frame = svg.getBoundingClientRect();
    const beyond = (text) => ((box) => box.left < frame.left - 1 || box.right > frame.right + 1)(text.getBoundingClientRect());
    return [...svg.querySelectorAll("text")].filter(beyond).map((text) => text.textContent);
  });

(async () => {
  const browser = await puppeteer.launch({ executablePath, userDataDir, pipe: true, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  const said = { requests: [], trouble: [], papers: {}, overflows: {} };
  const page = await browser.newPage();
  page.on("request", (request) => said.requests.push(request.url()));
  page.on("console", (message) => said.trouble.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => said.trouble.push(String(error)));
  page.on("dialog", (dialog) => (said.trouble.push(`dialog: ${dialog.message()}`), dialog.dismiss()));
  for (const scheme of ["light", "dark"]) {
    await page.setViewport(SIZES.wide);
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.goto(pathToFileURL(file).href);
    said.papers[scheme] = await page.evaluate(paper);
    await page.screenshot({ path: path.join(output, `${scheme}.png`), fullPage: true });
  }
  said.overflows.wide = await page.evaluate(overflows);
  said.cut = await page.evaluate(cut);
  said.selected = await page.evaluate(selected);
  // printed from a dark screen: the paper is white all the same
  await page.pdf({ path: path.join(output, "print.pdf"), preferCSSPageSize: true, printBackground: true });
  await page.emulateMediaType("print");
  said.papers.print = await page.evaluate(paper);
  await page.emulateMediaType("screen");
  await page.setViewport(SIZES.narrow);
  said.overflows.narrow = await page.evaluate(overflows);
  await page.screenshot({ path: path.join(output, "narrow.png"), fullPage: true });
  await browser.close();
  process.stdout.write(JSON.stringify(said) + "\n");
})();
