//! Which countries an article is about, from the names in it: of countries, capitals, peoples and leaders, in French,
//! English, Arabic and Portuguese, by the table `data/places.txt`.
//!
//! Surer than complete: a wrong country above a headline is worse than none. The longest name wins (Guinée-Bissau is
//! no Guinée, a Nigerian no Nigérien, the Gulf of Guinea no country at all); a name that several bear (Congo) counts
//! for the one that the text names otherwise, or for none.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use super::text::fold;
use crate::articles::Article;

/// What naming a country outright weighs.
const NAME: usize = 4;
/// What its towns and leaders weigh.
const SIGN: usize = 3;
/// What its people weigh: "under Angolan control" tells who, not where.
const PEOPLE: usize = 2;
/// The title says what it is about.
const TITLE: usize = 3;
/// So much of an article without standfirst is looked at.
pub(super) const LEAD: usize = 600;
/// At most so many countries.
const MOST: usize = 3;
/// How many letters an ending may have.
const ENDING: usize = 3;
/// Before a name these say that a place is meant.
const IN: [&str; 9] = ["in", "en", "au", "aux", "em", "no", "na", "في", "to"];
/// What Arabic writes together with a noun.
const GROWN: [&str; 14] =
    ["ولل", "وبال", "وال", "بال", "فال", "كال", "لل", "ال", "وب", "ول", "و", "ب", "ل", "ف"];
const ARABIC_ENDINGS: [&str; 9] = ["", "ه", "ا", "ون", "ين", "ات", "ان", "تان", "تين"];

/// One word of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Any,
    Capital,
    Capitals,
}

#[derive(Clone, Debug)]
enum Means {
    /// A country.
    One(&'static str),
    /// One of several; the one it is otherwise, if any.
    Several(Vec<&'static str>, Option<&'static str>),
    /// None.
    Nothing,
}

#[derive(Clone, Debug)]
struct Entry {
    words: Vec<(String, Case)>,
    /// The last word may have an ending.
    open: bool,
    /// It means other things too.
    weak: bool,
    weight: usize,
    means: Means,
}

struct Table {
    /// By first word; those whose only word may have an ending, by their stem.
    entries: HashMap<String, Vec<Entry>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("data/places.txt")));

impl Table {
    fn read(text: &'static str) -> Self {
        let mut entries: HashMap<String, Vec<Entry>> = HashMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            let mut fields = line.split('|').map(str::trim);
            let head = fields.next().unwrap_or_default();
            let means = match head.split_once(' ') {
                None if head == "-" => Means::Nothing,
                Some((_, codes)) if head.starts_with('?') => Means::Several(
                    codes.split(' ').map(|code| code.trim_end_matches('=')).collect(),
                    codes.split(' ').find_map(|code| code.strip_suffix('=')),
                ),
                _ => Means::One(head),
            };
            for (at, field) in fields.enumerate() {
                let weight = [NAME, SIGN, PEOPLE, SIGN][at.min(3)];
                for name in field.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                    let (weak, name) = name.strip_prefix('~').map_or((false, name), |name| (true, name));
                    let (open, name) = name.strip_suffix('*').map_or((false, name), |name| (true, name));
                    // What is no country is none in small letters either.
                    let case = |case| if matches!(means, Means::Nothing) { Case::Any } else { case };
                    let words: Vec<(String, Case)> =
                        words(name).into_iter().map(|word| (word.folded, case(word.case))).collect();
                    let Some((first, _)) = words.first() else { continue };
                    let first = first.clone();
                    // Peoples in Arabic end as the grammar has it.
                    let open = open || (at == 2 && is_arabic(name));
                    let entry = Entry { words, open, weak, weight, means: means.clone() };
                    entries.entry(first).or_default().push(entry);
                }
            }
        }
        // The longest first.
        for list in entries.values_mut() {
            list.sort_by_key(|entry| std::cmp::Reverse(entry.words.len()));
        }
        Self { entries }
    }

    /// The entry that fits best from this word on, and how many words it takes.
    fn find(&self, words: &[Word]) -> Option<&Entry> {
        let first = words.first()?;
        let mut best: Option<(&Entry, (usize, usize))> = None;
        for form in first.forms() {
            let whole = form.chars().count();
            for stem in (whole.saturating_sub(ENDING)..=whole).rev().filter_map(|length| cut(form, length)) {
                for entry in self.entries.get(stem).into_iter().flatten() {
                    let rank = (entry.words.len(), stem.len());
                    if entry.fits(words, form) && best.is_none_or(|(_, known)| rank > known) {
                        best = Some((entry, rank));
                    }
                }
            }
        }
        best.map(|(entry, _)| entry)
    }
}

impl Entry {
    /// Whether the words are these; `first` is the form of the first one that was looked up.
    fn fits(&self, words: &[Word], first: &str) -> bool {
        let last = self.words.len() - 1;
        self.words.iter().enumerate().all(|(at, (wanted, case))| {
            let Some(word) = words.get(at) else { return false };
            let case = match case {
                Case::Any => true,
                Case::Capital => word.case != Case::Any,
                Case::Capitals => word.case == Case::Capitals,
            };
            let same = |form: &str| {
                form.strip_prefix(wanted.as_str())
                    .is_some_and(|ending| ending.is_empty() || (self.open && at == last && is_ending(ending)))
            };
            case && if at == 0 { same(first) } else { word.forms().any(same) }
        })
    }
}

fn is_ending(ending: &str) -> bool {
    if is_arabic(ending) { ARABIC_ENDINGS.contains(&ending) } else { ending.chars().count() <= ENDING }
}

fn cut(text: &str, length: usize) -> Option<&str> {
    let end = text.char_indices().nth(length).map_or(text.len(), |(at, _)| at);
    text.get(..end).filter(|text| !text.is_empty())
}

struct Word {
    folded: String,
    case: Case,
}

impl Word {
    /// The word as it is, and without what Arabic wrote onto it.
    fn forms(&self) -> impl Iterator<Item = &str> {
        let bare = GROWN
            .iter()
            .filter_map(|grown| self.folded.strip_prefix(grown))
            .filter(|rest| rest.chars().count() >= 3);
        std::iter::once(self.folded.as_str()).chain(bare)
    }
}

fn is_arabic(text: &str) -> bool {
    text.chars().any(|c| ('\u{600}'..='\u{6ff}').contains(&c))
}

/// The words of a text, apostrophes and hyphens parting them.
fn words(text: &str) -> Vec<Word> {
    text.split(|c: char| {
        !(c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c) || c == '\u{640}')
    })
    .filter(|word| !word.is_empty())
    .map(|word| {
        let mut letters = word.chars().filter(|c| c.is_alphabetic());
        let case = match letters.next() {
            // Arabic has no capitals: an entry in it asks for none.
            Some(first) if first.is_uppercase() => {
                if letters.all(char::is_uppercase) {
                    Case::Capitals
                } else {
                    Case::Capital
                }
            }
            _ => Case::Any,
        };
        Word { folded: fold(word), case }
    })
    .collect()
}

/// What speaks for a country.
#[derive(Clone, Copy, Debug, Default)]
struct Evidence {
    points: usize,
    /// Whether something sure was among it.
    sure: bool,
    titled: bool,
    first: usize,
}

/// The countries that a title and a lead are about, the surest first, by ISO 3166 alpha-2; at most three.
pub fn countries(title: &str, lead: &str) -> Vec<String> {
    let mut found: BTreeMap<&'static str, Evidence> = BTreeMap::new();
    let mut several: Vec<(&Entry, bool, usize)> = Vec::new();
    let mut place = 0;
    for (text, titled) in [(title, true), (lead, false)] {
        let words = words(text);
        let mut at = 0;
        while at < words.len() {
            let Some(entry) = TABLE.find(&words[at..]) else {
                at += 1;
                continue;
            };
            match &entry.means {
                Means::One(code) => {
                    let told = at > 0 && IN.contains(&words[at - 1].folded.as_str());
                    let sure = !entry.weak || (entry.weight == NAME && told);
                    add(&mut found, code, entry.weight, sure, titled, place + at);
                }
                Means::Several(..) => several.push((entry, titled, place + at)),
                Means::Nothing => {}
            }
            at += entry.words.len();
        }
        place += words.len();
    }
    found.retain(|_, evidence| evidence.sure);
    for (entry, titled, at) in several {
        let Means::Several(codes, otherwise) = &entry.means else { continue };
        let named: Vec<&'static str> =
            codes.iter().copied().filter(|code| found.contains_key(code)).collect();
        let code = match named.as_slice() {
            [] => *otherwise,
            [only] => Some(*only),
            _ => None,
        };
        if let Some(code) = code {
            add(&mut found, code, entry.weight, true, titled, at);
        }
    }
    // Two that share a name and stand side by side (Kinshasa and Brazzaville) are both meant by their own signs.
    let any_titled = found.values().any(|evidence| evidence.titled);
    let mut out: Vec<(&'static str, Evidence)> =
        found.into_iter().filter(|(_, evidence)| evidence.titled || !any_titled).collect();
    out.sort_by_key(|(_, evidence)| (std::cmp::Reverse(evidence.points), evidence.first));
    if !any_titled {
        // Only the lead names any: one of them must stand out.
        match out.as_slice() {
            [(_, best), (_, next), ..] if best.points <= next.points => return Vec::new(),
            _ => out.truncate(1),
        }
    }
    out.truncate(MOST);
    out.into_iter().map(|(code, _)| code.to_owned()).collect()
}

fn add(
    found: &mut BTreeMap<&'static str, Evidence>,
    code: &'static str,
    weight: usize,
    sure: bool,
    titled: bool,
    at: usize,
) {
    let evidence = found.entry(code).or_insert(Evidence { first: at, ..Evidence::default() });
    evidence.points += if titled { weight * TITLE } else { weight };
    evidence.sure |= sure;
    evidence.titled |= titled && sure;
}

/// Gives an article that brought no countries those that its title and lead name.
pub fn complete(article: &mut Article) {
    if article.countries.is_empty() {
        let lead = if article.summary.is_empty() { &article.body } else { &article.summary };
        let end = lead.char_indices().nth(LEAD).map_or(lead.len(), |(at, _)| at);
        article.countries = countries(&article.title, &lead[..end]);
    }
}

/// Every country code of the table.
pub fn codes() -> Vec<&'static str> {
    let mut out: Vec<&str> = include_str!("data/places.txt")
        .lines()
        .filter_map(|line| line.split_once(" |").map(|(code, _)| code))
        .filter(|code| code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase()))
        .collect();
    out.sort_unstable();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(title: &str) -> String {
        countries(title, "").join(" ")
    }

    #[test]
    fn a_leader_a_capital_or_a_people_names_the_country() {
        for (title, expected) in [
            ("Haftar refuse de rendre les ports", "LY"),
            ("حفتر يرفض تسليم الموانئ", "LY"),
            ("Ouagadougou rappelle son ambassadeur", "BF"),
            ("L’armée malienne annonce la reprise de Kidal", "ML"),
            ("Nigerian lawmakers pass the budget", "NG"),
            ("Presidente angolano visita o Huambo", "AO"),
            ("الجيش السوداني يستعيد القصر", "SD"),
            ("انتخابات في ليبيا وتونس", "LY TN"),
            ("وللسودانيين حق العودة", "SD"),
            ("Afrique du Sud : la coalition tient", "ZA"),
            ("Goma : un échange sous contrôle angolais", "CD AO"),
            ("Une journaliste de France 24 agressée au Caire", "EG"),
            ("Cap-Vert : une île sans pétrole", "CV"),
            ("Côte d’Ivoire : le cacao s’envole", "CI"),
            ("N’Djamena rouvre deux couloirs", "TD"),
            ("Trump impose des droits de douane au Lesotho", "LS US"),
        ] {
            assert_eq!(of(title), expected, "{title}");
        }
    }

    #[test]
    fn names_that_look_alike_are_kept_apart() {
        for (title, expected) in [
            ("Niger : le général Tiani prête serment", "NE"),
            ("Nigeria : la police libère les otages", "NG"),
            ("Un soldat nigérien tué", "NE"),
            ("Un soldat nigérian tué", "NG"),
            ("نيجيريا تفرج عن الرهائن", "NG"),
            ("النيجر يعلن الحداد", "NE"),
            ("Marée noire dans le delta du Niger", ""),
            ("Guinée : Doumbouya candidat", "GN"),
            ("Guinée équatoriale : Obiang réélu", "GQ"),
            ("Guinée-Bissau : coup de feu à Bissau", "GW"),
            ("Guiné-Bissau: governo guineense demite-se", "GW"),
            ("Un opposant équato-guinéen arrêté à Malabo", "GQ"),
            ("L’opposition guinéenne boycotte", "GN"),
            ("Piraterie dans le golfe de Guinée", ""),
            ("Papouasie-Nouvelle-Guinée : un glissement de terrain", ""),
            ("غينيا الاستوائية تنتخب", "GQ"),
            ("RDC : le M23 avance", "CD"),
            ("DR Congo and Rwanda sign", "CD RW"),
            ("Congo-Brazzaville : Sassou réélu", "CG"),
            ("République du Congo : un budget", "CG"),
            ("République démocratique du Congo : un budget", "CD"),
            ("Le Congo vote le budget", ""),
            ("Le bassin du Congo perd ses arbres", ""),
            ("Congo : Goma sans électricité", "CD"),
            ("L’armée congolaise recule", ""),
            ("L’armée congolaise recule près de Goma", "CD"),
            ("Soudan du Sud : Juba sous tension", "SS"),
            ("South Sudanese refugees return", "SS"),
            ("جنوب السودان يوقع", "SS"),
            ("Georgia votes for a new governor", ""),
            ("Corée du Nord : un tir", ""),
            ("Saint-Maurice fête ses écoles", ""),
            ("L’île Maurice ferme ses ports", "MU"),
            ("دعم مالي جديد للمزارعين", ""),
            ("انقلاب في مالي", "ML"),
            ("Jordan Ayew marque deux fois", ""),
            ("Chad Smith signe un disque", ""),
            ("Floods in Chad", "TD"),
            ("Le cap des mille morts est franchi", ""),
            ("Join us in Benin City", "NG"),
            ("They told us to wait", ""),
            ("Haftar reçu à Paris", "LY"),
            ("L’Union africaine se réunit à Addis-Abeba", ""),
            ("Un atelier en français", ""),
        ] {
            assert_eq!(of(title), expected, "{title}");
        }
    }

    #[test]
    fn the_lead_speaks_where_the_title_names_nobody_and_one_stands_out() {
        assert_eq!(countries("Le prix garanti s’envole", "Les planteurs d’Abidjan et de Daloa."), ["CI"]);
        assert_eq!(countries("Le sommet s’ouvre", "Le Bénin et le Togo y sont."), [""; 0]);
        assert_eq!(countries("Bénin : le sommet s’ouvre", "Le Togo, le Ghana et le Niger y sont."), ["BJ"]);
    }

    #[test]
    fn the_table_names_each_country_once_and_all_of_africa() {
        let codes = codes();
        let mut once = codes.clone();
        once.dedup();
        assert_eq!(codes, once);
        let africa = "DZ AO BJ BW BF BI CV CM CF TD KM CG CD CI DJ EG GQ ER SZ ET GA GM GH GN GW KE LS LR LY MG MW ML MR \
            MU MA MZ NA NE NG RW ST SN SC SL SO ZA SS SD TZ TG TN UG ZM ZW EH";
        for code in africa.split_whitespace() {
            assert!(codes.contains(&code), "{code}");
        }
    }
}
