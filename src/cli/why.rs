//! `why`: the whole story of one delivery, or of why there is none.

use super::dates::DateArg;
use super::{Context, Exit, Misuse};
use crate::morning;
use crate::readers::Address;

/// What `why` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The subscriber's address
    address: String,
    /// The newsletter's id
    newsletter: String,
    /// The edition's date [default: today]
    #[arg(long)]
    date: Option<DateArg>,
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let newsletter = cx.newsletter(&args.newsletter)?;
    let address: Address =
        args.address.parse().map_err(|error| Misuse(format!("{:?} {error}", args.address)))?;
    let date = args.date.unwrap_or(DateArg::Relative(0)).resolve(cx.clock().civil(), &newsletter.timezone)?;
    let house = cx.house().await?;
    let story = morning::why::why(&house, newsletter, date, &address).await?;
    let mut out = cx.out();
    if cx.json {
        out.json(&serde_json::json!({ "address": address.as_str(), "story": story }))?;
    } else {
        for line in &story {
            out.line(line)?;
        }
    }
    out.finish()?;
    Ok(Exit::Done)
}
