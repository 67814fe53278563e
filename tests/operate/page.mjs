// Looks at the page of a running gateway in Chromium, as tests/operate/page.rs asks it to.
//
//     node page.mjs NODE_MODULES URL SCENE PICTURES
//
// A line `do: WHAT` asks for something to be done outside; a line on standard input says that it is.

import { createRequire } from "node:module";
import readline from "node:readline";

const [modules, url, scene, pictures] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)("playwright-core");
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function outside(what) {
  console.log(`do: ${what}`);
  await answers.next();
}

function must(is, what) {
  if (!is) throw new Error(what);
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
const page = await context.newPage();
const errors = [];
page.on("pageerror", (error) => errors.push(error.message));
page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
page.on("request", (request) => must(request.url().startsWith(url), `it asks elsewhere: ${request.url()}`));
page.on("dialog", (dialog) => dialog.accept());
page.setDefaultTimeout(20_000);

const text = (words) => page.getByText(words).first().waitFor();
const gone = (words) => page.getByText(words).first().waitFor({ state: "detached" });
const picture = (name) => page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true });

async function view(name) {
  const link = page.getByRole("navigation", { name: "Views" }).getByRole("link", { name });
  await link.click();
  // It is drawn a moment after that.
  await link.and(page.locator("[aria-current=page]")).waitFor();
}

// Nothing is wider than the screen, at this width.
async function fits(width) {
  await page.setViewportSize({ width, height: 800 });
  // What is drawn for a width is drawn a moment after it is known.
  const wide = () => document.documentElement.scrollWidth <= innerWidth;
  await page.waitForFunction(wide, null, { timeout: 5_000 }).catch(() => {});
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  must(over <= 0, `at ${width} pixels ${over} stand out`);
}

const scenes = {
  async trial() {
    await page.goto(`${url}#/plugin/celsius`);
    await page.getByRole("heading", { name: "Tried beside it, as a shadow" }).waitFor();
    await text("payload $.temp");
    await text('{"temp":344.8}');
    await picture("trial");
    for (const width of [1280, 820, 390]) await fits(width);
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.getByRole("button", { name: "Unlock" }).click();
    await page.getByLabel("Token").fill("sesame");
    await page.getByRole("button", { name: "Show it" }).click();
    await page.getByRole("button", { name: "Promote" }).click();
    await text("which was tried");
    await gone("Tried beside it, as a shadow");
    await text(", by a trial");
  },
  async clients() {
    await page.goto(`${url}#/broker/home`);
    await page.getByRole("heading", { name: "Clients" }).waitFor();
    await page.getByRole("button", { name: "away-7" }).waitFor();
    for (const width of [1280, 820, 390]) await fits(width);
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.getByRole("searchbox").fill("dev");
    await gone("away-7");
    await page.getByRole("button", { name: "device" }).click();
    await text("cmd/device (1)");
    await picture("clients");
    await page.getByRole("button", { name: "Unlock" }).click();
    await page.getByLabel("Token").fill("sesame");
    await page.getByRole("button", { name: "Show it" }).click();
    await page.getByRole("button", { name: "Disconnect: it may come back" }).click();
    await text("`device` is disconnected; it may come back");
  },
  async views() {
    await page.goto(url);
    await text("every message accounted for: yes");
    for (const name of ["home", "office", "telemetry", "backup", "cloud"]) await page.locator(`.box[href$="/${name}"]`).first().waitFor();
    await page.waitForFunction(() => document.querySelectorAll(".lines path").length === 4);
    must((await page.locator(".lines path.bad").count()) === 1, "one line, to the cloud, is red");
    await picture("overview");
    for (const width of [1600, 1280, 820, 390]) {
      await fits(width);
      if (width === 390) await picture("overview-narrow");
    }
    await page.setViewportSize({ width: 1280, height: 800 });
    // By keyboard alone.
    await page.locator("body").press("Tab");
    for (let n = 0; n < 30; n += 1) {
      const name = await page.evaluate(() => document.activeElement?.getAttribute("href"));
      if (name === "#/route/telemetry") break;
      await page.keyboard.press("Tab");
    }
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Route telemetry" }).waitFor();
    await text("unchanged");
    await picture("route");
    await page.getByRole("link", { name: "celsius" }).first().click();
    await page.getByRole("heading", { name: "Plugin celsius" }).waitFor();
    await text("on_missing");
    await page.getByRole("heading", { name: "Versions" }).waitFor();
    await text("What it remembers");
    await page.goto(`${url}#/broker/cloud1`);
    await text("Connection refused");
    await page.goto(`${url}#/set/cloud`);
    await text("22");
    await view("Dropped");
    await page.locator("td.topic", { hasText: "dev/" }).first().waitFor();
    await view("Log");
    await text("running");
    await page.getByRole("searchbox").fill("cloud1");
    await gone("admin listener");
    await text("not connected");

    await view("Tap");
    await page.getByRole("checkbox").check();
    await page.getByLabel("route").selectOption("telemetry");
    await page.getByRole("button", { name: "Look" }).click();
    await text("looking now");
    await outside("publish");
    await text("dropped by its plugin: unchanged");
    await text("parked");
    must((await page.locator("mark").first().textContent()) === "21.1", "what has changed is marked");
    await picture("tap");
    await page.getByRole("button", { name: "Stop" }).click();

    await view("Why not?");
    await page.getByLabel("Topic").fill("dev/1/temp");
    await page.getByLabel("Payload").fill('{"temp":70}');
    await page.getByRole("button", { name: "Explain" }).click();
    await text("to broker `office`: `site/dev/1/temp`");
    await page.getByLabel("Topic").fill("#");
    await page.getByRole("button", { name: "Explain" }).click();
    await text("`topic`");
    await picture("why");

    await view("Parked");
    await text("reject");
    must((await page.getByRole("button", { name: "Replay" }).count()) > 0, "a gateway that takes control shows how");
    await page.getByRole("button", { name: "Payload" }).first().click();
    await page.getByRole("button", { name: "as hex" }).click();
    await text("6e 6f 20 6a 73 6f 6e");
    const row = page.locator("tbody tr").first();
    await row.getByRole("button", { name: "Replay" }).click();
    await text("show a token");
    await page.getByRole("button", { name: "Unlock" }).click();
    await page.getByLabel("Token").fill("wrong");
    await page.getByRole("button", { name: "Show it" }).click();
    await text("looked at with a token");
    await page.getByLabel("Token").fill("sesame");
    await page.getByRole("button", { name: "Show it" }).click();
    await text("reject");
    await page.locator("tbody tr").first().getByRole("button", { name: "Replay" }).click();
    // It is parked anew, under another number.
    await page.locator("td.number", { hasText: /^4$/ }).waitFor();
    await picture("parked");
    await page.getByRole("button", { name: /^Delete \d+ × reject/ }).click();
    await text("Nothing is parked.");
    await page.goto(`${url}#/broker/cloud1`);
    // It is paused, says so, and goes on.
    await page.getByRole("button", { name: "Pause: send nothing more to it" }).click();
    await text("it is paused");
    await page.getByRole("button", { name: "Go on" }).click();
    await gone("it is paused");
    await page.getByRole("button", { name: "Forget the token" }).click();
    for (const scheme of ["dark", "light"]) {
      await page.emulateMedia({ colorScheme: scheme });
      await page.goto(url);
      await text("every message accounted for");
      await picture(`overview-${scheme}`);
    }
  },

  async edits() {
    await page.goto(`${url}#/configuration`);
    await text("is what runs.");
    await text("Unlock the page to change it.");
    await page.getByRole("button", { name: "Unlock" }).click();
    await page.getByLabel("Token").fill("sesame");
    await page.getByRole("button", { name: "Show it" }).click();
    const editor = page.getByRole("textbox", { name: "Configuration" });
    await page.waitForFunction(() => document.querySelector(".editor textarea")?.readOnly === false);
    const good = await editor.inputValue();
    must(good.includes("# A comment that stays."), "comments are shown");
    await editor.fill(good.replace("round = 1", "rond = 1"));
    await text("unknown field `rond`");
    must(await page.getByRole("button", { name: "Apply" }).isDisabled(), "what would be refused is not applied");
    await picture("configuration");
    await editor.fill(good.replace('members = ["cloud1"]', 'members = ["office"]'));
    await text("messages that wait for cloud");
    await editor.fill(good.replace("round = 1", "round = 2"));
    await text("Saving it would change");
    await page.getByRole("button", { name: "Apply" }).click();
    await text("It is saved, and runs.");
    await outside("is applied");
    await page.getByRole("button", { name: "Undo what was applied last" }).click();
    await page.waitForFunction(() => document.querySelector(".editor textarea").value.includes("round = 1"));
    await outside("is undone");
    // Somebody else saves it meanwhile.
    await editor.fill(good.replace("round = 1", "round = 3"));
    await text("Saving it would change");
    await outside("save it elsewhere");
    await page.getByRole("button", { name: "Apply" }).click();
    await text("somebody else has saved the file meanwhile");
  },

  async troubles() {
    await page.goto(url);
    await text("target cloud: none of its members is connected");
    await outside("start the cloud");
    await gone("target cloud: none of its members is connected");
    await page.locator(".lines path.bad").first().waitFor({ state: "detached" });
    await outside("stop the cloud");
    await text("target cloud: none of its members is connected");
    await outside("break the file");
    await text("The file was refused at");
    await text("unknown field `rond`");
    await picture("refused");
    await outside("mend the file");
    await gone("The file was refused at");
    await outside("add a route");
    await page.locator('.box[href="#/route/extra"]').waitFor();
  },

  async lost() {
    await page.goto(url);
    await text("every message accounted for");
    await outside("kill");
    await text("The gateway is not heard since");
    await outside("start");
    await gone("The gateway is not heard since");
    await text("every message accounted for");
  },

  async many() {
    await page.goto(url);
    await text("60 of 500");
    await outside("publish");
    await page.locator('.box[href="#/route/route-444"]').waitFor();
    await page.getByRole("searchbox").fill("route-321");
    await page.locator('.box[href="#/route/route-321"]').waitFor();
    must((await page.locator(".box.route").count()) === 1, "one is asked for");
    await fits(390);
  },
};

try {
  await scenes[scene]();
  // A gateway that is gone, and tokens that are wrong, are errors to a browser.
  const bad = errors.filter((error) => !/Failed to load resource|ERR_CONNECTION|net::/.test(error));
  must(bad.length === 0, `errors: ${bad.join("\n")}`);
} catch (error) {
  await picture(`failed-${scene}`).catch(() => {});
  console.log(`${scene}: ${error.stack}`);
  console.log(errors.join("\n"));
  process.exitCode = 1;
} finally {
  await browser.close();
}
process.exit();
