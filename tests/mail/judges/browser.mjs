// Chromium, driven for axe and for pictures of what it shows. It reaches nothing but what it is given.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import puppeteer from "puppeteer-core";

/** A busy machine is no fault of a mail's. */
const PATIENCE = 300_000;

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export class Browser {
    static async open() {
        const chromium = await puppeteer.launch({
            protocolTimeout: PATIENCE,
            executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
            args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"],
        });
        return Object.assign(new Browser(), { chromium });
    }

    async close() {
        await this.chromium.close();
    }

    /** Axe over a mail in both schemes, at both widths, with its style sheet and without; images never arrive. */
    async mail(html) {
        const out = [];
        const bare = html.replace(/<style>.*?<\/style>/s, "");
        for (const scheme of ["light", "dark"]) {
            for (const width of [320, 600]) {
                for (const [styled, text] of [["with style", html], ["without style", bare]]) {
                    const page = await this.page(scheme, width);
                    await page.setRequestInterception(true);
                    page.on("request", (request) => (request.url().startsWith("about:") ? request.continue() : request.abort()));
                    await page.setContent(text, { waitUntil: "domcontentloaded" });
                    out.push({ variant: `${scheme}, ${width} px, ${styled}`, violations: await judged(page) });
                    await page.close();
                }
            }
        }
        return out;
    }

    /** Axe over a public page in both schemes, on a phone and on a desk. */
    async site(house, path) {
        const out = [];
        for (const scheme of ["light", "dark"]) {
            for (const width of [360, 900]) {
                const page = await this.open(house, path, scheme, width);
                out.push({ variant: `${scheme}, ${width} px`, violations: await judged(page) });
                await page.close();
            }
        }
        return out;
    }

    /** A public page, read under its public address from the house beside us. */
    async open(house, path, scheme, width) {
        const page = await this.page(scheme, width);
        await this.atHome(page, house);
        await page.goto(`https://news.example${path}`, { waitUntil: "networkidle0" });
        return page;
    }

    /** Lets a page reach the house, and nobody else. */
    async atHome(page, house) {
        await page.setRequestInterception(true);
        page.on("request", async (request) => {
            const url = new URL(request.url());
            if (url.protocol === "about:") return request.continue();
            if (url.host !== "news.example") return request.abort();
            const answer = await fetch(`http://${house.listen}${url.pathname}${url.search}`);
            const body = Buffer.from(await answer.arrayBuffer());
            return request.respond({ status: answer.status, headers: Object.fromEntries(answer.headers), body });
        });
    }

    /** Pictures of a mail and of pages, to be looked at. */
    async shots(folder, house, mails, paths) {
        for (const scheme of ["light", "dark"]) {
            for (const width of [360, 900]) {
                for (const { name, html } of mails) {
                    const page = await this.page(scheme, width);
                    await this.atHome(page, house);
                    await page.setContent(html, { waitUntil: "load" });
                    await picture(page, `${folder}/mail-${name}-${scheme}-${width}.png`);
                    await page.close();
                }
                for (const [name, path] of paths) {
                    const page = await this.open(house, path, scheme, width);
                    await picture(page, `${folder}/page-${name}-${scheme}-${width}.png`);
                    await page.close();
                }
            }
        }
    }

    /** A page in this scheme and width. */
    async page(scheme, width) {
        const page = await this.chromium.newPage();
        page.setDefaultTimeout(PATIENCE);
        await page.setViewport({ width, height: 900 });
        await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
        return page;
    }
}

/** What axe finds wrong with an open page, its best practices included; and whether it must be scrolled sideways. */
export async function judged(page) {
    // Evaluated, not added as a script: the pages' own policy allows none.
    await page.evaluate(axe);
    const results = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    const out = results.violations.flatMap((rule) =>
        rule.nodes.map((node) => ({ rule: rule.id, target: node.target.join(" "), why: node.failureSummary.replaceAll("\n", " ") })));
    const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    if (wide > room) out.push({ rule: "width", target: "html", why: `${wide} px wide in a window of ${room}` });
    return out;
}

/** A page from top to bottom. Chromium's own whole-page picture is shifted where text runs from right to left. */
async function picture(page, path) {
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    await page.setViewport({ ...page.viewport(), height });
    await page.screenshot({ path });
}
