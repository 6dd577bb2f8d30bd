// Every judge over every sample mail. Prints what each found, and ends with one line that counts.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HtmlValidate } from "html-validate";
import { caniemail } from "caniemail";
import { Browser } from "./browser.mjs";
import { build, mails, readersPages, serve, titles } from "./house.mjs";

const here = "tests/mail/judges/";
const findings = [];
const found = (judge, where, what) => findings.push(`${judge}: ${where}: ${what}`);

/** Structure and semantics of the HTML. What mail must do otherwise than a page is said in htmlvalidate.json. */
async function htmlValidate(name, html, config) {
    const report = await new HtmlValidate(config).validateString(html);
    for (const message of report.results.flatMap((result) => result.messages)) {
        found("html-validate", `${name}:${message.line}`, `${message.ruleId}: ${message.message}`);
    }
}

/** What the client matrix knows: unsupported is a finding unless exceptions.json has reviewed it. */
function clients(name, html, exceptions, used) {
    const globs = ["gmail.*", "outlook.*", "apple-mail.*", "yahoo.*", "orange.*", "samsung-email.*", "thunderbird.macos"];
    const { issues } = caniemail({ clients: globs, html });
    for (const [kind, byClient] of [["unsupported", issues.errors], ["partly supported", issues.warnings]]) {
        for (const [client, list] of byClient ?? []) {
            for (const { title, notes } of list) {
                const reviewed = exceptions.find((entry) =>
                    entry.feature === title && entry.clients.some((glob) => glob === "*" || client.startsWith(glob)));
                if (reviewed) used.add(reviewed);
                else found("caniemail", name, `${title} is ${kind} in ${client}${notes.length ? ` (${notes[0]})` : ""}`);
            }
        }
    }
}

/** The local rules of SpamAssassin: no network, no database. */
function spam(name, eml, home) {
    let told;
    try {
        told = execFileSync("spamassassin", ["-L", "-t"], {
            input: readFileSync(eml), encoding: "utf8", env: { ...process.env, HOME: home }, stdio: ["pipe", "pipe", "ignore"],
        });
    } catch (error) {
        return found("SpamAssassin", name, String(error.message));
    }
    const [, score] = told.match(/^X-Spam-Status:.*?score=(-?[\d.]+)/ms) ?? [];
    if (score === undefined) return found("SpamAssassin", name, "gave no score");
    console.log(`SpamAssassin: ${name}: ${score}`);
    if (Number(score) >= 1) found("SpamAssassin", name, `scores ${score}: ${told.match(/tests=([^\n]*(\n\t[^\n]*)*)/)?.[1]}`);
}

/** OpenDKIM, with the public half of the house's key in the place of the DNS. */
function dkim(name, eml, folder) {
    const der = execFileSync("openssl", ["rsa", "-in", join(folder, "dkim.pem"), "-pubout", "-outform", "DER"], { stdio: ["ignore", "pipe", "ignore"] });
    writeFileSync(join(folder, "keys"), `judges._domainkey.news.example v=DKIM1; k=rsa; p=${der.toString("base64")}\n`);
    writeFileSync(join(folder, "opendkim.conf"), `Mode v\nTestPublicKeys ${join(folder, "keys")}\n`);
    let told;
    try {
        told = execFileSync("/usr/sbin/opendkim", ["-x", join(folder, "opendkim.conf"), "-v", "-t", eml], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    } catch (error) {
        told = `${error.stdout}${error.stderr}`;
    }
    if (!/verification \(s=judges, d=news\.example, 2048-bit key\) succeeded/.test(told)) {
        found("OpenDKIM", name, told.trim());
    } else {
        console.log(`OpenDKIM: ${name}: verified`);
    }
}

const folder = mkdtempSync(join(tmpdir(), "matinale-judges-"));
const browser = await Browser.open();
let house;
let end = () => {};
try {
    house = await build(folder);
    const config = JSON.parse(readFileSync(join(here, "htmlvalidate.json"), "utf8"));
    const exceptions = JSON.parse(readFileSync(join(here, "exceptions.json"), "utf8"));
    const used = new Set();
    const all = await mails(folder, house);
    for (const { name, html, eml } of all) {
        await htmlValidate(name, html, config.mail);
        clients(name, html, exceptions, used);
        spam(name, eml, folder);
        dkim(name, eml, folder);
        for (const { variant, violations } of await browser.mail(html)) {
            for (const { rule, target, why } of violations) found("axe", `${name}, ${variant}`, `${rule} at ${target}: ${why}`);
        }
    }
    // The days that are kept as they were last looked at, the ugly one among them.
    const golden = "tests/golden/mail/";
    for (const file of readdirSync(golden).filter((file) => file.endsWith(".html.snap"))) {
        const name = file.replace(".html.snap", "");
        const html = readFileSync(join(golden, file), "utf8").replace(/^---\n.*?\n---\n/s, "");
        await htmlValidate(name, html, config.mail);
        clients(name, html, exceptions, used);
        for (const { variant, violations } of await browser.mail(html)) {
            for (const { rule, target, why } of violations) found("axe", `${name}, ${variant}`, `${rule} at ${target}: ${why}`);
        }
        all.push({ name, html });
    }
    for (const entry of exceptions.filter((entry) => !used.has(entry))) {
        found("exceptions.json", entry.feature, "nothing needs this exception any more");
    }
    end = await serve(house);
    const paths = titles.flatMap(({ id }) => [[`archive-${id}`, `/archive/${id}`], [`edition-${id}`, `/archive/${id}/${house.date}`]]);
    // The same page for somebody who reads another language.
    paths.push(["edition-matin-fr-in-ar", `/archive/matin-fr/${house.date}?lang=ar`], ["archive-matin-ar-in-en", "/archive/matin-ar?lang=en"]);
    paths.push(...(await readersPages(folder, house)));
    for (const [name, path, expected = 200] of paths) {
        const answer = await fetch(`http://${house.listen}${path}`);
        const html = await answer.text();
        if (answer.status !== expected) found("page", path, `answers ${answer.status}`);
        if (html.length > 60 * 1024) found("page", path, `weighs ${html.length} bytes`);
        await htmlValidate(name, html, config.page);
        for (const { variant, violations } of await browser.site(house, path)) {
            for (const { rule, target, why } of violations) found("axe", `${name}, ${variant}`, `${rule} at ${target}: ${why}`);
        }
    }
    if (process.env.SHOTS) {
        mkdirSync(process.env.SHOTS, { recursive: true });
        // Pictures that could not be taken are no finding, and hide none.
        await browser.shots(process.env.SHOTS, house, all, paths).catch((error) => console.log(`pictures: ${error.message}`));
    }
} finally {
    end();
    house?.close();
    await browser.close();
    if (process.env.KEEP) console.log(`kept: ${folder}`);
    else rmSync(folder, { recursive: true });
}
console.log(findings.join("\n"));
console.log(`\n${findings.length} findings`);
process.exitCode = findings.length === 0 ? 0 : 1;
