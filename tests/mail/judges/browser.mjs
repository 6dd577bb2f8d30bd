// Chromium, driven for axe and for pictures of what it shows. It reaches nothing but what it is given.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import puppeteer from "puppeteer-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export class Browser {
    static async open() {
        const chromium = await puppeteer.launch({
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

    /** A page in this scheme and width. */
    async page(scheme, width) {
        const page = await this.chromium.newPage();
        await page.setViewport({ width, height: 900 });
        await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
        return page;
    }
}

/** What axe finds wrong with an open page, its best practices included; and whether it must be scrolled sideways. */
export async function judged(page) {
    await page.evaluate(axe);
    const results = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    const out = results.violations.flatMap((rule) =>
        rule.nodes.map((node) => ({ rule: rule.id, target: node.target.join(" "), why: node.failureSummary.replaceAll("\n", " ") })));
    const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    if (wide > room) out.push({ rule: "width", target: "html", why: `${wide} px wide in a window of ${room}` });
    return out;
}
