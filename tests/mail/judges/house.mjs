// A house for the judges: one newsletter a language, a full day and a poor one, and their mails in files.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

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
        figure: { figure: "62 %", words: "de la récolte est déjà vendue, selon les coopératives." },
        agenda: ["10:00 Conseil des ministres à Dakar", "Ouverture du salon du livre de Tunis"],
        lighter: "Un chalutier rentre au port avec un piano à queue : il jouait encore.",
        corrections: ["Le port d’hier était celui de Lomé, pas de Cotonou."],
    },
    en: {
        opening: "Good morning. Cocoa is up, the Gulf is talking, and Abidjan has rain.",
        signature: "Kofi Mensah",
        figure: { figure: "62%", words: "of the harvest is sold already, the cooperatives say." },
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

/** Makes the house in this folder; gives a function that runs matinale there. */
export function build(folder, listen) {
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
items = ${items}
promise = "${name}: 10."
publisher = "Example Press, 1 rue du Port, Dakar"
languages = ["${language}"]
`;
    writeFileSync(join(folder, "matinale.toml"), `
[database]
url = "sqlite:judges.db"
[web]
listen = "${listen}"
public_url = "https://news.example"
[keys]
secret_file = "secret.key"
[relay.main]
url = "smtp://127.0.0.1:9"
[dkim."news.example"]
selector = "judges"
key_file = "dkim.pem"
${titles.map(newsletter).join("")}`);
    const matinale = (...args) =>
        execFileSync(process.env.MATINALE, ["--config", join(folder, "matinale.toml"), ...args], {
            encoding: "utf8",
            stdio: ["ignore", "pipe", "pipe"],
        });
    // Yesterday's lock is over whatever the hour is now: nothing sampled lies in the future.
    const lock = new Date(Date.now() - 86_400_000);
    lock.setUTCHours(4, 0, 0, 0);
    const lines = (samples + arabic).trim().split("\n").map((line) => {
        const { hours_before_lock: hours, ...article } = JSON.parse(line);
        article.published_at = new Date(lock.getTime() - hours * 3_600_000).toISOString();
        return JSON.stringify(article);
    });
    writeFileSync(join(folder, "articles.jsonl"), lines.join("\n"));
    matinale("article", "import", join(folder, "articles.jsonl"));
    const date = lock.toISOString().slice(0, 10);
    for (const title of titles) {
        matinale("edition", "build", title.id, "--date", date);
        if (title.poor) continue;
        const document = { ...words[title.language], sponsor };
        writeFileSync(join(folder, "document.json"), JSON.stringify(document));
        matinale("edition", "edit", title.id, "--date", date, "--file", join(folder, "document.json"));
    }
    return { matinale, date };
}

/** The mail of every newsletter: HTML, and the file of the wire's bytes. */
export function mails(folder, { matinale, date }) {
    return titles.map(({ id, language }) => {
        const preview = (part) => matinale("edition", "preview", id, "--date", date, part);
        const eml = join(folder, `${id}.eml`);
        writeFileSync(eml, preview("--eml"), "latin1");
        return { name: id, language, html: preview("--html"), eml };
    });
}
