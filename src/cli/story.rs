//! `story`: which articles report the same event, and the editors' word on it.

use super::{Context, Exit, Refusal, Table};
use crate::editions::Who;
use crate::morning::stories::{self, Said};

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
                for line in story.said.iter().map(in_words) {
                    out.line(&line)?;
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

/// What an editor said of two articles, as a line.
pub(super) fn in_words(said: &Said) -> String {
    format!("{} by {} at {}: {:?} and {:?}", said.what, said.who, said.at, said.one, said.other)
}
