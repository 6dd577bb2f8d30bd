//! Every reply of section 3 of the mail's requirements, said to RCPT and to the dot by a real server: what the ledger
//! makes of it, what the relay and the edition come to, and that the words are kept.

use std::collections::{HashMap, VecDeque};

use matinale::db::Db;
use matinale::delivery::{Mode, relay, store};
use matinale::editions::{self, EditionState};
use matinale::lifecycle::Shutdown;

use super::ground::{Bench, at_noon, prepare_with};
use crate::support::databases::{both, sqlite};
use crate::support::faulty::{Fault, Faulty, Offer, Opening, Phase, Step};

/// What a reply asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// The message fails; whoever comes next is tried.
    Fail,
    /// The message waits.
    Wait,
    /// The message waits, and the relay is left alone.
    Pause,
    /// The message waits, and the edition is held: every further mail would meet the same.
    Stop,
}

use Asks::{Fail, Pause, Stop, Wait};

const REPLIES: [(&str, Asks); 41] = [
    ("550 5.1.1 The email account that you tried to reach does not exist", Fail),
    ("553 5.1.2 We weren't able to find the recipient domain", Fail),
    ("554 delivery error: dd This user doesn't have a yahoo.com account", Fail),
    ("552 1 Requested mail action aborted, mailbox not found", Fail),
    ("550 5.1.1 Adresse d au moins un destinataire invalide OFR_416", Fail),
    ("550 5.2.1 The email account that you tried to reach is inactive", Fail),
    ("554 30 Sorry, your message cannot be delivered (554.30)", Fail),
    ("552 5.2.2 The recipient's inbox is out of storage and inactive", Fail),
    ("550 5.1.1 OFR_417 boite inactive", Fail),
    ("452 4.2.2 The recipient's inbox is out of storage space", Wait),
    ("552 5.2.2 mailbox full", Wait),
    ("450 4.2.1 The user you are trying to contact is receiving mail too quickly", Wait),
    ("550 5.2.1 The user you are trying to contact is receiving email at a rate that", Wait),
    ("421 4.7.28 Gmail has detected an unusual rate of email", Wait),
    ("421 4.7.0 very low reputation of the sending domain", Wait),
    ("421 4.7.0 [TSS04] Messages temporarily deferred", Wait),
    ("451 4.7.650 The mail server has been temporarily rate limited (S775)", Wait),
    ("421 RP-001 The mail server exceeded the maximum number of connections", Wait),
    ("421 4.7.1 [HCM1] try again", Wait),
    ("421 Trop de connexions, veuillez verifier votre configuration OFR005_104", Wait),
    ("550 5.7.1 part of their network is on our block list (S3150)", Pause),
    ("550 SC-001 mail rejected for policy reasons", Pause),
    ("550 5.7.606 Access denied, banned sending IP", Pause),
    ("553 5.7.1 [BL21] Connections will not be accepted", Pause),
    ("553 5.7.2 [TSS09] All messages will be permanently deferred; Retrying will NOT succeed", Pause),
    ("550 5.7.28 unusual rate of unsolicited mail", Pause),
    ("550 Service refuse. Veuillez essayer plus tard", Pause),
    ("550 5.7.26 Unauthenticated email is not accepted", Stop),
    ("550 5.7.515 Access denied, the sending domain does not meet the required level", Stop),
    ("451 4.7.31 no DMARC record", Stop),
    ("571 5.7.1 Message refused by DMARC policy", Stop),
    ("550 5.7.1 Messages missing a valid address are not RFC 5322 compliant", Stop),
    ("554 5.6.0 malformed", Stop),
    ("552 5.3.4 The number of headers exceeds", Stop),
    ("550 5.7.1 The user or domain has a policy that prohibited the mail", Fail),
    ("554 Message not allowed - [PH01] Email not accepted for policy reasons", Fail),
    ("451 4.3.0 Mail server temporarily rejected message", Wait),
    ("452 4.5.3 too many recipients", Wait),
    ("556 5.1.10 recipient address has null MX", Fail),
    ("501 5.1.3 Bad recipient address syntax", Fail),
    ("501 Syntax error in parameters or arguments", Wait),
];

async fn plays(reply: &str, phase: Phase, asks: Asks) {
    let what = format!("{reply} at {phase:?}");
    let addresses: Vec<String> = (0..3).map(|n| format!("r{n}@example.org")).collect();
    // As the big receivers do it: in two lines.
    let (code, words) = reply.split_at(3);
    let lines = format!("{code}-{}\r\n{reply}\r\n", words.trim());
    let step = Step { phase, fault: Fault::Reply(lines), taken: false };
    let scripts: HashMap<String, VecDeque<Step>> =
        addresses.iter().map(|to| (to.clone(), VecDeque::from([step.clone()]))).collect();
    let offer = Offer { pipelining: true, ..Offer::default() };
    let server = Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await;
    let relay_toml = format!("url = \"smtp://{}?tls=none\"\nconnections = 1", server.address);
    let test = sqlite().await;
    let bench = prepare_with(test.db, "retry = [\"30m\"]", &relay_toml, at_noon(), &addresses).await;
    let mode = Mode { once: true, ..bench.mode() };
    bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();

    let mut conn = bench.db.read().await.unwrap();
    let page = store::page(&mut conn, bench.edition, None, 10, &bench.links, "example.org").await.unwrap();
    let records = page.unwrap().records;
    let counts = bench.counts().await;
    // Before the release a 421 is no attempt: whoever waits is tried again.
    if code == "421" && phase == Phase::Rcpt {
        assert_eq!(counts.accepted, 3, "{what}: {counts:?}");
        assert!(records.iter().all(|record| record.attempts.len() == 1), "{what}");
        return;
    }
    let tried: Vec<_> = records.iter().flat_map(|record| &record.attempts).collect();
    let outcome = if asks == Fail { "rejected" } else { "deferred" };
    let words = words.trim();
    for attempt in &tried {
        assert_eq!(attempt.outcome.as_deref(), Some(outcome), "{what}");
        assert_eq!(attempt.code, code.parse().ok(), "{what}");
        // Both lines, as they were said.
        assert_eq!(attempt.text, Some(format!("{words}\n{words}")), "{what}: p6");
    }
    let known = relay::store::list(&mut conn).await.unwrap();
    let edition = editions::store::load(&mut conn, bench.edition).await.unwrap();
    match asks {
        Fail => assert_eq!((tried.len(), counts.rejected), (3, 3), "{what}"),
        Wait | Stop => assert_eq!((tried.len(), counts.deferred), (3, 3), "{what}"),
        Pause => {
            // The envelope that travelled with the dot may be answered with its 354 already.
            let most = if phase == Phase::Dot { 2 } else { 1 };
            assert!((1..=most).contains(&counts.deferred), "{what}: {counts:?}");
            assert_eq!(counts.planned, 3 - counts.deferred, "{what}: {counts:?}");
            assert!(known.iter().any(|relay| relay.down_since.is_some()), "{what}: t16: nobody is told");
        }
    }
    let expected = if asks == Stop { EditionState::Held } else { EditionState::Sending };
    assert_eq!(edition.state, expected, "{what}");
    assert_eq!(server.record().violations, Vec::<String>::new(), "{what}");
    assert!(server.record().taken.is_empty(), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t16_every_reply_of_section_3_said_to_rcpt() {
    for (reply, asks) in REPLIES {
        plays(reply, Phase::Rcpt, asks).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t16_every_reply_of_section_3_said_to_the_dot() {
    for (reply, asks) in REPLIES {
        plays(reply, Phase::Dot, asks).await;
    }
    // Who was written to by what it had offered says nothing about the mail.
    plays("554 5.5.0 Error: SMTP protocol synchronization", Phase::Dot, Wait).await;
}

/// What an edition to these came to over a server that says this to RCPT, each time that one of them is named.
async fn refused(db: Db, readers: &[String], reply: &str, times: usize) -> (Bench, Faulty) {
    let step = Step { phase: Phase::Rcpt, fault: Fault::Reply(format!("{reply}\r\n")), taken: false };
    let scripts = readers.iter().map(|to| (to.clone(), vec![step.clone(); times].into())).collect();
    let offer = Offer { pipelining: true, ..Offer::default() };
    let server = Faulty::start(offer, scripts, VecDeque::new(), Vec::new()).await;
    let relay = format!("url = \"smtp://{}?tls=none\"\nconnections = 1", server.address);
    let bench = prepare_with(db, "retry = [\"30m\"]", &relay, at_noon(), readers).await;
    let mode = Mode { once: true, ..bench.mode() };
    bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
    (bench, server)
}

#[tokio::test]
async fn t16_who_refuses_our_return_path_at_rcpt_suppresses_nobody_and_is_left_alone() {
    let readers = ["awa@example.net".to_owned(), "binta@example.net".to_owned()];
    let replies = [
        "550 5.1.0 <{from}>: Sender address rejected: User unknown in virtual mailbox table",
        "550-Verification failed for <{from}>\r\n550-Called:   192.0.2.1\r\n550-Sent:     RCPT TO:<{from}>\r\n550-Response: 550 5.1.1 User unknown\r\n550 Sender verify failed",
        "553 5.1.8 <{from}>... Domain of sender address {from} does not exist",
        // In words that no rule has.
        "550 5.1.1 <{from}>: no such user",
    ];
    for reply in replies {
        for test in both().await {
            let (bench, _server) = refused(test.db, &readers, reply, 1).await;
            let counts = bench.counts().await;
            assert_eq!((counts.deferred, counts.planned), (1, 1), "{}: {reply}: {counts:?}", test.name);
            let mut conn = bench.db.read().await.unwrap();
            let dead = store::dead_addresses(&mut conn, 10, bench.clock.now_ms()).await.unwrap();
            assert!(dead.is_empty(), "{}: {reply}", test.name);
            let known = relay::store::list(&mut conn).await.unwrap();
            assert!(known.iter().any(|relay| relay.paused_until.is_some()), "{}: {reply}", test.name);
        }
    }
    // And what is said of the reader goes on being believed.
    for reply in ["550-Callout verification failed:\r\n550 550 5.1.1 User unknown", "550 No such user here"] {
        let test = sqlite().await;
        let (bench, _server) = refused(test.db, &readers, reply, 1).await;
        assert_eq!(bench.counts().await.rejected, 2, "{reply}");
        let mut conn = bench.db.read().await.unwrap();
        let dead = store::dead_addresses(&mut conn, 10, bench.clock.now_ms()).await.unwrap();
        assert_eq!(dead.len(), 2, "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t7_where_encryption_does_not_come_about_and_is_not_required_the_mail_goes_without() {
    for (required, accepted) in [(false, 1), (true, 0)] {
        let addresses = ["r0@example.org".to_owned()];
        let openings = VecDeque::from([Opening::NoHandshake]);
        let offer = Offer { pipelining: true, starttls: true, ..Offer::default() };
        let server = Faulty::start(offer, HashMap::new(), openings, Vec::new()).await;
        let tls = if required { "?tls=required" } else { "" };
        let relay_toml = format!("url = \"smtp://{}{tls}\"\nconnections = 1", server.address);
        let test = sqlite().await;
        let bench = prepare_with(test.db, "", &relay_toml, at_noon(), &addresses).await;
        let mode = Mode { once: true, ..bench.mode() };
        bench.engine().run_edition(mode, &Shutdown::new()).await.unwrap();
        assert_eq!(bench.counts().await.accepted, accepted, "required: {required}");
        assert_eq!(bench.counts().await.planned, 1 - accepted, "required: {required}");
        let mut conn = bench.db.read().await.unwrap();
        let known = relay::store::list(&mut conn).await.unwrap();
        assert_eq!(known.iter().any(|relay| relay.down_since.is_some()), required);
    }
}
