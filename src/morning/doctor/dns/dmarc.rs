//! DMARC: whether the domain of the From has a policy, and whether what we sign and bounce with is aligned with it
//! (RFC 9989). Receivers of the old kind (RFC 7489) find an explicit record just as well, so each From has its own (A4).

use super::dkim::tags;
use super::{AREA, Sender, unanswered};
use crate::delivery::names::Names;
use crate::morning::doctor::finding::{Finding, txt_record};

/// So many names are asked on the way up (RFC 9989 4.10).
const WALK: usize = 8;

/// What a record says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Published {
    text: String,
    /// `none`, `quarantine` or `reject`; nothing where one that it names is none of them, which makes receivers do nothing
    /// (RFC 7489 6.6.3).
    policy: Option<String>,
    /// The same for domains below it that have no record, where it says so.
    below: Option<String>,
    /// Whether reports are asked for.
    reports: bool,
    strict_spf: bool,
    /// What it says of being a public suffix.
    suffix: Option<char>,
}

/// A name on the way up, and the records there.
type Step = (String, Vec<Published>);

pub(super) async fn look(names: &Names, sender: &Sender) -> Vec<Finding> {
    let (own, back) = tokio::join!(walk(names, &sender.domain), walk(names, &sender.back));
    judge(sender, own.as_deref(), back.as_deref())
}

/// The policy, also where nobody says anything of the return path; alignment, where there is a policy that asks for it.
fn judge(sender: &Sender, own: Result<&[Step], &String>, back: Result<&[Step], &String>) -> Vec<Finding> {
    let silent = |domain: &str, why: &str| unanswered(&format!("_dmarc.{domain}"), why);
    let own = match own {
        Ok(own) => own,
        Err(why) => return vec![silent(&sender.domain, why)],
    };
    let mut findings = vec![judge_policy(&sender.domain, own)];
    if let Some((_, policy)) = in_force(own) {
        findings.push(match back {
            Ok(back) => judge_alignment(sender, policy, own, back),
            Err(why) => silent(&sender.back, why),
        });
    }
    findings
}

/// The records of a domain and of those above it.
async fn walk(names: &Names, domain: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for name in way_up(domain) {
        let texts = names.texts(&format!("_dmarc.{name}")).await?;
        steps.push((name, texts.iter().filter_map(|text| read(text)).collect()));
    }
    Ok(steps)
}

/// A domain and those above it; of a very long one the end, behind the domain itself.
fn way_up(domain: &str) -> Vec<String> {
    let labels: Vec<&str> = domain.split('.').collect();
    let first = labels.len().saturating_sub(WALK - 1).max(1);
    let above = (first..labels.len()).map(|at| labels[at..].join("."));
    std::iter::once(domain.to_owned()).chain(above).collect()
}

/// A text that is a record of DMARC; whatever else stands there is somebody else's.
fn read(text: &str) -> Option<Published> {
    let tags = tags(text);
    if tags.first().is_none_or(|(name, value)| name != "v" || value != "DMARC1") {
        return None;
    }
    let tag =
        |name: &str| tags.iter().find(|(tag, _)| tag == name).map(|(_, value)| value.to_ascii_lowercase());
    let known = |policy: &String| matches!(policy.as_str(), "none" | "quarantine" | "reject");
    let below = tag("sp");
    let are_known = |_: &String| [&below, &tag("np")].into_iter().flatten().all(known);
    let policy = tag("p").filter(known).filter(are_known);
    Some(Published {
        text: text.to_owned(),
        below: below.filter(|_| policy.is_some()),
        policy,
        reports: tag("rua").is_some_and(|rua| rua.contains("mailto:")),
        strict_spf: tag("aspf").as_deref() == Some("s"),
        suffix: tag("psd").and_then(|psd| psd.chars().next()),
    })
}

/// The organisation that a domain belongs to, by the records on its way up (RFC 9989 4.10.2).
fn organisation(steps: &[Step]) -> &str {
    let own = steps.first().map_or("", |(name, _)| name.as_str());
    let mut found = own;
    for (at, (name, policies)) in steps.iter().enumerate() {
        let [policy] = &policies[..] else { continue };
        match policy.suffix {
            Some('n') => return name,
            Some('y') if at > 0 => return &steps[at - 1].0,
            _ => found = name,
        }
    }
    found
}

/// The policy that holds for a domain.
fn in_force(steps: &[Step]) -> Option<(&str, &Published)> {
    let organisation = organisation(steps);
    let above = steps.iter().find(|(name, _)| name == organisation);
    let mut known = [steps.first(), above].into_iter().flatten();
    known.find_map(|(name, policies)| match &policies[..] {
        [policy] => Some((name.as_str(), policy)),
        _ => None,
    })
}

fn judge_policy(domain: &str, steps: &[Step]) -> Finding {
    let subject = format!("_dmarc.{domain}");
    let publish = |finding: Finding, policy: &str, from: &str| {
        let mut text = format!("v=DMARC1; p={policy}{}", kept(from));
        if !text.contains("; rua=") {
            text = format!("{text}; rua=mailto:postmaster@{domain}");
        }
        let advice =
            finding.advice.clone().map(|advice| advice + &strangers(&text, domain, organisation(steps)));
        Finding { advice, ..finding }.with_record(txt_record(&subject, &text))
    };
    let own = steps.first().map(|(_, policies)| policies.as_slice()).unwrap_or_default();
    if own.len() > 1 {
        let told = format!("There are {} DMARC records: receivers take none of them.", own.len());
        // Which of them is meant, or one above that holds meanwhile, is for whoever wrote them to say.
        return Finding::bad(AREA, &subject, told, "Take all of them out but the one that is meant.");
    }
    match (in_force(steps), own.first()) {
        (None, _) => publish(
            Finding::bad(
                AREA,
                &subject,
                "There is no DMARC record: Gmail, Yahoo, Apple and Outlook refuse newsletters without one \
                 (A1).",
                "Publish this record (rua is where reports are to go).",
            ),
            "none",
            "",
        ),
        (Some((_, policy)), Some(_)) if policy.policy.is_none() => publish(
            Finding::bad(
                AREA,
                &subject,
                format!("The DMARC record names no policy, or one that does not exist: {:?}.", policy.text),
                "Publish this one in its place.",
            ),
            "none",
            &policy.text,
        ),
        (Some((at, policy)), None) => {
            // Below it the second of its policies holds, where it has two.
            let (said, now) = match (&policy.below, &policy.policy) {
                (Some(below), _) => (format!("sp={below}"), below.as_str()),
                (None, Some(policy)) => (format!("p={policy}"), policy.as_str()),
                (None, None) => ("it names no policy, or one that does not exist".to_owned(), "none"),
            };
            let told = format!(
                "The only DMARC record is that of {at} ({said}): receivers do not all find it from here (A4)."
            );
            if now == "none" {
                let advice = "Publish one at the From's own domain, such as this.";
                return publish(Finding::doubtful(AREA, &subject, told, advice), now, &policy.text);
            }
            // Whoever finds it then refuses what neither a signature nor the return path vouches for.
            let advice = format!(
                "First see to alignment and DKIM; once mails pass, publish one with p={now} at the From's own domain."
            );
            Finding::doubtful(AREA, &subject, told, advice)
        }
        (Some((_, policy)), Some(_)) => {
            let reports = if policy.reports { "" } else { ", and nobody is reported to (rua)" };
            Finding::good(
                AREA,
                &subject,
                format!("Its policy is p={}{reports}.", policy.policy.as_deref().unwrap_or_default()),
            )
        }
    }
}

/// What goes with the policy of a record: how hard it is meant (t, and pct of RFC 7489, may hold it back), and who is told.
fn kept(text: &str) -> String {
    let goes_with = ["t", "pct", "adkim", "aspf", "rua", "ruf", "fo"];
    tags(text)
        .into_iter()
        .filter(|(name, value)| goes_with.contains(&name.as_str()) && !value.is_empty())
        .fold(String::new(), |kept, (name, value)| kept + "; " + &name + "=" + &value)
}

/// What to see to where reports are to go to somebody else: that one must say that it takes them (RFC 7489 7.1).
fn strangers(text: &str, domain: &str, organisation: &str) -> String {
    let below = format!(".{organisation}");
    let mut needed = Vec::new();
    for (_, all) in tags(text).iter().filter(|(name, _)| name == "rua" || name == "ruf") {
        for (_, host) in all.split(',').filter_map(|report| report.rsplit_once('@')) {
            let host = host.split('!').next().unwrap_or_default().trim().to_ascii_lowercase();
            let record = format!("{domain}._report._dmarc.{host}");
            if host != organisation && !host.ends_with(&below) && !needed.contains(&record) {
                needed.push(record);
            }
        }
    }
    if needed.is_empty() {
        return String::new();
    }
    format!(
        " Reports go to somebody else only where that one says so (\"v=DMARC1\" at {}).",
        needed.join(", ")
    )
}

/// Whether the signature's domain and the return path's are the From's own (A1). Ours sign with the From's domain itself.
fn judge_alignment(sender: &Sender, policy: &Published, own: &[Step], back: &[Step]) -> Finding {
    let Sender { domain, back: back_domain, is_signed } = sender;
    let relaxed = organisation(own) == organisation(back);
    let spf = if policy.strict_spf { domain == back_domain } else { relaxed };
    let strict = if policy.strict_spf { " (aspf=s)" } else { "" };
    let mend = match (policy.strict_spf, relaxed) {
        (true, true) => format!("set bounces.domain to {domain} itself, or publish aspf=r"),
        (true, false) => format!("set bounces.domain to {domain} itself"),
        (false, _) => {
            format!("set bounces.domain to a domain of the From's own, such as bounces.{domain}")
        }
    };
    match (is_signed, spf) {
        (true, true) => Finding::good(
            AREA,
            domain,
            format!("Signature ({domain}) and return path ({back_domain}) are aligned with the From."),
        ),
        (true, false) => Finding::doubtful(
            AREA,
            domain,
            format!(
                "The return path ({back_domain}) is not aligned with the From{strict}: DMARC hangs on the \
                 signature alone."
            ),
            format!("To have both, {mend}; see to that domain's SPF and MX records."),
        ),
        (false, true) => Finding::doubtful(
            AREA,
            domain,
            format!(
                "Only the return path ({back_domain}) is aligned with the From: without a signature, mail \
                 that is passed on fails DMARC."
            ),
            format!("Configure [dkim.\"{domain}\"], or have the relay sign with d={domain}."),
        ),
        (false, false) => Finding::bad(
            AREA,
            domain,
            format!(
                "Neither a signature of ours nor the return path ({back_domain}) is aligned with the \
                 From{strict}: DMARC fails unless the relay signs."
            ),
            format!("Configure [dkim.\"{domain}\"], and {mend}."),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::morning::doctor::Verdict::{self, Bad, Doubtful, Good};

    /// Names, and what stands there.
    type Records<'a> = &'a [(&'a str, &'a str)];

    fn steps(domain: &str, records: Records<'_>) -> Vec<Step> {
        let found = |name: &String| {
            records.iter().filter(|(at, _)| at == name).filter_map(|(_, text)| read(text)).collect()
        };
        way_up(domain).into_iter().map(|name| (name.clone(), found(&name))).collect()
    }

    #[test]
    fn the_way_up_has_eight_names_at_most() {
        assert_eq!(way_up("news.example.org"), ["news.example.org", "example.org", "org"]);
        let long = way_up("a.b.c.d.e.f.g.h.i.example.org");
        assert_eq!(long.len(), 8);
        assert_eq!(
            (long[0].as_str(), long[1].as_str()),
            ("a.b.c.d.e.f.g.h.i.example.org", "e.f.g.h.i.example.org")
        );
    }

    #[test]
    fn a4_each_from_has_a_policy_of_its_own_that_can_be_read() {
        let domain = "news.example.org";
        let cases: [(Records<'_>, Verdict, &str); 14] = [
            (&[(domain, "v=DMARC1; p=none; rua=mailto:d@example.org")], Good, "p=none."),
            (&[(domain, "v=DMARC1;p=reject")], Good, "p=reject, and nobody is reported to"),
            (&[], Bad, "no DMARC record"),
            (&[(domain, "v=spf1 -all")], Bad, "no DMARC record"),
            (&[(domain, "v=DMARC1; p=none"), (domain, "v=DMARC1; p=reject")], Bad, "2 DMARC records"),
            (&[(domain, "v=DMARC1; p=nothing")], Bad, "or one that does not exist"),
            (&[(domain, "v=DMARC1; p=reject; sp=nothing")], Bad, "or one that does not exist"),
            (&[(domain, "v=DMARC1; p=reject; np=nothing")], Bad, "or one that does not exist"),
            (&[("example.org", "v=DMARC1; p=reject; sp=nothing")], Doubtful, "(it names no policy, or"),
            (&[("example.org", "v=DMARC1; p=nothing; sp=reject")], Doubtful, "(it names no policy, or"),
            (&[("example.org", "v=DMARC1; p=quarantine")], Doubtful, "that of example.org (p=quarantine)"),
            (&[("example.org", "v=DMARC1; p=reject; sp=none")], Doubtful, "that of example.org (sp=none)"),
            (&[(domain, "v=DMARC1; p=reject; sp=none")], Good, "p=reject,"),
            (&[(domain, "p=none; v=DMARC1")], Bad, "no DMARC record"),
        ];
        for (records, verdict, words) in cases {
            let told = judge_policy(domain, &steps(domain, records));
            assert!(told.verdict == verdict && told.finding.contains(words), "{records:?}: {told:?}");
            // Of several nobody else knows which is meant; a policy shuts out what is not aligned.
            let is_offered = verdict != Good && !words.contains("records") && !words.contains("quarantine");
            assert_eq!(told.record.is_some(), is_offered, "{records:?}");
        }
        let told = judge_policy(domain, &steps(domain, &[]));
        let record = "_dmarc.news.example.org. IN TXT \"v=DMARC1; p=none; \
            rua=mailto:postmaster@news.example.org\"";
        assert_eq!(told.record.as_deref(), Some(record));
    }

    #[test]
    fn a4_the_record_to_publish_changes_nothing_of_what_holds_nor_who_is_told() {
        let domain = "news.example.org";
        let postmaster = "; rua=mailto:postmaster@news.example.org";
        for (at, text, policy, kept) in [
            ("example.org", "v=DMARC1; p=reject; sp=none", "none", postmaster),
            // No policy for those below is none at all (RFC 7489 6.6.3).
            ("example.org", "v=DMARC1; p=reject; sp=nothing", "none", postmaster),
            ("example.org", "v=DMARC1; p=none; pct=0; aspf=s; t=y", "none; pct=0; aspf=s; t=y", postmaster),
            (
                "example.org",
                "v=DMARC1; p=none; rua=mailto:D@example.org; ruf=mailto:f@example.org; fo=1",
                "none",
                "; rua=mailto:D@example.org; ruf=mailto:f@example.org; fo=1",
            ),
            ("example.org", "v=DMARC1; p=none; rua=", "none", postmaster),
            (
                domain,
                "v=DMARC1; p=nothing; rua=mailto:d@news.example.org",
                "none",
                "; rua=mailto:d@news.example.org",
            ),
        ] {
            let told = judge_policy(domain, &steps(domain, &[(at, text)]));
            let record = format!("_dmarc.{domain}. IN TXT \"v=DMARC1; p={policy}{kept}\"");
            assert_eq!(told.record, Some(record), "{text}");
            assert!(!told.advice.unwrap().contains("_report"), "{text}");
        }
    }

    #[test]
    fn a4_a_policy_that_shuts_out_is_offered_to_nobody_before_alignment() {
        for text in ["v=DMARC1; p=reject", "v=DMARC1; p=quarantine", "v=DMARC1; p=none; sp=reject"] {
            let told = judge_policy("news.example.org", &steps("news.example.org", &[("example.org", text)]));
            assert_eq!((told.verdict, &told.record), (Doubtful, &None), "{text}");
            assert!(told.advice.unwrap().starts_with("First see to alignment and DKIM"), "{text}");
        }
    }

    #[test]
    fn rfc7489_reports_that_go_to_somebody_else_want_a_record_there() {
        let text = "v=DMARC1; p=none; rua=mailto:a@Reports.example!10m,mailto:b@dmarc.example.org";
        let told = judge_policy("news.example.org", &steps("news.example.org", &[("example.org", text)]));
        let advice = told.advice.unwrap();
        assert!(advice.ends_with("at news.example.org._report._dmarc.reports.example)."), "{advice}");
    }

    #[test]
    fn rfc9989_the_organisation_is_told_by_the_records_on_the_way_up() {
        let one = |records: &[(&str, &str)]| organisation(&steps("a.news.example.org", records)).to_owned();
        assert_eq!(one(&[]), "a.news.example.org");
        assert_eq!(one(&[("example.org", "v=DMARC1; p=none")]), "example.org");
        assert_eq!(
            one(&[("news.example.org", "v=DMARC1; p=none; psd=n"), ("example.org", "v=DMARC1; p=none")]),
            "news.example.org"
        );
        assert_eq!(one(&[("org", "v=DMARC1; p=none; psd=y")]), "example.org");
    }

    #[test]
    fn a1_signature_and_return_path_are_aligned_with_the_from() {
        let plain = [("example.org", "v=DMARC1; p=none")];
        let strict = [("news.example.org", "v=DMARC1; p=none; aspf=s"), ("example.org", "v=DMARC1; p=none")];
        let cases: [(bool, &str, Records<'_>, Verdict, &str); 7] = [
            (true, "bounces.example.org", &plain, Good, ""),
            (true, "bounces.example.org", &strict, Doubtful, "to news.example.org itself, or publish aspf=r"),
            (true, "bounces.example.com", &strict, Doubtful, "to news.example.org itself;"),
            (true, "bounces.example.com", &plain, Doubtful, "such as bounces.news.example.org"),
            (false, "bounces.example.org", &plain, Doubtful, "[dkim.\"news.example.org\"]"),
            (false, "bounces.example.com", &plain, Bad, "such as bounces.news.example.org"),
            (false, "bounces.example.org", &strict, Bad, "to news.example.org itself, or publish aspf=r"),
        ];
        for (is_signed, back, records, verdict, words) in cases {
            let domain = "news.example.org".to_owned();
            let sender = Sender { domain, back: back.to_owned(), is_signed };
            let told =
                judge(&sender, Ok(&steps(&sender.domain, records)), Ok(&steps(back, records))).remove(1);
            assert_eq!(told.verdict, verdict, "{is_signed} {back} {records:?}: {told:?}");
            assert!(told.advice.as_deref().unwrap_or_default().contains(words), "{told:?}");
        }
    }

    #[test]
    fn a1_the_policy_is_told_alone_where_there_is_none_or_the_return_path_is_silent() {
        let (domain, back) = ("news.example.org".to_owned(), "bounces.example.com".to_owned());
        let sender = Sender { domain, back, is_signed: false };
        let (why, none) = ("late".to_owned(), steps(&sender.domain, &[]));
        let verdicts = |told: &[Finding]| told.iter().map(|found| found.verdict).collect::<Vec<_>>();
        // Nothing asks for alignment.
        let told = judge(&sender, Ok(&none), Ok(&steps(&sender.back, &[])));
        assert_eq!(verdicts(&told), [Bad], "{told:?}");
        let told = judge(&sender, Ok(&none), Err(&why));
        assert_eq!(verdicts(&told), [Bad], "{told:?}");
        let own = steps(&sender.domain, &[("news.example.org", "v=DMARC1; p=none")]);
        let told = judge(&sender, Ok(&own), Err(&why));
        assert_eq!(verdicts(&told), [Good, Doubtful], "{told:?}");
        assert_eq!(told[1].subject, "_dmarc.bounces.example.com");
        let told = judge(&sender, Err(&why), Ok(&none));
        assert!(verdicts(&told) == [Doubtful] && told[0].subject == "_dmarc.news.example.org", "{told:?}");
    }
}
