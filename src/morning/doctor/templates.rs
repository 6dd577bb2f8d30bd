//! What the mail is made of: each newsletter's, in its language and look, with a sample morning, held against the
//! preflight that a lock must pass.

use jiff::civil::{Date, Time};
use secrecy::ExposeSecret as _;

use super::finding::{Area, Finding};
use super::sample;
use super::{Check, Patient};
use crate::config::{Config, Newsletter};
use crate::delivery::{self, DeliveryId};
use crate::editions::{Edition, LineUp};
use crate::mail::dkim::Signer;
use crate::mail::preflight::{self, Asked, Weight};
use crate::mail::{self, Consent, Language, Personal, Prepared};
use crate::morning::content::compose;
use crate::readers::SubscriptionId;
use crate::readers::links::Links;

const AREA: Area = Area::Templates;

pub(super) fn checks(patient: &Patient) -> Vec<Check> {
    let mut checks = Vec::new();
    if patient.config.newsletters.is_empty() {
        let none = Finding::doubtful(
            AREA,
            "newsletter",
            "No newsletter is configured: no edition will be made.",
            "Write [newsletter.NAME] with name, from, lock, send_at and relays; `matinale init` writes an \
             example.",
        );
        checks.push(Check::start(patient, AREA, "newsletter", async { vec![none] }));
    }
    for id in patient.config.newsletters.keys() {
        let (config, id, now) = (patient.config.clone(), id.clone(), patient.clock.now());
        let subject = format!("newsletter.{id}");
        // Aside: it takes the processor for as long as it takes.
        let look = async move {
            let made = tokio::task::spawn_blocking(move || {
                let newsletter = config.newsletters.get(&id)?;
                let today = now.to_zoned_datetime(newsletter.timezone.clone()).date();
                Some(judge(&config, newsletter, today))
            });
            match made.await {
                Ok(findings) => findings.unwrap_or_default(),
                Err(error) => vec![Finding::bad(
                    AREA,
                    "newsletter",
                    format!("A sample mail could not be made: {error}."),
                    "Report it, with the newsletter's configuration.",
                )],
            }
        };
        checks.push(Check::start(patient, AREA, &subject, look));
    }
    checks
}

/// Makes a sample mail, and says what is found in it.
fn judge(config: &Config, newsletter: &Newsletter, today: Date) -> Vec<Finding> {
    let subject = format!("newsletter.{}", newsletter.id);
    let language = Language::first_of([newsletter.language.as_str()]);
    let mut findings = Vec::new();
    if Language::of(&newsletter.language).is_none() {
        findings.push(Finding::doubtful(
            AREA,
            format!("{subject}.language"),
            format!(
                "Mails do not speak {:?}: their fixed phrases are in {:?}.",
                newsletter.language,
                language.tag()
            ),
            format!("Set {subject}.language to fr, en, pt or ar, unless that is what readers expect."),
        ));
    }
    match made(config, newsletter, today, language) {
        Ok((found, bytes, signed)) => {
            let signed = if signed { ", signed" } else { "" };
            if found.is_empty() {
                findings.push(Finding::good(
                    AREA,
                    &subject,
                    format!(
                        "A sample mail in {:?} passes the preflight ({bytes} bytes{signed}).",
                        language.tag()
                    ),
                ));
            }
            findings.extend(found.iter().map(|found| of_preflight(&subject, newsletter, found)));
        }
        Err(why) => findings.push(Finding::bad(
            AREA,
            &subject,
            format!("A sample mail cannot be made: {why}."),
            format!("See to what it names in [{subject}]; `matinale check` reads it again."),
        )),
    }
    findings
}

fn of_preflight(subject: &str, newsletter: &Newsletter, found: &preflight::Finding) -> Finding {
    let told = format!("{}: {} [{}].", found.place, found.message, found.rule);
    let advice = match found.place.as_str() {
        place @ ("from" | "list_id" | "publisher") => format!("Set {subject}.{place}."),
        place if place.starts_with("theme.") => format!("Set {subject}.{place}."),
        place if place.contains('.') => format!("Set {place}."),
        _ => format!(
            "See to it in [{subject}] and its theme; `matinale edition preview {}` shows the mail.",
            newsletter.id
        ),
    };
    match found.weight {
        Weight::Error => Finding::bad(AREA, subject, told, advice),
        Weight::Warning => Finding::doubtful(AREA, subject, told, advice),
    }
}

type Made = (Vec<preflight::Finding>, usize, bool);

fn made(
    config: &Config,
    newsletter: &Newsletter,
    today: Date,
    language: Language,
) -> Result<Made, mail::Error> {
    let at = newsletter.timezone.to_timestamp(today.to_datetime(Time::midnight()));
    let at = at.map_err(|error| mail::Error::Template(error.to_string()))?;
    let date = at.to_zoned_datetime(newsletter.timezone.clone());
    let edition = Edition::to_come(&newsletter.id, today, at);
    let none = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
    let mut content = compose(newsletter, &edition, &LineUp::default(), &none.0, &none.1, config);
    sample::lay_out(&mut content, language.tag(), newsletter.items as usize, at)?;
    let rendered = mail::render(&content, language)?;
    let asked = Asked { items: content.items.len(), ..Asked::default() };
    let found = preflight::check(&content, &[(language, &rendered)], &asked);
    let links = Links::new(config.secret.expose_secret().as_bytes());
    let signer = match config.dkim.get(newsletter.domain()) {
        // A key that signs nothing is told among the keys.
        Some(dkim) => Signer::new(&dkim.domain, &dkim.selector, dkim.key.expose_secret().as_bytes()).ok(),
        None => None,
    };
    let mut bytes = Vec::new();
    let personal = Personal {
        address: &format!("lecteur@{}", newsletter.domain()),
        message_id: &delivery::message_id(&links, DeliveryId(0), newsletter.domain()),
        date: &date,
        subscription_token: &links.subscription_token(SubscriptionId(0)),
        consent: &Consent::sample(Some(today)),
    };
    Prepared::new(&rendered, &content).fill(&personal, signer.as_ref(), &mut bytes)?;
    Ok((found, bytes.len(), signer.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::morning::doctor::Verdict;

    fn judged(more: &str) -> Vec<Finding> {
        let text = format!(
            "[web]\npublic_url = \"https://news.example.org\"\n[relay.main]\nurl = \"smtp://127.0.0.1\"\n\
             [newsletter.test]\nname = \"La Matinale\"\nfrom = \"La Matinale <m@news.example.org>\"\n\
             lock = \"0 0 5 * * *\"\nsend_at = \"06:30\"\nrelays = [\"main\"]\n\
             publisher = \"Example Press, 1 rue du Port, Dakar\"\n{more}\n"
        );
        let config = crate::config::tests::load(&text, &[]).unwrap();
        judge(&config, &config.newsletters["test"], "2026-11-24".parse().unwrap())
    }

    #[test]
    fn a_sample_mail_passes_the_preflight_in_every_language_and_size() {
        for language in ["fr", "en", "pt", "ar"] {
            for items in [1, 5, 10, 50] {
                let told =
                    judged(&format!("language = \"{language}\"\nitems = {items}\nminimum_items = 1\n"));
                let [told] = &told[..] else { panic!("{language} {items}: {told:?}") };
                assert_eq!(told.verdict, Verdict::Good, "{language} {items}: {told:?}");
            }
        }
    }

    #[test]
    fn what_the_preflight_finds_in_a_configuration_is_told_with_its_key() {
        let told = judged("list_id = \"elsewhere.example.com\"\n");
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].verdict, Verdict::Doubtful);
        assert_eq!(told[0].advice.as_deref(), Some("Set newsletter.test.list_id."));
        let told = judged("language = \"sw\"\n");
        assert_eq!(told[0].subject, "newsletter.test.language");
    }
}
