//! The ledger held against what the sink had, both ways: a delivery without its mail, and a mail without its delivery.

use std::collections::HashMap;

use super::record::{Copies, Recorder};
use super::{Drill, Report};
use crate::delivery::{self, Record};
use crate::editions::EditionId;
use crate::morning::Result;
use crate::morning::stage::Stage;

/// So many deliveries are read at a time.
const PAGE: i64 = 1000;

/// Completes the report.
pub(super) async fn judge(
    drill: &Drill,
    stage: &Stage,
    edition: EditionId,
    recorder: &Recorder,
    report: &mut Report,
) -> Result<()> {
    let (house, domain) = (&stage.house, stage.newsletter().domain());
    let mut had = recorder.had();
    let mut behind = None;
    loop {
        let mut conn = house.db.read().await?;
        let page = delivery::store::page(&mut conn, edition, behind, PAGE, &house.links, domain).await?;
        drop(conn);
        let Some(page) = page else { break };
        behind = Some(page.last);
        for record in page.records {
            let copies = had.remove(&record.message_id);
            weigh(&record, copies, report);
        }
    }
    report.counts = delivery::store::counts(&mut house.db.read().await?, edition).await?;
    complete(drill, &had, report);
    Ok(())
}

/// One delivery, and its mails.
fn weigh(record: &Record, copies: Option<Copies>, report: &mut Report) {
    let uncertain = |outcome: Option<&str>| u64::from(outcome == Some("uncertain"));
    let uncertain: u64 = record.attempts.iter().map(|attempt| uncertain(attempt.outcome.as_deref())).sum();
    let count = copies.map_or(0, |copies| copies.count);
    let doubled = count.saturating_sub(1);
    report.uncertain += uncertain;
    report.lost += u64::from(record.state != "accepted" || count == 0);
    report.doubled += doubled;
    report.untold += doubled.saturating_sub(uncertain);
    report.altered += u64::from(copies.is_some_and(|copies| copies.altered));
}

/// What is left when every delivery was weighed: readers who have none, and mails of nobody's.
fn complete(drill: &Drill, left: &HashMap<String, Copies>, report: &mut Report) {
    let owed = u64::try_from(report.counts.total()).unwrap_or(0);
    report.forgotten = u64::from(drill.deliveries).saturating_sub(owed);
    report.unowed = left.values().map(|copies| copies.count).sum();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::delivery::{Attempt, Counts};

    fn copies(count: u64) -> Copies {
        Copies { count, altered: false, hash: [0; 32] }
    }

    fn record(state: &str, outcomes: &[&str]) -> Record {
        let attempt = |outcome: &&str| Attempt {
            at: String::new(),
            relay: "sink".to_owned(),
            address: String::new(),
            revision: 1,
            outcome: Some((*outcome).to_owned()),
            code: None,
            enhanced: None,
            text: None,
        };
        Record {
            email: None,
            subscriber: 1,
            state: state.to_owned(),
            due_at: String::new(),
            deadline: String::new(),
            revision: Some(1),
            message_id: "<1@news.example>".to_owned(),
            accepted_at: None,
            attempts: outcomes.iter().map(attempt).collect(),
            bounced_at: None,
            complained_at: None,
        }
    }

    fn drill(deliveries: u32) -> Drill {
        Drill {
            program: "matinale".into(),
            postgres: None,
            kills: 1,
            deliveries,
            daemons: 1,
            connections: 2,
            lease: Duration::from_secs(60),
            bytes: 2_000,
        }
    }

    #[test]
    fn p1_a_drill_sees_what_is_missing_on_either_side() {
        let once = || ("accepted", vec!["accepted"], Some(copies(1)));
        let told = || ("accepted", vec!["uncertain", "accepted"], Some(copies(2)));
        let strays = |count: u64| HashMap::from([("<x@news.example>".to_owned(), copies(count))]);
        let table = [
            ("as it should be", once(), told(), HashMap::new(), true),
            ("a reader without a delivery", once(), once(), HashMap::new(), false),
            ("a mail that nobody is owed", once(), told(), strays(1), false),
            (
                "a delivery without its mail",
                ("accepted", vec!["accepted"], None),
                told(),
                HashMap::new(),
                false,
            ),
            (
                "a second copy untold",
                ("accepted", vec!["accepted"], Some(copies(2))),
                told(),
                HashMap::new(),
                false,
            ),
        ];
        for (what, one, other, left, kept) in table {
            let mut report = Report { kills: 1, ..Report::default() };
            for (state, outcomes, copies) in [one, other] {
                weigh(&record(state, &outcomes), copies, &mut report);
            }
            report.counts = Counts { accepted: 2, ..Counts::default() };
            // The second reader of three has no row.
            let readers = if what == "a reader without a delivery" { 3 } else { 2 };
            complete(&drill(readers), &left, &mut report);
            assert_eq!(report.kept(2), kept, "{what}: {report:?}");
        }
    }
}
