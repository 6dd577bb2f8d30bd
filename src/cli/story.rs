//! `story`: which articles report the same event, and the editors' word on it.

use jiff::tz::TimeZone;

use super::{Context, Exit, Refusal, Table};
use crate::editions::Who;
use crate::morning::stories::{self, Said};
use crate::morning::words;
use crate::selection::stories::Bond;
use crate::selection::words::{Phrases, put};

/// What `story` takes.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Show the articles of an article's story, and what editors said of them
    Show {
        /// The article's URL
        url: String,
    },
    /// Make these articles a story of their own, apart from all that stand in one story with them now
    Split {
        /// The articles' URLs
        #[arg(required = true)]
        urls: Vec<String>,
    },
    /// Make one story of the stories that these articles stand in now
    Join {
        /// The articles' URLs
        #[arg(required = true, num_args = 2..)]
        urls: Vec<String>,
    },
}

pub(super) async fn run(args: &Args, cx: &Context) -> anyhow::Result<Exit> {
    let house = cx.house().await?;
    match args {
        Args::Show { url } => {
            let story = stories::story(&house, url).await?.map_err(Refusal)?;
            let mut out = cx.out();
            if cx.json {
                out.json(&story)?;
            } else {
                let mut table = Table::new(&["source", "title", "url"]);
                for article in &story.articles {
                    table.row(&[article.source.clone(), article.title.clone(), article.url.clone()]);
                }
                out.table(&table)?;
                // A story is no one newsletter's.
                let phrases = Phrases::of("en");
                for said in &story.said {
                    out.line(&in_words(said, phrases, &TimeZone::UTC))?;
                }
            }
            out.finish()?;
        }
        Args::Split { urls } => {
            let left = stories::split(&house, urls, &Who::command_line()).await?.map_err(Refusal)?;
            cx.say(&format!("Apart from {left} other{} from the next refresh on.", plural(left)));
        }
        Args::Join { urls } => {
            let all = stories::join(&house, urls, &Who::command_line()).await?.map_err(Refusal)?;
            cx.say(&format!("One story of {all} article{} from the next refresh on.", plural(all)));
        }
    }
    Ok(Exit::Done)
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// What an editor said of two articles, as a line in the reader's language and zone.
pub(super) fn in_words(said: &Said, phrases: &Phrases, zone: &TimeZone) -> String {
    let phrase = match said.what {
        Bond::Together => phrases.joined,
        Bond::Apart => phrases.split,
    };
    let at = words::instant(said.at, zone);
    put(phrase, &[("who", &said.who), ("at", &at), ("one", &said.one), ("other", &said.other)])
}
