// A house for the judges: one newsletter a language, a full day and a poor one, and their mails in files.
import { execFile, execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSocket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { crc32, deflateSync } from "node:zlib";

const here = "tests/mail/judges/";
const samples = readFileSync("src/morning/demo/articles.jsonl", "utf8");
const arabic = readFileSync(join(here, "articles-ar.jsonl"), "utf8");

/** The newsletters: a day with everything in it, in each language. */
export const titles = [
    { id: "matin-fr", name: "La Matinale", language: "fr", items: 10 },
    { id: "matin-en", name: "The Morning", language: "en", items: 10 },
    { id: "matin-ar", name: "الصباحية", language: "ar", items: 10 },
    { id: "pauvre-fr", name: "La Brève", language: "fr", items: 5, poor: true },
];

const words = {
    fr: {
        opening: "Bonjour. Le cacao monte, le Golfe parle, et il pleut à Abidjan.",
        signature: "Awa Diop",
        figure: { figure: "62 %", words: "de la récolte est déjà vendue.", source: "Coopératives unies", url: "https://coop.example/" },
        agenda: [{ when: "10:00", text: "Conseil des ministres à Dakar" }, "Ouverture du salon du livre de Tunis"],
        lighter: { title: "Un piano en mer", text: "Un chalutier l’a ramené au port : il jouait encore.", url: "https://mer.example/", source: "Le Large" },
        corrections: [{ date: "2026-11-22", text: "Le port était celui de Lomé, pas de Cotonou." }],
    },
    en: {
        opening: "Good morning. Cocoa is up, the Gulf is talking, and Abidjan has rain.",
        signature: "Kofi Mensah",
        figure: { figure: "62%", words: "of the harvest is sold already.", source: "Cooperatives united" },
        agenda: ["10:00 Cabinet meets in Accra", "The Tunis book fair opens"],
        lighter: "A trawler came home with a grand piano; it could still be played.",
        corrections: ["Yesterday’s port was Lomé, not Cotonou."],
    },
    ar: {
        opening: "صباح الخير. الكاكاو يرتفع والمطر يهطل في أبيدجان.",
        signature: "أمينة بنعلي",
        figure: { figure: "62 ٪", words: "من المحصول بيع بالفعل بحسب التعاونيات." },
        agenda: ["10:00 مجلس الوزراء في الرباط", "افتتاح معرض الكتاب في تونس"],
        lighter: "عاد قارب صيد إلى الميناء وعلى متنه بيانو كبير ما زال يعزف.",
        corrections: ["كان ميناء الأمس ميناء لومي لا كوتونو."],
    },
};
const sponsor = { name: "Example Coffee", text: "Coffee from the hills of Man.", url: "https://coffee.example/" };

const alternatives = {
    fr: "Le soleil se lève sur le port", en: "The sun rises over the port", ar: "الشمس تشرق فوق الميناء",
};

/** A sunrise as a PNG, larger than any mail. */
function sunrise() {
    const [width, height] = [1600, 900];
    const rows = Buffer.alloc(height * (width * 3 + 1));
    for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
            const sun = Math.hypot(x - 800, y - 620) < 150 && y < 640;
            const sky = y / 640;
            const colour = y >= 640 ? [40 + ((x * y) % 13), 60, 80] : sun ? [255, 214, 140] : [70 + 170 * sky, 90 + 80 * sky, 140 - 30 * sky];
            rows.set(colour.map(Math.round), y * (width * 3 + 1) + 1 + x * 3);
        }
    }
    const chunk = (type, data) => {
        const body = Buffer.concat([Buffer.from(type), data]);
        const out = Buffer.alloc(body.length + 8);
        out.writeUInt32BE(data.length, 0);
        body.copy(out, 4);
        out.writeUInt32BE(crc32(body) >>> 0, body.length + 4);
        return out;
    };
    const header = Buffer.alloc(13);
    header.writeUInt32BE(width, 0);
    header.writeUInt32BE(height, 4);
    header.set([8, 2, 0, 0, 0], 8);
    return Buffer.concat([
        Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
        chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0)),
    ]);
}

/** A port that nobody listens on just now. */
async function freePort() {
    const socket = createSocket();
    await new Promise((done) => socket.listen(0, "127.0.0.1", done));
    const { port } = socket.address();
    await new Promise((done) => socket.close(done));
    return port;
}

/** Makes the house in this folder; gives a function that runs matinale there. */
export async function build(folder) {
    const picture = sunrise();
    const pictures = createServer((_, answer) => answer.writeHead(200, { "content-type": "image/png" }).end(picture));
    await new Promise((done) => pictures.listen(0, "127.0.0.1", done));
    const listen = `127.0.0.1:${await freePort()}`;
    mkdirSync(folder, { recursive: true });
    execFileSync("openssl", ["genrsa", "-out", join(folder, "dkim.pem"), "2048"], { stdio: "ignore" });
    execFileSync("chmod", ["600", join(folder, "dkim.pem")]);
    writeFileSync(join(folder, "secret.key"), "MATINALEJUDGESMATINALEJUDGESMATINALEJUDGESMATINALE22\n", { mode: 0o600 });
    const newsletter = ({ id, name, language, items }) => `
[newsletter.${id}]
name = "${name}"
language = "${language}"
from = "${name} <matinale@news.example>"
reply_to = "redaction@news.example"
lock = "0 0 4 * * *"
timezone = "Africa/Abidjan"
send_at = "06:30"
relays = ["main"]
check_links = false
items = ${items}
promise = "${name}: 10."
publisher = "Example Press, 1 rue du Port, Dakar"
languages = ["${language}"]
translations = [${titles.filter((other) => other.language !== language).map((other) => `"${other.id}"`).join(", ")}]
`;
    writeFileSync(join(folder, "matinale.toml"), `
[database]
url = "sqlite:judges.db"
[web]
listen = "${listen}"
public_url = "https://news.example"
[fetch]
private_addresses = true
[keys]
secret_file = "secret.key"
[relay.main]
url = "smtp://127.0.0.1:9"
[dkim."news.example"]
selector = "judges"
key_file = "dkim.pem"
${titles.map(newsletter).join("")}`);
    const config = ["--config", join(folder, "matinale.toml")];
    const matinale = async (...args) =>
        (await promisify(execFile)(process.env.MATINALE, [...config, ...args], { maxBuffer: 1 << 24, encoding: "utf8" })).stdout;
    // Yesterday's lock is over whatever the hour is now: nothing sampled lies in the future.
    const lock = new Date(Date.now() - 86_400_000);
    lock.setUTCHours(4, 0, 0, 0);
    const lines = (samples + arabic).trim().split("\n").map((line) => {
        const { hours_before_lock: hours, ...article } = JSON.parse(line);
        article.published_at = new Date(lock.getTime() - hours * 3_600_000).toISOString();
        article.image_url = `http://127.0.0.1:${pictures.address().port}/sunrise.png`;
        article.image_alt = alternatives[article.language];
        article.image_credit = "Example Press";
        return JSON.stringify(article);
    });
    writeFileSync(join(folder, "articles.jsonl"), lines.join("\n"));
    await matinale("article", "import", join(folder, "articles.jsonl"));
    const date = lock.toISOString().slice(0, 10);
    for (const title of titles) {
        await matinale("edition", "build", title.id, "--date", date);
        if (title.poor) continue;
        const document = { ...words[title.language], sponsor };
        writeFileSync(join(folder, "document.json"), JSON.stringify(document));
        await matinale("edition", "edit", title.id, "--date", date, "--file", join(folder, "document.json"));
    }
    return { matinale, date, listen, config, close: () => pictures.close() };
}

/** Locks and sends every edition, to nobody, and serves the pages; gives what ends that. */
export async function serve({ matinale, date, listen, config }) {
    for (const { id } of titles) {
        await matinale("edition", "send", id, "--date", date, "--now", "--late");
    }
    const daemon = spawn(process.env.MATINALE, [...config, "serve", "--only", "web"], { stdio: "ignore" });
    for (let tries = 0; ; tries++) {
        try {
            await fetch(`http://${listen}/readyz`);
            return () => daemon.kill();
        } catch (error) {
            if (tries > 100) throw error;
            await new Promise((done) => setTimeout(done, 100));
        }
    }
}

/** The pages that mails lead to: goodbye and preferences of one reader a language, and what there is not. */
export async function readersPages(folder, { matinale, date }) {
    const readers = titles.filter(({ poor }) => !poor);
    const lines = readers.map(({ id, language }) => `${language}@readers.example,${language},${id},2026-01-05T08:00:00Z,the form`);
    writeFileSync(join(folder, "readers.csv"), ["email,language,newsletters,consented_at,consent_source", ...lines].join("\n"));
    await matinale("subscriber", "import", join(folder, "readers.csv"));
    const out = [["lost-en", "/archive/nothing?lang=en", 404]];
    for (const { id, language } of readers) {
        const eml = await matinale("edition", "preview", id, "--date", date, "--eml", "--as", `${language}@readers.example`);
        const [, token] = eml.match(/^List-Unsubscribe: <https:\/\/news\.example\/u\/(\w+)>/m);
        out.push([`goodbye-${language}`, `/u/${token}`], [`preferences-${language}`, `/p/${token}`]);
    }
    return out;
}

/** The mail of every newsletter: HTML, and the file of the wire's bytes. */
export async function mails(folder, { matinale, date }) {
    const out = [];
    for (const { id, language } of titles) {
        const preview = (part) => matinale("edition", "preview", id, "--date", date, part);
        const eml = join(folder, `${id}.eml`);
        writeFileSync(eml, await preview("--eml"), "latin1");
        out.push({ name: id, language, html: await preview("--html"), eml });
    }
    return out;
}
