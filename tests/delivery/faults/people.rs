//! What readers and operators do in mid-edition, and what may still leave after each of it (P4).

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use matinale::db::{Conn, Tx, on};
use matinale::editions::{self, EditionState, Who};
use matinale::readers::{self, Address, SubscriberId, SubscriptionId};

use super::mix::{Deed, Mix};
use crate::delivery::ground::Bench;
use crate::support::faulty::Faulty;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct People {
    /// Those who said no, and how many whole bodies may have come to each: those that were released before.
    /// `None` while it is not known whether their word was kept.
    pub(super) gone: Mutex<HashMap<String, Option<usize>>>,
    /// Promises that were broken.
    pub(super) wrong: Mutex<Vec<String>>,
}

type Done = Result<(), matinale::db::Error>;

impl People {
    /// Does what the mix says when its moment comes; never ends by itself.
    pub(super) async fn act(&self, mix: &Mix, bench: &Bench, server: &Faulty) {
        for (moment, deed) in &mix.deeds {
            server.until(*moment).await;
            again(|| self.do_it(deed, bench, server)).await;
        }
        std::future::pending::<()>().await;
    }

    async fn do_it(&self, deed: &Deed, bench: &Bench, server: &Faulty) -> Done {
        match deed {
            Deed::Hold => self.hold(bench, server).await,
            Deed::Leave(who) => self.say_no(who, false, bench, server).await,
            Deed::Suppress(who) => self.say_no(who, true, bench, server).await,
        }
    }

    /// Each step is tried until it is done, and none of them twice: a hold whose commit got no answer, or that was
    /// followed by a database that went away, is still theirs to end.
    async fn hold(&self, bench: &Bench, server: &Faulty) -> Done {
        let mut first = true;
        let mut hold = || {
            let first = std::mem::take(&mut first);
            async move {
                let moved = set_state(bench, EditionState::Held).await?;
                // What is held at a second try was held by the first, whose commit got no answer.
                Ok(moved || (!first && is_held(bench).await?))
            }
        };
        if !again(&mut hold).await {
            return Ok(());
        }
        let open = again(|| open_attempts(bench, None)).await;
        let most = server.dots() + open;
        // That nothing happens is seen only by waiting.
        tokio::time::sleep(Duration::from_millis(150)).await;
        let dots = server.dots();
        if dots > most {
            self.wrong.lock().unwrap().push(format!(
                "p4: {dots} bodies ended by the end of a hold, {most} could have been released before it"
            ));
        }
        again(|| set_state(bench, EditionState::Sending)).await;
        Ok(())
    }

    async fn say_no(&self, who: &[String], suppress: bool, bench: &Bench, server: &Faulty) -> Done {
        for address in who {
            self.gone.lock().unwrap().entry(address.clone()).or_default();
            let mut tx = bench.db.write().await?;
            end(&mut tx, address, suppress, bench).await?;
            tx.commit().await?;
        }
        for address in who {
            let open = open_attempts(bench, Some(address)).await?;
            let most = server.dots_to(address) + open;
            let mut gone = self.gone.lock().unwrap();
            // Who says no twice said it the first time.
            gone.entry(address.clone()).or_default().get_or_insert(most);
        }
        Ok(())
    }

    /// What somebody got although they had said no.
    pub(super) fn too_many(&self, address: &str, server: &Faulty) -> Option<String> {
        let most = (*self.gone.lock().unwrap().get(address)?)?;
        let dots = server.dots_to(address);
        (dots > most).then(|| format!("p4: {dots} bodies came, {most} were released before the no"))
    }
}

async fn end(conn: &mut Conn, address: &str, suppress: bool, bench: &Bench) -> Done {
    let parsed: Address = address.parse().unwrap();
    let person = readers::store::find(conn, &parsed).await?.unwrap();
    let now = bench.clock.now();
    if suppress {
        let id = SubscriberId(person.id);
        return readers::store::suppress_subscriber(conn, id, "operator", "by letter", now).await.map(drop);
    }
    for wish in readers::store::subscriptions(conn, person.id, person.id).await? {
        readers::store::end(conn, SubscriptionId(wish.id), "page", now).await?;
    }
    Ok(())
}

/// The database may be away just now: a person would come back as well.
async fn again<T, F>(mut deed: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, matinale::db::Error>>,
{
    loop {
        if let Ok(done) = deed().await {
            return done;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn is_held(bench: &Bench) -> Result<bool, matinale::db::Error> {
    let edition = editions::store::load(&mut bench.db.read().await?, bench.edition).await?;
    Ok(edition.state == EditionState::Held)
}

/// Moves the edition as its desk would; `false` where it is not in the state before.
async fn set_state(bench: &Bench, to: EditionState) -> Result<bool, matinale::db::Error> {
    let mut tx = bench.db.write().await?;
    let edition = editions::store::load(&mut tx, bench.edition).await?;
    let from = if to == EditionState::Held { EditionState::Sending } else { EditionState::Held };
    if edition.state != from {
        return Ok(false);
    }
    let who = Who("desk".to_owned());
    let moved = editions::store::set_state(&mut tx, &edition, to, None, &who, bench.clock.now()).await?;
    tx.notify(matinale::delivery::CHANNEL).await?;
    tx.commit().await?;
    Ok(moved)
}

/// How many attempts may still bring a body, of one reader or of all. Whoever is releasing just now is waited for:
/// its fence holds the daemons' rows, and what it began to look at before our commit counts as released before.
async fn open_attempts(bench: &Bench, address: Option<&str>) -> Result<usize, matinale::db::Error> {
    const STILL: &str = "UPDATE daemon SET lease_until = lease_until";
    const COUNT: &str = "
        SELECT COUNT(*)
        FROM attempt
        WHERE (outcome IS NULL OR outcome = 'uncertain') AND ($1 = '' OR address = $1)";
    let mut tx: Tx = bench.db.write().await?;
    on!(&mut tx, |c| sqlx::query(STILL).execute(c).await.map(drop)?);
    let address = address.unwrap_or_default();
    let count: i64 = on!(&mut tx, |c| sqlx::query_scalar(COUNT).bind(address).fetch_one(c).await?);
    tx.commit().await?;
    Ok(usize::try_from(count).unwrap())
}
