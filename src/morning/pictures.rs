//! The pictures of an edition, brought in before it is frozen: ours to serve, or left where they are.
//!
//! A mail has few of them and stays light (M14): the lead's first, then later ones with an item between. What cannot be
//! had, or would be too heavy beside the others, is left out, and nothing stands in its place.

use std::time::Duration;

use super::{House, Result};
use crate::articles::fetch::Fetcher;
use crate::articles::picture;
use crate::config::{Images, Newsletter};
use crate::mail::Content;
use crate::mail::content::Image;

/// A picture that takes longer is left out: the lock does not wait for it.
const LIMIT: Duration = Duration::from_secs(10);
/// M14: all pictures of a mail together.
const HEAVIEST: u64 = 200_000;
const ENDINGS: [&str; 4] = [".jpg", ".jpeg", ".png", ".gif"];

/// Puts each picture's own address in its place: one of ours, or its source's, or no picture at all.
pub(super) async fn place(house: &House, newsletter: &Newsletter, content: &mut Content) -> Result<()> {
    if newsletter.pictures == 0 || content.items.iter().all(|item| item.image.is_none()) {
        content.items.iter_mut().for_each(|item| item.image = None);
        return Ok(());
    }
    let fetcher =
        Fetcher::new(&house.config.fetch).map_err(|error| super::Error::Start(error.to_string()))?;
    let mut room = Room::new(newsletter.pictures);
    for item in &mut content.items {
        let Some(image) = item.image.take() else { continue };
        if !room.takes_after(item.position) {
            continue;
        }
        let placed = match newsletter.images {
            Images::Leave => Some(image).filter(|image| is_for_mail(&image.url)),
            Images::Serve => served(house, &fetcher, image).await?,
        };
        item.image = placed.filter(|image| room.take(item.position, image.bytes.unwrap_or_default()));
    }
    Ok(())
}

/// The picture as we serve it.
async fn served(house: &House, fetcher: &Fetcher, mut image: Image) -> Result<Option<Image>> {
    let kept = picture::get(&house.db, &house.clock, fetcher, &image.url, LIMIT).await?;
    Ok(kept.map(|kept| {
        image.url = format!("{}/i/{}.{}", house.config.web.base(), kept.hash, kept.kind.ending());
        (image.width, image.height, image.bytes) = (Some(kept.width), Some(kept.height), Some(kept.bytes));
        image
    }))
}

/// How many more pictures a mail takes, and how heavy.
#[derive(Debug)]
struct Room {
    pictures: u32,
    bytes: u64,
    /// The item of the last one.
    last: Option<u32>,
}

impl Room {
    fn new(pictures: u32) -> Self {
        Self { pictures, bytes: HEAVIEST, last: None }
    }

    /// Whether this item may have one: not when the item before has.
    fn takes_after(&self, position: u32) -> bool {
        self.pictures > 0 && self.last.is_none_or(|last| position > last + 1)
    }

    fn take(&mut self, position: u32, bytes: u64) -> bool {
        if bytes > self.bytes {
            return false;
        }
        self.pictures -= 1;
        self.bytes -= bytes;
        self.last = Some(position);
        true
    }
}

/// M14: over http(s), and neither WebP nor SVG, which many readers' programs cannot show.
fn is_for_mail(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let web = path.starts_with("https://") || path.starts_with("http://");
    web && ENDINGS.iter().any(|ending| path.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m14_few_pictures_together_light_and_never_two_in_a_row() {
        let placed = |most: u32, weights: &[(u32, u64)]| {
            let mut room = Room::new(most);
            weights
                .iter()
                .filter(|(position, bytes)| room.takes_after(*position) && room.take(*position, *bytes))
                .map(|(position, _)| *position)
                .collect::<Vec<_>>()
        };
        let light: Vec<(u32, u64)> = (1..=7).map(|position| (position, 60_000)).collect();
        assert_eq!(placed(3, &light), [1, 3, 5]);
        assert_eq!(placed(1, &light), [1]);
        assert_eq!(placed(0, &light), [0; 0]);
        assert_eq!(placed(3, &[(1, 90_000), (3, 90_000), (5, 90_000), (6, 15_000)]), [1, 3, 6]);
        assert_eq!(placed(3, &[(2, 90_000), (3, 1), (4, 1)]), [2, 4], "the lead may have none");
    }

    #[test]
    fn m14_no_webp_or_svg_is_left_in_a_mail() {
        for url in ["https://a.example/x.JPG?w=600", "http://a.example/x.png"] {
            assert!(is_for_mail(url), "{url}");
        }
        for url in
            ["https://a.example/x.webp", "https://a.example/x.svg?a.png", "data:image/png;x.png", "//a/x.png"]
        {
            assert!(!is_for_mail(url), "{url}");
        }
    }
}
