//! Three days in three languages: one with everything in it, one with little, one with everything that goes wrong.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use matinale::config::theme::{Social, Theme};
use matinale::mail::content::{
    Appointment, Content, Correction, Figure, Image, Item, Lighter, Newsletter, Opening, Sponsor, Translation,
};
use matinale::mail::dkim::Signer;

/// The languages of the samples.
pub const LANGUAGES: [&str; 3] = ["fr", "en", "ar"];

/// Country, section, source, title, text.
type Line = (&'static str, &'static str, &'static str, &'static str, &'static str);

struct Words {
    name: &'static str,
    promise: &'static str,
    publisher: &'static str,
    opening: &'static str,
    signature: &'static str,
    alt: &'static str,
    figure: (&'static str, &'static str, &'static str),
    agenda: [(&'static str, &'static str); 2],
    lighter: (&'static str, &'static str),
    sponsor: (&'static str, &'static str, &'static str),
    correction: &'static str,
    footer: &'static str,
    lines: [Line; 10],
}

const FRENCH: Words = Words {
    name: "La Matinale",
    promise: "Chaque matin, dix informations pour comprendre la journée.",
    publisher: "Presse d’Exemple, 1 rue du Port, Dakar",
    opening: "Bonjour. Le cacao monte, le fleuve aussi ; ce matin on compte les deux. Bonne lecture !",
    signature: "Awa Diop",
    alt: "Des sacs de cacao sur un quai, à l’aube",
    figure: (
        "62 %",
        "de la récolte a déjà trouvé preneur, dix semaines avant la fin de la campagne.",
        "Le Courrier du Port",
    ),
    agenda: [("10:00", "Conseil des ministres à Dakar."), ("", "Ouverture du salon du livre de Tunis.")],
    lighter: (
        "Le piano du chalutier",
        "Un équipage rentre à Mindelo avec un piano à queue repêché au large : trois touches jouent encore, et le capitaine cherche un accordeur.",
    ),
    sponsor: (
        "Café des Collines",
        "Un café torréfié à Man, livré en deux jours dans toute la région.",
        "Découvrir le café des Collines",
    ),
    correction: "Le navire attendu hier entrait au port de Lomé, et non à celui de Cotonou.",
    footer: "La Matinale est gratuite, et le restera.",
    lines: [
        (
            "CI",
            "économie",
            "Le Courrier du Port",
            "Cacao : les planteurs ivoiriens gagnent un prix jamais vu",
            "Le prix payé au bord du champ passe ce matin à 2 200 francs le kilo, un tiers de plus qu’il y a un an. Les coopératives l’attendaient depuis les pluies de septembre, qui ont noyé une partie des jeunes fèves. Le relèvement tient les camions à l’intérieur des frontières, où la contrebande en détournait un sur dix. Reste à savoir qui paiera : les broyeurs annoncent déjà des étiquettes plus hautes pour les fêtes.",
        ),
        (
            "SN",
            "politique",
            "La Gazette du Fleuve",
            "À Dakar, les députés veulent publier leurs votes",
            "Une proposition de loi déposée hier soir demande que chaque scrutin soit nominal et mis en ligne sous vingt-quatre heures. La majorité se dit favorable, à condition que les commissions restent à huis clos.",
        ),
        (
            "MA",
            "énergie",
            "Atlas Matin",
            "Le Maroc stocke la chaleur du soleil pour la nuit",
            "La centrale d’essai de Midelt a fourni de l’électricité jusqu’à quatre heures du matin, grâce à des cuves de sel fondu. L’exploitant promet un tarif de nuit avant l’été, sans dire lequel.",
        ),
        (
            "CD",
            "santé",
            "Kivu Info",
            "Goma ouvre trois centres contre le choléra",
            "Les autorités comptent cent quarante malades depuis lundi, presque tous dans les quartiers privés d’eau. Les équipes distribuent du chlore porte à porte et demandent des camions-citernes.",
        ),
        (
            "NG",
            "technologie",
            "Lagos Wire",
            "Le Nigeria paie ses fonctionnaires par téléphone",
            "Deux États commencent le mois prochain, avec quarante mille agents. Les syndicats craignent les pannes de réseau, le gouvernement y voit la fin des salaires fantômes.",
        ),
        (
            "MG",
            "climat",
            "Île Rouge",
            "Madagascar attend le premier cyclone de la saison",
            "La tempête devrait toucher la côte est jeudi, avec des vents de 150 km par heure. Les écoles de trois districts ferment dès demain et serviront d’abris.",
        ),
        (
            "TN",
            "culture",
            "Le Souk",
            "Tunis rouvre son plus vieux cinéma",
            "La salle, fermée pendant neuf ans, a retrouvé ses fauteuils rouges et son écran. Le premier film est muet, accompagné par un orchestre de lycéens.",
        ),
        (
            "GA",
            "transports",
            "Libreville Midi",
            "Le train de nuit repart à Franceville",
            "Un convoi par semaine, avec des couchettes et un wagon pour les motos.",
        ),
        (
            "ET",
            "sport",
            "Addis Courant",
            "Une lycéenne bat le record du marathon",
            "Elle courait sa deuxième course, et pensait s’être trompée de chemin.",
        ),
        (
            "ZA",
            "sciences",
            "Le Cap Nature",
            "Un lac salé livre des empreintes très anciennes",
            "Les marcheurs étaient quatre, dont un enfant qui sautait.",
        ),
    ],
};

const ENGLISH: Words = Words {
    name: "The Morning",
    promise: "Ten stories every morning, and the day makes sense.",
    publisher: "Example Press, 1 Harbour Street, Accra",
    opening: "Good morning. Cocoa is up and so is the river; today we count both. Enjoy your coffee!",
    signature: "Kofi Mensah",
    alt: "Sacks of cocoa on a quay at dawn",
    figure: (
        "62%",
        "of the harvest is sold already, ten weeks before the season ends.",
        "The Harbour Courier",
    ),
    agenda: [("10:00", "Cabinet meets in Accra."), ("", "The Tunis book fair opens.")],
    lighter: (
        "The trawler’s piano",
        "A crew came home to Mindelo with a grand piano fished out of the sea: three keys still play, and the captain is looking for a tuner.",
    ),
    sponsor: (
        "Hillside Coffee",
        "Coffee roasted in the hills of Man, at your door in two days.",
        "See Hillside Coffee’s roasts",
    ),
    correction: "The ship we expected yesterday was bound for Lomé, not for Cotonou.",
    footer: "The Morning is free, and will stay so.",
    lines: [
        (
            "CI",
            "economy",
            "The Harbour Courier",
            "Cocoa growers in Ivory Coast get a price never seen before",
            "From this morning a kilo earns 2,200 francs at the farm gate, a third more than a year ago. Cooperatives had waited for it since the rains of September, which drowned part of the young pods. The rise keeps lorries inside the border, where smugglers used to turn one in ten away. Who will pay is the open question: grinders already speak of dearer bars for the holidays.",
        ),
        (
            "SN",
            "politics",
            "River Gazette",
            "Dakar’s members of parliament want their votes published",
            "A bill tabled last night asks that every vote be taken by name and put online within a day. The majority is in favour, as long as committees stay behind closed doors.",
        ),
        (
            "MA",
            "energy",
            "Atlas Morning",
            "Morocco stores the sun’s heat for the night",
            "The trial plant at Midelt gave power until four in the morning, from tanks of molten salt. Its operator promises a night tariff before the summer, and does not say which.",
        ),
        (
            "CD",
            "health",
            "Kivu Info",
            "Goma opens three cholera centres",
            "Officials count a hundred and forty patients since Monday, nearly all in quarters without water. Teams hand out chlorine from door to door and ask for tankers.",
        ),
        (
            "NG",
            "technology",
            "Lagos Wire",
            "Nigeria pays its clerks by telephone",
            "Two states begin next month with forty thousand people. Unions fear network failures; the government sees the end of ghost wages.",
        ),
        (
            "MG",
            "climate",
            "Red Island",
            "Madagascar waits for the first cyclone of the season",
            "The storm should reach the east coast on Thursday with winds of 150 km an hour. Schools in three districts close tomorrow and will serve as shelters.",
        ),
        (
            "TN",
            "culture",
            "The Souk",
            "Tunis reopens its oldest cinema",
            "Closed for nine years, the house has its red seats and its screen back. The first film is silent, played to by an orchestra of pupils.",
        ),
        (
            "GA",
            "transport",
            "Libreville Noon",
            "The night train runs to Franceville again",
            "One a week, with berths and a wagon for motorbikes.",
        ),
        (
            "ET",
            "sport",
            "Addis Current",
            "A schoolgirl breaks the marathon record",
            "It was her second race, and she thought she had lost her way.",
        ),
        (
            "ZA",
            "science",
            "Cape Nature",
            "A salt lake gives up very old footprints",
            "There were four walkers, one of them a child who skipped.",
        ),
    ],
};

const ARABIC: Words = Words {
    name: "الصباحية",
    promise: "عشرة أخبار كل صباح لفهم اليوم.",
    publisher: "صحافة المثال، 1 شارع الميناء، الرباط",
    opening: "صباح الخير. الكاكاو يرتفع والنهر كذلك، وهذا الصباح نعدّ الاثنين. قراءة ممتعة!",
    signature: "أمينة بنعلي",
    alt: "أكياس كاكاو على رصيف عند الفجر",
    figure: ("62 ٪", "من المحصول بيع بالفعل قبل عشرة أسابيع من نهاية الموسم.", "بريد الميناء"),
    agenda: [("10:00", "مجلس الوزراء في الرباط."), ("", "افتتاح معرض الكتاب في تونس.")],
    lighter: (
        "بيانو الصيادين",
        "عاد طاقم إلى ميناء مينديلو ومعه بيانو كبير انتشله من البحر: ثلاثة مفاتيح ما زالت تعزف، والربان يبحث عن مصلّح.",
    ),
    sponsor: ("قهوة التلال", "قهوة محمصة في تلال مان تصلك خلال يومين.", "تعرّف على قهوة التلال"),
    correction: "كانت السفينة المنتظرة أمس متجهة إلى لومي لا إلى كوتونو.",
    footer: "الصباحية مجانية وستبقى كذلك.",
    lines: [
        (
            "CI",
            "اقتصاد",
            "بريد الميناء",
            "مزارعو الكاكاو في كوت ديفوار يحصلون على سعر غير مسبوق",
            "ارتفع سعر الكيلوغرام هذا الصباح إلى 2200 فرنك عند باب المزرعة، بزيادة الثلث عن العام الماضي. كانت التعاونيات تنتظر ذلك منذ أمطار سبتمبر التي أغرقت جزءًا من الثمار. تُبقي الزيادة الشاحنات داخل الحدود، بعد أن كان التهريب يحوّل واحدة من كل عشر. ويبقى السؤال عمن سيدفع: المطاحن تتحدث عن أسعار أعلى في الأعياد.",
        ),
        (
            "SN",
            "سياسة",
            "جريدة النهر",
            "نواب داكار يريدون نشر أصواتهم",
            "يطلب مقترح قانون قُدّم مساء أمس أن يكون كل تصويت بالاسم وأن ينشر خلال يوم واحد. تؤيد الأغلبية ذلك شرط أن تبقى اللجان مغلقة.",
        ),
        (
            "MA",
            "طاقة",
            "Atlas Matin",
            "المغرب يخزّن حرارة الشمس لليل",
            "وفّرت محطة Midelt التجريبية الكهرباء حتى الرابعة صباحًا بفضل خزانات الملح المنصهر. ويعد المشغل بتعرفة ليلية قبل الصيف.",
        ),
        (
            "CD",
            "صحة",
            "كيفو",
            "غوما تفتح ثلاثة مراكز ضد الكوليرا",
            "أحصت السلطات مئة وأربعين مريضًا منذ الاثنين، معظمهم في أحياء بلا ماء. توزع الفرق الكلور من باب إلى باب.",
        ),
        (
            "NG",
            "تقنية",
            "Lagos Wire",
            "نيجيريا تدفع رواتب موظفيها بالهاتف",
            "تبدأ ولايتان الشهر المقبل بأربعين ألف موظف. تخشى النقابات أعطال الشبكة، وترى الحكومة نهاية الرواتب الوهمية.",
        ),
        (
            "MG",
            "مناخ",
            "الجزيرة الحمراء",
            "مدغشقر تنتظر أول إعصار في الموسم",
            "ينتظر أن تبلغ العاصفة الساحل الشرقي يوم الخميس برياح سرعتها 150 كيلومترًا في الساعة. تغلق المدارس غدًا وتصبح ملاجئ.",
        ),
        (
            "TN",
            "ثقافة",
            "السوق",
            "تونس تعيد فتح أقدم دار سينما",
            "استعادت القاعة المغلقة منذ تسع سنوات مقاعدها الحمراء وشاشتها. أول فيلم صامت ترافقه فرقة من التلاميذ.",
        ),
        (
            "GA",
            "نقل",
            "ظهيرة ليبرفيل",
            "قطار الليل يعود إلى فرانسفيل",
            "رحلة واحدة في الأسبوع بأسرّة وعربة للدراجات.",
        ),
        ("ET", "رياضة", "أديس", "تلميذة تحطم رقم الماراثون", "كان سباقها الثاني، وظنت أنها ضلت الطريق."),
        ("ZA", "علوم", "طبيعة الكاب", "بحيرة ملحية تكشف آثار أقدام قديمة", "كانوا أربعة، بينهم طفل يقفز."),
    ],
};

fn words(language: &str) -> &'static Words {
    match language {
        "fr" => &FRENCH,
        "ar" => &ARABIC,
        _ => &ENGLISH,
    }
}

/// A day with everything in it.
pub fn full(language: &str) -> Content {
    let words = words(language);
    let items = words.lines.iter().zip(1..).map(|(line, position)| item(language, line, position)).collect();
    let theme = Theme {
        footer: Some(words.footer.to_owned()),
        social: vec![Social { name: "Mastodon".to_owned(), url: "https://social.example/@matin".to_owned() }],
        ..Theme::default()
    };
    let (value, text, source) = words.figure;
    let (title, lighter) = words.lighter;
    let (name, message, link) = words.sponsor;
    Content {
        opening: Some(Opening { text: words.opening.to_owned(), signature: words.signature.to_owned() }),
        items,
        figure: Some(Figure {
            value: value.to_owned(),
            text: text.to_owned(),
            source: Some(source.to_owned()),
            url: Some("https://port.example/recolte".to_owned()),
        }),
        agenda: words
            .agenda
            .iter()
            .map(|(when, text)| Appointment {
                when: Some((*when).to_owned()).filter(|when| !when.is_empty()),
                text: (*text).to_owned(),
            })
            .collect(),
        lighter: Some(Lighter {
            title: title.to_owned(),
            text: lighter.to_owned(),
            url: Some("https://port.example/piano".to_owned()),
            source: Some(source.to_owned()),
        }),
        sponsor: Some(Sponsor {
            name: name.to_owned(),
            text: message.to_owned(),
            url: "https://coffee.example/".to_owned(),
            link_text: link.to_owned(),
        }),
        corrections: vec![Correction { date: "2026-11-23".parse().ok(), text: words.correction.to_owned() }],
        newsletter: Newsletter { theme, translations: sisters(language), ..newsletter(language) },
        ..bare(language)
    }
}

/// The newsletters of the other days.
fn sisters(language: &str) -> Vec<Translation> {
    LANGUAGES
        .iter()
        .filter(|other| **other != language)
        .map(|other| Translation {
            id: format!("matin-{other}"),
            name: words(other).name.to_owned(),
            language: (*other).to_owned(),
        })
        .collect()
}

/// Five items, no picture, nothing around them.
pub fn poor(language: &str) -> Content {
    let mut content = bare(language);
    content.items =
        words(language).lines.iter().take(5).zip(1..).map(|(line, at)| item(language, line, at)).collect();
    content.items.iter_mut().for_each(|item| item.image = None);
    content
}

/// Long titles, missing texts, markup, quotes, line breaks, emoji, names that run the other way.
pub fn ugly(language: &str) -> Content {
    let mut content = full(language);
    let hostile = [
        "A <b>bold</b> & \"quoted\" 'title' with </h2><script>alert(1)</script>",
        "Line one\r\nBcc: everybody@example.org\r\n\r\nbody",
        "مدينة طرابلس (Tripoli) تستقبل 3 وفود",
        "Türkçe \u{202E}reversed\u{202C} and \u{2066}isolated",
        "👩\u{200D}🌾 🇨🇮 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 and {{ view.links }} {% if %}",
    ];
    for (item, title) in content.items.iter_mut().zip(hostile) {
        item.title = title.into();
    }
    content.items[2].language = "ar".into();
    content.items[5].title = "très long titre sans fin ".repeat(9).trim().into();
    content.items[6].summary = String::new();
    content.items[6].source = String::new();
    content.items[7].summary = "]]> --> <!-- &amp; &#x3c; \u{0}\u{7} .".into();
    content.items[7].countries = Vec::new();
    content.items[7].section = None;
    content.items[8].title = String::new();
    content.items[9].url = "javascript:alert(document.cookie)".into();
    content.items[1].summary = ".\r\n.\r\nFrom here to there\r\n\r\n--\r\n. a  b ".into();
    if let Some(image) = &mut content.items[0].image {
        image.url = "https://pictures.example/a.jpg\" onerror=\"alert(1)".into();
        image.alt = "\"><svg onload=alert(1)>".into();
    }
    content.newsletter.publisher = "Press & <Sons>\r\nnext line".into();
    if let Some(sponsor) = &mut content.sponsor {
        sponsor.url = String::new();
        sponsor.text = "50 % off!</td></tr></table> “Now”".into();
    }
    if let Some(opening) = &mut content.opening {
        opening.signature = String::new();
    }
    content
}

fn bare(language: &str) -> Content {
    Content {
        newsletter: newsletter(language),
        date: "2026-11-24".parse().expect("a date"),
        number: None,
        subject: String::new(),
        preheader: String::new(),
        opening: None,
        items: Vec::new(),
        figure: None,
        agenda: Vec::new(),
        lighter: None,
        sponsor: None,
        corrections: Vec::new(),
        correction_note: None,
    }
}

fn newsletter(language: &str) -> Newsletter {
    let words = words(language);
    Newsletter {
        id: format!("matin-{language}"),
        name: words.name.to_owned(),
        language: language.to_owned(),
        translations: Vec::new(),
        promise: Some(words.promise.to_owned()),
        list_id: format!("matin-{language}.news.example"),
        from_name: words.name.to_owned(),
        from_address: "matin@news.example".to_owned(),
        reply_to: Some("redaction@news.example".to_owned()),
        publisher: words.publisher.to_owned(),
        public_url: "https://news.example".to_owned(),
        theme: Theme::default(),
    }
}

fn item(language: &str, line: &Line, position: u32) -> Item {
    let (country, section, source, title, summary) = *line;
    Item {
        position,
        url: format!("https://source{position}.example/2026/11/24/{position}"),
        title: title.to_owned(),
        summary: summary.to_owned(),
        label: None,
        countries: vec![country.to_owned()],
        section: Some(section.to_owned()),
        source: source.to_owned(),
        published_at: "2026-11-24T02:00:00Z".parse().ok(),
        image: matches!(position, 1 | 4).then(|| Image {
            url: "https://pictures.example/quay.jpg".to_owned(),
            alt: words(language).alt.to_owned(),
            credit: Some("Aïcha Traoré".to_owned()),
            width: Some(1072),
            height: Some(603),
            bytes: Some(80_000),
        }),
        language: language.to_owned(),
        reading_minutes: Some(4),
    }
}

/// A signer with a key of its own, made now.
pub fn signer() -> Signer {
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let der: Pkcs8V1Der<'_> = key.as_der().expect("an encoding");
    let base64 = data_encoding::BASE64.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n");
    Signer::new("news.example", "m1", pem.as_bytes()).expect("a signer")
}
