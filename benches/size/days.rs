//! One edition after another in the same tables: whether the thirtieth is planned and sent as fast as the first.
//!
//! The first, the last and every tenth are really sent; what the others would leave behind is written at once.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::time::Instant;

use matinale::morning::stage::letter;

use super::sinks::{Kind, Sink};
use super::{Failure, Options, sql};

pub(super) async fn measure(options: &Options, editions: u32) -> Result<(), Failure> {
    let sink = Sink::start(Kind::Fast)?;
    let stage = super::stage(options.postgres.clone(), sink.address()).await?;
    let size = options.subscribers;
    stage.readers(1, size).await?;
    println!("\n{editions} editions to {size} readers");
    println!("  edition   planned          sent");
    let bytes = letter(options.bytes)?.to_bytes();
    let mut first: Option<(f64, f64)> = None;
    for day in 1..=editions {
        let edition = stage.edition(&[("fr".to_owned(), bytes.clone())], i32::try_from(day)? - 1).await?;
        let start = Instant::now();
        let planned = stage.plan(edition).await?;
        let plan = start.elapsed().as_secs_f64();
        if planned != size {
            return Err(format!("{planned} planned of {size}").into());
        }
        stage.start(edition).await?;
        if day != 1 && day != editions && day % 10 != 0 {
            sql::as_sent(&stage.house.db, edition).await?;
            sql::close(&stage.house.db, edition).await?;
            continue;
        }
        let took = super::send(&stage, edition, sink.address(), false).await?.as_secs_f64();
        let rate = size as f64 / took;
        sql::close(&stage.house.db, edition).await?;
        let (first_plan, first_rate) = *first.get_or_insert((plan, rate));
        println!(
            "  {day:>7}   {plan:>5.2} s x{:.2}   {rate:>6.0}/s x{:.2}",
            plan / first_plan,
            rate / first_rate
        );
    }
    stage.strike().await?;
    Ok(())
}
