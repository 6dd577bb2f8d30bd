//! What waits for a relay, and what becomes of it.

use super::*;
use crate::config::Tls;
use crate::delivery::DeliveryId;
use crate::delivery::ledger::tests::held;
use crate::delivery::mx::Domain;
use crate::editions::schedule::tests::newsletter;

pub(in crate::delivery) fn relay(providers: bool) -> Relay {
    Relay::new(config::Relay {
        name: "main".to_owned(),
        kind: RelayKind::Smtp,
        host: "127.0.0.1".to_owned(),
        port: 25,
        tls: Tls::None,
        connections: 2,
        messages_per_connection: 100,
        rate: None,
        username: None,
        password: None,
        weight: 1,
        helo: None,
        providers,
        warm_up: None,
    })
}

fn sending(edition: i64, revision: i64) -> Sending {
    Sending { id: edition, newsletter: "test".to_owned(), date: "2026-11-24".to_owned(), revision }
}

/// A delivery of that edition, with what was its newest revision when it was claimed.
pub(super) fn job(id: i64, edition: i64, revision: i64, doubtful: bool) -> Job {
    Job {
        held: Claimed { id: DeliveryId(id), edition, ..held(doubtful) },
        sending: sending(edition, revision),
        newsletter: Arc::new(newsletter("UTC", "0 0 5 * * *", "")),
        choices: Vec::new(),
        route: None,
        nowhere: None,
        share: None,
        spread: 0,
    }
}

fn ids(jobs: &[Job]) -> Vec<i64> {
    jobs.iter().map(|job| job.held.id.0).collect()
}

/// A relay with a lane where these wait.
fn with(jobs: Vec<Job>) -> (Relay, Arc<Lane>) {
    let relay = relay(false);
    let lane = relay.lane("", &Providers::built_in());
    assert!(lane.take_in(jobs, 0).is_empty());
    (relay, lane)
}

type Ends = fn(&Relay) -> Vec<Job>;

#[tokio::test(start_paused = true)]
async fn p1_what_waits_for_a_relay_that_takes_nothing_comes_back_and_so_does_what_was_in_hand() {
    let ends: [(&str, Duration, Ends); 3] = [
        ("down", Duration::from_secs(1), |relay| relay.down().0),
        ("refused", Duration::from_secs(600), |relay| relay.refused(Duration::from_secs(600)).0),
        ("paused", Duration::from_secs(60), |relay| {
            relay.pause_until(Some(Instant::now() + Duration::from_secs(60)))
        }),
    ];
    for (what, length, end) in ends {
        let (relay, lane) = with((1..=3).map(|id| job(id, 1, 1, false)).collect());
        let Next::Job(in_hand) = relay.next(&lane, None, false, 0) else { panic!("{what}: it is up") };
        let sent = [sending(1, 1)];
        assert_eq!(ids(&relay.recall(&sent, 0)), [0; 0], "{what}: nothing comes back of one that is up");
        assert_eq!(ids(&end(&relay)), [2, 3], "{what}");
        let blocked = Instant::now();
        assert!(!relay.is_up(0), "{what}");
        // A worker had it, and could not go on with it: nobody else looks at this relay for as long as it is away.
        lane.return_one(*in_hand);
        let Next::NotBefore(until) = relay.next(&lane, None, false, 0) else { panic!("{what}: it is away") };
        assert_eq!(until - blocked, length, "{what}");
        assert_eq!(ids(&relay.recall(&sent, 0)), [1], "{what}");
        assert_eq!(relay.waiting(), 0, "{what}");
        tokio::time::advance(length + Duration::from_millis(1)).await;
        assert!(relay.is_up(0), "{what}: it is back");
        lane.return_one(job(4, 1, 1, false));
        assert_eq!(ids(&relay.recall(&sent, 0)), [0; 0], "{what}: it is back");
        assert!(matches!(relay.next(&lane, None, false, 0), Next::Job(_)), "{what}: it is back");
    }
}

type Before = fn(&Relay);

#[tokio::test(start_paused = true)]
async fn a_refusal_is_news_unless_one_is_in_force_whatever_else_keeps_the_relay_from_mail() {
    const TEN_MINUTES: Duration = Duration::from_secs(600);
    let in_ledger = |relay: &Relay| drop(relay.pause_until(Some(Instant::now() + TEN_MINUTES)));
    let before: [(&str, Before); 3] = [
        ("nothing before it", |_| ()),
        ("another connection was lost", |relay| drop(relay.down())),
        ("an operator paused it", |relay| drop(relay.pause_until(Some(Instant::now() + TEN_MINUTES * 2)))),
    ];
    for (what, before) in before {
        let (relay, _) = with(Vec::new());
        before(&relay);
        assert!(relay.refused(TEN_MINUTES).1, "{what}");
        assert!(!relay.refused(TEN_MINUTES).1, "{what}: the other connections heard the same");
        in_ledger(&relay);
        assert!(!relay.refused(TEN_MINUTES).1, "{what}: and so when the ledger knows it");
        in_ledger(&relay);
        relay.pause_until(None);
        assert!(relay.refused(TEN_MINUTES).1, "{what}: somebody ended the pause, and it refuses us again");
        tokio::time::advance(TEN_MINUTES).await;
        assert!(relay.refused(TEN_MINUTES).1, "{what}: the pause was over");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_ledger_knows_ends_with_the_ledgers_word_and_one_that_it_does_not_know_lasts() {
    let (relay, _) = with(Vec::new());
    relay.refused(Duration::from_secs(600));
    assert!(relay.pause_until(None).is_empty());
    assert!(!relay.is_up(0), "the ledger does not know of it yet");
    // Whichever look finds it there first, nobody has to tell the relay that it was written.
    relay.pause_until(Some(Instant::now() + Duration::from_secs(600)));
    assert!(!relay.is_up(0), "now it does");
    relay.pause_until(None);
    assert!(relay.is_up(0), "an operator let it go on");
}

#[tokio::test(start_paused = true)]
async fn p4_what_was_held_or_corrected_comes_back_and_the_rest_keeps_its_place() {
    let mut jobs = vec![job(1, 1, 1, false), job(2, 2, 1, false), job(3, 3, 1, false), job(4, 2, 1, true)];
    jobs.extend([job(5, 3, 1, false), job(6, 1, 1, true), job(7, 2, 2, false)]);
    let (relay, lane) = with(jobs);
    // The first edition is held, the second was corrected, nothing happened to the third.
    let back = relay.recall(&[sending(2, 2), sending(3, 1)], 0);
    assert_eq!(ids(&back), [1, 2, 6], "in doubt, the corrected one repeats what it carried");
    let mut left = Vec::new();
    while let Next::Job(job) = relay.next(&lane, None, false, 0) {
        left.push(job.held.id.0);
    }
    assert_eq!(left, [3, 4, 5, 7]);
}

#[tokio::test(start_paused = true)]
async fn p4_every_lane_gives_back_what_waits_there() {
    let relay = relay(true);
    let lanes = ["one", "two"].map(|provider| relay.lane(provider, &Providers::built_in()));
    let ends: [(&str, Ends); 4] = [
        ("held", |relay| relay.recall(&[], 0)),
        ("refused", |relay| relay.refused(Duration::from_secs(1)).0),
        ("put back while nothing is given to it", |relay| relay.recall(&[sending(1, 1)], 0)),
        ("closed", Relay::close),
    ];
    for (what, end) in ends {
        for (id, lane) in (1..).zip(&lanes) {
            lane.return_one(job(id, 1, 1, false));
        }
        assert_eq!(ids(&end(&relay)), [1, 2], "{what}");
        assert_eq!(relay.waiting(), 0, "{what}");
    }
    assert!(matches!(relay.next(&lanes[0], None, false, 0), Next::Closed));
}

#[tokio::test(start_paused = true)]
async fn p1_what_a_lane_cannot_do_soon_any_more_does_not_wait_for_it() {
    let usual = (1..=100).map(|id| job(id, 1, 1, false));
    let lane = relay(true).lane("one", &Providers::built_in());
    assert!(lane.take_in(usual.collect(), 0).is_empty());
    let surplus = || lane.surplus(0).into_iter().map(|(job, wait)| (job.held.id.0, wait)).unzip();
    let (ids, _): (Vec<i64>, Vec<Duration>) = surplus();
    assert_eq!(ids, [0; 0], "it can do all of it within two seconds");
    let slowed = limit::Limit {
        interval: Some(100_000),
        holds_until: 60_000,
        signalled_at: 1,
        ..limit::Limit::default()
    };
    lane.bucket.renew(slowed, 0);
    let (ids, waits) = surplus();
    assert_eq!(ids, (21..=100).collect::<Vec<_>>(), "ten a second");
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "each has a moment of its own: {waits:?}");
    assert_eq!(waits[0], Duration::from_millis(2_100), "behind those that stay");
    assert_eq!(surplus().0, [0; 0], "the rest can stay");
    let suspended = limit::Limit { suspended_until: Some(60_000), signalled_at: 2, ..slowed };
    lane.bucket.renew(suspended, 0);
    let (ids, waits) = surplus();
    assert_eq!(ids, (1..=20).collect::<Vec<_>>());
    assert!(waits[0] >= Duration::from_secs(60), "nothing before it may go on: {waits:?}");
}

/// To a provider of this name.
fn way(provider: &str) -> Arc<Route> {
    let (hosts, domain) = (Vec::new(), Domain::default());
    Arc::new(Route { provider: provider.to_owned(), hosts, secure: false, domain })
}

#[tokio::test(start_paused = true)]
async fn v7_what_a_lane_or_its_relay_could_not_take_now_is_known_before_it_has_a_share() {
    let slow = Some(way("one"));
    let relay = relay(true);
    let lane = relay.lane("one", &Providers::built_in());
    let some = || {
        let mut jobs: Vec<Job> = (1..=250).map(|id| job(id, 1, 1, false)).collect();
        jobs[0].route = slow.clone();
        jobs
    };
    assert_eq!(lane.down(slow.as_ref()).1, Duration::from_secs(1));
    let (fit, others) = relay.sift(&lane, some(), 0);
    assert_eq!(ids(&fit), (2..=201).collect::<Vec<_>>(), "as many as it can begin soon");
    assert_eq!(others[0].1, Some(Duration::from_secs(1)), "who is away is not tried");
    assert_eq!(others.len(), 50);
    assert_eq!(lane.waiting(), 0, "nothing waits there yet");
    relay.down();
    let (fit, others) = relay.sift(&lane, some(), 0);
    assert_eq!((fit.len(), others.len()), (0, 250), "the relay itself is away");
    assert!(others.iter().all(|(_, wait)| wait.is_none()));
}

#[tokio::test(start_paused = true)]
async fn v7_a_share_that_came_back_is_had_again_where_it_was_taken_and_counts_once() {
    let (_, lane) = with(Vec::new());
    let (day, other) = ("2026-12-01".parse().unwrap(), "2026-12-02".parse().unwrap());
    assert!(lane.taken_back(day, 2).is_empty());
    drop((0..3).map(|_| Share::of(&lane, day)).collect::<Vec<_>>());
    assert!(lane.taken_back(other, 2).is_empty(), "of another day's cap");
    let again = lane.taken_back(day, 2);
    assert_eq!(again.len(), 2);
    again.into_iter().for_each(Share::spend);
    let last = lane.taken_back(day, 2);
    assert_eq!(last.len(), 1);
    assert!(lane.said().is_nothing(), "nothing is left to be told");
    drop(last);
    assert_eq!(lane.said().back, [(day, 1)].into());
}

#[tokio::test(start_paused = true)]
async fn p1_what_a_worker_that_is_crowded_out_had_stays_where_another_works_and_comes_back_where_none_does() {
    let (_, lane) = with((1..=4).map(|id| job(id, 1, 1, false)).collect());
    assert_eq!(lane.wanted_workers(2, 0), 2);
    // Both had a message in hand when they found that every connection is another daemon's.
    assert_eq!(
        ids(&lane.crowded_out(job(5, 1, 1, false), Duration::from_secs(1))),
        [0; 0],
        "the other one takes it"
    );
    assert_eq!(lane.waiting(), 5);
    assert_eq!(
        ids(&lane.crowded_out(job(6, 1, 1, false), Duration::from_secs(1))),
        [6, 5, 1, 2, 3, 4],
        "nobody is left to take it"
    );
    assert_eq!(lane.waiting(), 0);
    // What comes now finds somebody, though the others have every connection still.
    assert!(lane.take_in(vec![job(7, 1, 1, false)], 0).is_empty());
    assert_eq!(lane.wanted_workers(2, 0), 1);
}

#[tokio::test(start_paused = true)]
async fn p1_of_the_workers_of_a_lane_that_is_slowed_no_more_end_than_are_too_many() {
    let (_, lane) = with((1..=4).map(|id| job(id, 1, 1, false)).collect());
    assert_eq!(lane.wanted_workers(2, 0), 2);
    let slowed = limit::Limit {
        connections: Some(1),
        holds_until: 60_000,
        signalled_at: 1,
        ..limit::Limit::default()
    };
    lane.bucket.renew(slowed, 0);
    // Both looked before either of them ended.
    assert!(lane.is_crowded(0));
    assert!(lane.retire_if_crowded(0));
    assert!(!lane.retire_if_crowded(0), "one connection may be");
    assert!(!lane.retire_if_idle(), "messages wait");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_connection_is_seen_by_those_that_have_nothing_to_do() {
    let (relay, lane) = with(Vec::new());
    let mut kept = vec![relay.permit().await, relay.permit().await];
    assert!(!relay.is_wanted());
    let woken = lane.woken();
    let mut waits = std::pin::pin!(relay.permit());
    assert!(futures_util::poll!(waits.as_mut()).is_pending());
    woken.await;
    assert!(relay.is_wanted());
    kept.pop();
    drop(waits.await);
    assert!(!relay.is_wanted());
    kept.push(relay.permit().await);
    let mut given_up = Box::pin(relay.permit());
    assert!(futures_util::poll!(given_up.as_mut()).is_pending());
    drop(given_up);
    assert!(!relay.is_wanted(), "nobody waits any more");
}

#[tokio::test(start_paused = true)]
async fn p5_who_led_nowhere_has_a_quarter_of_the_connections_and_the_others_have_all() {
    let of = |connections| Relay::new(config::Relay { connections, ..relay(true).config });
    for (connections, quarter) in [(1, 1), (4, 1), (100, 25)] {
        let relay = of(connections);
        let again: Vec<_> = std::iter::from_fn(|| relay.permit_to_try_again()).collect();
        assert_eq!(again.len(), quarter, "of {connections}");
        let all: Vec<_> = (0..connections).map(|_| relay.permit()).collect();
        let all = futures_util::future::join_all(all);
        tokio::time::timeout(Duration::from_secs(1), all).await.expect("none of them is taken");
        drop(again);
        assert!(relay.permit_to_try_again().is_some(), "whoever was reached has given it back");
    }
}

#[tokio::test(start_paused = true)]
async fn p5_a_way_that_has_a_rest_is_not_tried_meanwhile_and_others_go_on() {
    let (dead, other) = (Some(way("dead")), Some(way("other")));
    let on = |id, route: &Option<Arc<Route>>| Job { route: route.clone(), ..job(id, 1, 1, false) };
    let lane = relay(true).lane("one", &Providers::built_in());
    assert!(lane.take_in(vec![on(1, &dead), on(2, &other), on(3, &dead)], 0).is_empty());
    assert!(!lane.is_doubtful(dead.as_ref()), "nobody tried it yet");
    assert_eq!(ids(&lane.rests(dead.as_ref(), Duration::from_secs(15))), [1, 3]);
    let later = lane.take_in(vec![on(4, &dead), on(5, &other)], 0);
    let later: Vec<_> = later.iter().map(|(job, wait)| (job.held.id.0, *wait)).collect();
    assert_eq!(later, [(4, Duration::from_secs(15))]);
    assert_eq!(lane.waiting(), 2);
    tokio::time::advance(Duration::from_secs(15)).await;
    assert_eq!(
        lane.down(dead.as_ref()).1,
        Duration::from_secs(1),
        "a rest says nothing of those who are there"
    );
    assert!(lane.is_doubtful(dead.as_ref()) && !lane.is_doubtful(other.as_ref()));
    lane.up(dead.as_ref());
    assert!(!lane.is_doubtful(dead.as_ref()), "they answered");
}

#[tokio::test(start_paused = true)]
async fn p5_what_is_late_by_now_does_not_wait_for_its_turn() {
    let late = Job { held: Claimed { deadline: 100, ..job(2, 1, 1, false).held }, ..job(2, 1, 1, false) };
    let (relay, _) = with(vec![job(1, 1, 1, false), late, job(3, 1, 1, false)]);
    assert_eq!(ids(&relay.recall(&[sending(1, 1)], 99)), [0; 0]);
    assert_eq!(ids(&relay.recall(&[sending(1, 1)], 100)), [2]);
}

#[tokio::test(start_paused = true)]
async fn p2_a_relay_is_asked_whether_it_is_there_once_a_minute_and_not_while_it_is_at_work() {
    let (relay, lane) = with(vec![job(1, 1, 1, false)]);
    assert!(!relay.may_be_asked(0), "something waits for it");
    assert_eq!(lane.wanted_workers(1, 0), 1);
    let Next::Job(in_hand) = relay.next(&lane, None, false, 0) else { panic!("it is up") };
    assert!(!relay.may_be_asked(0), "a worker has it in hand");
    drop(in_hand);
    assert!(lane.retire_if_idle());
    assert!(relay.may_be_asked(0));
    assert!(!relay.may_be_asked(0), "just now");
    tokio::time::advance(Duration::from_secs(60)).await;
    relay.down();
    assert!(!relay.may_be_asked(0), "it is known to be away for a moment more");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(relay.may_be_asked(0));
}

#[tokio::test(start_paused = true)]
async fn how_long_somebody_could_not_be_reached_is_remembered_until_they_are_tried_again() {
    let (_, lane) = with(Vec::new());
    let minute = Duration::from_secs(60);
    tokio::time::advance(minute * 2).await;
    assert!(lane.is_idle(minute));
    assert_eq!(lane.down(None).1, Duration::from_secs(1));
    tokio::time::advance(minute * 2).await;
    assert!(!lane.is_idle(minute), "they come back after their rest, and are away for longer then");
    assert_eq!(lane.down(None).1, Duration::from_secs(2));
    tokio::time::advance(minute * 6).await;
    assert!(lane.is_idle(minute), "nobody writes to them any more");
}

#[tokio::test(start_paused = true)]
async fn p1_what_a_slow_relay_cannot_begin_soon_leaves_by_another_where_there_is_one() {
    let other = Arc::new(relay(false));
    let with_choice = |id| Job { choices: vec![other.clone()], ..job(id, 1, 1, false) };
    let (relay, lane) = with((1..=10).map(with_choice).chain([job(11, 1, 1, false)]).collect());
    assert!(relay.surplus(&lane, 0).is_empty(), "nothing limits it");
    let slowed = limit::Limit {
        interval: Some(1_000_000),
        holds_until: 60_000,
        signalled_at: 1,
        ..limit::Limit::default()
    };
    relay.bucket.renew(slowed, 0);
    other.bucket.renew(slowed, 0);
    assert!(relay.surplus(&lane, 0).is_empty(), "the other one is as slow");
    other.bucket.renew(limit::Limit { signalled_at: 2, ..limit::Limit::default() }, 0);
    let (jobs, waits): (Vec<Job>, Vec<Duration>) = relay.surplus(&lane, 0).into_iter().unzip();
    assert_eq!(
        ids(&jobs),
        [5, 6, 7, 8, 9, 10],
        "twice as many as it has connections stay, and what has no choice"
    );
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
    assert!(relay.surplus(&lane, 0).is_empty(), "the rest can stay");
}
