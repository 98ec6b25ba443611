// Prints what Lighthouse scores below 1, by view: `node lighthouse.mjs CHROMIUM URL VIEW... -- SWITCH...`. The first view
// is loaded under its eyes, the others are looked at as they stand: the page's event stream makes a load long. The browser
// has the cookie of the variable COOKIE, `name=value`, if that is set.
import { navigation, snapshot } from "lighthouse";
import puppeteer from "puppeteer-core";

const CATEGORIES = ["accessibility", "best-practices"];
const flags = { onlyCategories: CATEGORIES, formFactor: "desktop", screenEmulation: { disabled: true }, throttlingMethod: "provided", maxWaitForLoad: 5000, disableFullPageScreenshot: true };

const words = process.argv.slice(2);
const [executablePath, url, first, ...others] = words.slice(0, words.indexOf("--"));
const browser = await puppeteer.launch({ executablePath, args: words.slice(words.indexOf("--") + 1), headless: true, defaultViewport: { width: 1280, height: 860 } });
try {
  const page = await browser.newPage();
  const [name, value] = (process.env.COOKIE ?? "").split("=");
  if (value) await page.setCookie({ name, value, url });
  const found = { [first]: below(await navigation(page, `${url}/#/${first}`, { flags })) };
  for (const view of others) {
    await page.goto(`${url}/#/${view}`);
    await page.waitForSelector(`main > [data-view="${view}"]:not([hidden]) h1`);
    found[view] = below(await snapshot(page, { flags }));
  }
  console.log(JSON.stringify(found));
} finally {
  await browser.close();
}

function below({ lhr }) {
  const scores = CATEGORIES.map((id) => lhr.categories[id].score);
  const audits = Object.values(lhr.audits).filter(({ score }) => score !== null && score < 1);
  return scores.every((score) => score === 1) ? [] : [scores, ...audits.map(({ id, title, details }) => [id, title, details?.items?.map(({ node }) => node?.snippet)])];
}
