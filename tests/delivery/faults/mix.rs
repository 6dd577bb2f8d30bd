//! What a seed picks: faults of the server, faults of ours, and what people do meanwhile.

use std::collections::{HashMap, VecDeque};

use matinale::clock::Random;

use crate::support::databases;
use crate::support::faulty::{Fault, Offer, Opening, Phase, Step, Stray};

pub(super) const READERS: u64 = 200;

/// What goes wrong on our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ours {
    Nothing,
    /// The disk is full for a while (SQLite).
    Disk,
    /// Every connection to the database breaks, again and again (PostgreSQL).
    Cut,
    /// Answers to COMMIT are lost, and COMMITs themselves (PostgreSQL).
    Commits,
    /// The database server is stopped and started again (PostgreSQL).
    Restarted,
    /// The clock steps forward and back.
    Clock,
    /// The clock steps beyond every deadline, and stays there.
    Late,
    /// Two daemons; one after the other is believed dead although it lives.
    Fenced,
    /// The daemon dies in the middle, and another comes.
    Killed,
}

const OF_SQLITE: [Ours; 6] = [Ours::Nothing, Ours::Disk, Ours::Clock, Ours::Late, Ours::Fenced, Ours::Killed];
const OF_POSTGRES: [Ours; 8] = [
    Ours::Nothing,
    Ours::Cut,
    Ours::Commits,
    Ours::Restarted,
    Ours::Clock,
    Ours::Late,
    Ours::Fenced,
    Ours::Killed,
];

/// What a person does meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// The edition is held for a while.
    Hold,
    /// These readers say goodbye.
    Leave(Vec<String>),
    /// These addresses are suppressed.
    Suppress(Vec<String>),
}

/// One seed's mix.
pub(super) struct Mix {
    pub(super) seed: u64,
    pub(super) ours: Ours,
    pub(super) postgres: bool,
    pub(super) offer: Offer,
    pub(super) connections: u64,
    pub(super) addresses: Vec<String>,
    pub(super) scripts: HashMap<String, VecDeque<Step>>,
    pub(super) openings: VecDeque<Opening>,
    pub(super) strays: Vec<Stray>,
    /// The moments, in tries seen by the server, at which something happens on our side.
    pub(super) moments: Vec<u64>,
    /// What people do, each after so many tries.
    pub(super) deeds: Vec<(u64, Deed)>,
    /// Whether what is in doubt rests for an operator, who has it sent again at the end.
    pub(super) hold_uncertain: bool,
}

fn pick<T: Clone>(random: &Random, of: &[T]) -> T {
    let at = usize::try_from(random.between(0, of.len() as u64)).unwrap();
    of[at].clone()
}

impl Mix {
    pub(super) fn of(seed: u64) -> Self {
        let random = Random::seeded(seed);
        let postgres = seed % 2 == 1 && databases::postgres_wanted();
        let kind = usize::try_from(seed / 2).unwrap();
        let ours =
            if postgres { OF_POSTGRES[kind % OF_POSTGRES.len()] } else { OF_SQLITE[kind % OF_SQLITE.len()] };
        let offer = Offer {
            pipelining: random.between(0, 4) > 0,
            starttls: random.between(0, 4) == 0,
            ..Offer::default()
        };
        let addresses: Vec<String> = (0..READERS).map(|n| format!("n{n}@example.org")).collect();
        let share = random.between(5, 40);
        let scripts = addresses
            .iter()
            .filter(|_| random.between(0, 100) < share)
            .map(|to| (to.clone(), (0..=random.between(0, 3)).map(|_| step(&random)).collect()))
            .collect();
        let openings = (0..random.between(0, 6)).map(|_| opening(&random, offer.starttls)).collect();
        let strays = strays(&random);
        let mut moments: Vec<u64> = (0..3).map(|_| random.between(1, READERS)).collect();
        moments.sort_unstable();
        let connections = random.between(3, 9);
        let deeds = deeds(&random, &addresses);
        let hold_uncertain = random.between(0, 4) == 0;
        Self {
            seed,
            ours,
            postgres,
            offer,
            connections,
            addresses,
            scripts,
            openings,
            strays,
            moments,
            deeds,
            hold_uncertain,
        }
    }
}

/// Faults at commands that belong to nobody.
fn strays(random: &Random) -> Vec<Stray> {
    let mut out = Vec::new();
    for (verb, most) in [("MAIL", 40), ("RSET", 4), ("QUIT", 4)] {
        for _ in 0..random.between(0, 4) {
            let nth = u32::try_from(random.between(1, most * 3)).unwrap();
            let fault = fault(random, &["451 4.3.0 not now\r\n", "452 4.3.1 no room\r\n"]);
            out.push(Stray { verb, nth, fault });
        }
    }
    out
}

/// Two seeds of three have people in them.
fn deeds(random: &Random, addresses: &[String]) -> Vec<(u64, Deed)> {
    if random.between(0, 3) == 0 {
        return Vec::new();
    }
    let mut out: Vec<(u64, Deed)> = (0..random.between(1, 5))
        .map(|_| {
            let who = (0..random.between(1, 9)).map(|_| pick(random, addresses)).collect();
            let deed = match random.between(0, 3) {
                0 => Deed::Hold,
                1 => Deed::Leave(who),
                _ => Deed::Suppress(who),
            };
            (random.between(1, READERS), deed)
        })
        .collect();
    out.sort_by_key(|(moment, _)| *moment);
    out
}

fn opening(random: &Random, starttls: bool) -> Opening {
    use Opening as O;
    let all = [O::Slow, O::Hang, O::Close, O::Half, O::Junk, O::Refused, O::CloseAtEhlo, O::HangAtEhlo];
    match random.between(0, 5) {
        0 if starttls => pick(random, &[O::NoHandshake, O::HangAtHandshake, O::CloseAtStarttls]),
        0..=2 => O::Slow,
        _ => pick(random, &all),
    }
}

fn fault(random: &Random, replies: &[&str]) -> Fault {
    match random.between(0, 15) {
        0 => Fault::Hang,
        1 | 2 => Fault::Close,
        3 => Fault::Half,
        4 => Fault::Junk,
        5 => Fault::Goodbye,
        6 => Fault::Drip,
        7 => Fault::Lines,
        8 => Fault::Garble,
        _ => Fault::Reply(pick(random, replies).to_owned()),
    }
}

fn step(random: &Random) -> Step {
    // What speaks of us would stop the run; `replies.rs` plays that.
    const RCPT: [&str; 6] = [
        "550 5.1.1 no such user\r\n",
        "550-5.2.1 this mailbox\r\n550 5.2.1 is inactive\r\n",
        "451 4.7.1 greylisted\r\n",
        "450-4.2.0 one\r\n450-4.2.0 two\r\n450 4.2.0 three\r\n",
        "452 4.2.2 mailbox full\r\n",
        "552 5.2.2 mailbox full\r\n",
    ];
    const DATA: [&str; 2] = ["451 4.3.0 not now\r\n", "452 4.3.1 no room\r\n"];
    const DOT: [&str; 4] = [
        "451 4.3.0 later\r\n",
        "554 5.7.1 policy says no\r\n",
        "452-4.2.2 mailbox\r\n452 4.2.2 full\r\n",
        "550 5.1.1 no such user after all\r\n",
    ];
    let (phase, fault) = match random.between(0, 10) {
        0..=3 => (Phase::Rcpt, fault(random, &RCPT)),
        4 => (Phase::Data, fault(random, &DATA)),
        5 => (Phase::Body, pick(random, &[Fault::Close, Fault::Hang])),
        _ => (Phase::Dot, fault(random, &DOT)),
    };
    let silent = matches!(fault, Fault::Hang | Fault::Close | Fault::Half | Fault::Junk | Fault::Garble);
    let good = matches!(fault, Fault::Drip | Fault::Lines);
    let taken = phase == Phase::Dot && (good || (silent && random.between(0, 2) == 0));
    Step { phase, fault, taken }
}
