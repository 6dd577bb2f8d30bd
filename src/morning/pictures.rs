//! The pictures of an edition, brought in before it is frozen: ours to serve, or left where they are.

use std::time::Duration;

use super::{House, Result};
use crate::articles::fetch::Fetcher;
use crate::articles::picture;
use crate::config::{Images, Newsletter};
use crate::mail::Content;

/// A picture that takes longer is left out: the lock does not wait for it.
const LIMIT: Duration = Duration::from_secs(10);
const ENDINGS: [&str; 4] = [".jpg", ".jpeg", ".png", ".gif"];

/// Puts each picture's own address in its place: one of ours, or its source's, or no picture at all.
pub(super) async fn place(house: &House, newsletter: &Newsletter, content: &mut Content) -> Result<()> {
    if newsletter.images == Images::Leave {
        for item in &mut content.items {
            item.image = item.image.take().filter(|image| is_for_mail(&image.url));
        }
        return Ok(());
    }
    if content.items.iter().all(|item| item.image.is_none()) {
        return Ok(());
    }
    let fetcher =
        Fetcher::new(&house.config.fetch).map_err(|error| super::Error::Start(error.to_string()))?;
    let base = house.config.web.base();
    for item in &mut content.items {
        let Some(mut image) = item.image.take() else { continue };
        if let Some(kept) = picture::get(&house.db, &house.clock, &fetcher, &image.url, LIMIT).await? {
            image.url = format!("{base}/i/{}.{}", kept.hash, kept.kind.ending());
            (image.width, image.height) = (Some(kept.width), Some(kept.height));
            item.image = Some(image);
        }
    }
    Ok(())
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
