//! What arrived as a picture, made fit for mail: decoded within bounds, at most so wide, JPEG or PNG. Pure.
//!
//! Nothing of the original's bytes is kept, so neither its metadata nor what was hidden in it goes out.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::imageops::FilterType as Resampling;
use image::metadata::Orientation;
use image::{
    DynamicImage, GenericImageView as _, ImageDecoder as _, ImageFormat, ImageReader, Limits, Rgba, RgbaImage,
};
use sha2::{Digest as _, Sha256};

/// Twice the width of a mail: sharp on fine screens.
const WIDEST: u32 = 1_200;
/// A picture higher than this pushes the story off the screen.
const HIGHEST: u32 = 1_600;
/// Narrower is a counter or an ornament, and no picture of anything.
const NARROWEST: u32 = 120;
/// A side of the original, and the memory that decoding may take: a small file can hold a picture of any size.
const MOST_SIDE: u32 = 12_000;
const MOST_ALLOCATED: u64 = 192 << 20;
const MOST_PIXELS: u64 = 40_000_000;
/// M14: what a picture may weigh in a mail, so that two of them stay below 200 KB. Where none of these qualities gets
/// below it, the last one stands.
const HEAVIEST: usize = 90 << 10;
const QUALITIES: [u8; 4] = [82, 74, 66, 56];

/// What a picture was encoded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
}

impl Kind {
    /// The ending of its name.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
        }
    }

    /// `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }

    /// The kind with this ending.
    pub fn of(ending: &str) -> Option<Self> {
        [Self::Jpeg, Self::Png].into_iter().find(|kind| kind.ending() == ending)
    }
}

/// A picture fit for mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitted {
    /// The beginning of the SHA-256 of its bytes.
    pub hash: String,
    /// What it was encoded as.
    pub kind: Kind,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Makes a picture fit for mail.
///
/// # Errors
/// Why it cannot be, in words.
pub fn fit(bytes: &[u8]) -> Result<Fitted, String> {
    let image = decode(bytes)?;
    let (width, height) = image.dimensions();
    if width < NARROWEST || height < NARROWEST / 2 {
        return Err(format!("{width} × {height} pixels are too few"));
    }
    let image = if width > WIDEST || height > HIGHEST {
        image.resize(WIDEST, HIGHEST, Resampling::Lanczos3)
    } else {
        image
    };
    let (kind, bytes) = encode(&image)?;
    let mut hash = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
    hash.truncate(32);
    Ok(Fitted { hash, kind, width: image.width(), height: image.height(), bytes })
}

fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    let words = |error: image::ImageError| error.to_string();
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        return Err("it is neither JPEG, PNG, GIF nor WebP".to_owned());
    }
    // The decoder fills what is missing with grey and says nothing.
    if reader.format() == Some(ImageFormat::Jpeg) && !has_end(bytes) {
        return Err("the file ends before the picture does".to_owned());
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MOST_SIDE);
    limits.max_image_height = Some(MOST_SIDE);
    limits.max_alloc = Some(MOST_ALLOCATED);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(words)?;
    // Before anything is decoded: the header says how large it would become.
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!("{width} × {height} pixels are too many"));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(words)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Whether a JPEG goes on to its end mark. It is looked for where it counts: a thumbnail in the head has one of its own.
fn has_end(jpeg: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // Between a mark and the next lies a segment that says its length, or coded pixels, where FF stands before 00.
        let Some(found) = jpeg.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0xff)) else {
            return false;
        };
        at += found + 1;
        match jpeg.get(at) {
            Some(0xd9) => return true,
            Some(0x00 | 0x01 | 0xd0..=0xd7) => at += 1,
            // Padding: the mark is yet to come.
            Some(0xff) => {}
            Some(_) => {
                let Some([high, low]) = jpeg.get(at + 1..at + 3) else { return false };
                at += 1 + usize::from(u16::from_be_bytes([*high, *low]));
            }
            None => return false,
        }
    }
}

/// PNG where something can be seen through it and it stays light, JPEG otherwise.
fn encode(image: &DynamicImage) -> Result<(Kind, Vec<u8>), String> {
    let seen_through = image.color().has_alpha() && image.pixels().any(|(_, _, Rgba([.., a]))| a < 255);
    if seen_through {
        let mut out = Vec::new();
        let encoder = PngEncoder::new_with_quality(&mut out, CompressionType::Best, FilterType::Adaptive);
        image.to_rgba8().write_with_encoder(encoder).map_err(|error| error.to_string())?;
        if out.len() <= HEAVIEST {
            return Ok((Kind::Png, out));
        }
    }
    let flat = on_white(image);
    let mut out = Vec::new();
    for quality in QUALITIES {
        out.clear();
        flat.write_with_encoder(JpegEncoder::new_with_quality(&mut out, quality))
            .map_err(|error| error.to_string())?;
        if out.len() <= HEAVIEST {
            break;
        }
    }
    Ok((Kind::Jpeg, out))
}

/// JPEG knows nothing to see through.
fn on_white(image: &DynamicImage) -> image::RgbImage {
    if !image.color().has_alpha() {
        return image.to_rgb8();
    }
    let mut paper = RgbaImage::from_pixel(image.width(), image.height(), Rgba([255; 4]));
    image::imageops::overlay(&mut paper, &image.to_rgba8(), 0, 0);
    DynamicImage::ImageRgba8(paper).to_rgb8()
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;

    fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        image.write_to(&mut out, format).unwrap();
        out.into_inner()
    }

    #[test]
    fn m14_whatever_came_leaves_as_a_jpeg_or_png_of_mail_width() {
        let large = DynamicImage::ImageRgb8(RgbImage::from_fn(2_000, 1_000, |x, y| {
            image::Rgb([(x % 251) as u8, (y % 241) as u8, ((x * y) % 239) as u8])
        }));
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
            let fitted = fit(&file(&large, format)).unwrap();
            assert_eq!((fitted.kind, fitted.width, fitted.height), (Kind::Jpeg, 1_200, 600), "{format:?}");
            assert_eq!(image::guess_format(&fitted.bytes).unwrap(), ImageFormat::Jpeg);
        }
        let logo = DynamicImage::ImageRgba8(RgbaImage::from_pixel(300, 100, Rgba([9, 9, 9, 120])));
        let fitted = fit(&file(&logo, ImageFormat::Png)).unwrap();
        assert_eq!((fitted.kind, fitted.width, fitted.height), (Kind::Png, 300, 100));
        assert_eq!(fit(&fitted.bytes).unwrap().hash, fitted.hash, "the same bytes, the same address");
    }

    #[test]
    fn what_is_no_picture_is_refused_in_words() {
        let pixel = DynamicImage::ImageRgb8(RgbImage::new(1, 1));
        assert_eq!(fit(&file(&pixel, ImageFormat::Png)).unwrap_err(), "1 × 1 pixels are too few");
        for junk in [&b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..], b"", b"GIF89a", b"\xff\xd8\xff\xe0"] {
            assert!(fit(junk).is_err());
        }
        let whole = file(&DynamicImage::ImageRgb8(RgbImage::new(400, 400)), ImageFormat::Png);
        assert!(fit(&whole[..whole.len() / 2]).is_err());
    }

    #[test]
    fn m14_a_jpeg_that_was_cut_is_none_whatever_its_head_holds() {
        let noise = RgbImage::from_fn(400, 300, |x, y| image::Rgb([(x * y % 251) as u8, (x % 7) as u8, 9]));
        let whole = file(&DynamicImage::ImageRgb8(noise), ImageFormat::Jpeg);
        // A thumbnail in the head, with an end mark of its own.
        let mut with_thumbnail = whole[..2].to_vec();
        with_thumbnail.extend([0xff, 0xe1, 0, 8, 0xff, 0xd8, 0, 0, 0xff, 0xd9]);
        with_thumbnail.extend(&whole[2..]);
        for jpeg in [&whole, &with_thumbnail] {
            assert!(fit(jpeg).is_ok());
            assert!(fit(&[jpeg, &b"junk behind it"[..]].concat()).is_ok());
            for cut in [jpeg.len() / 3, jpeg.len() / 2, jpeg.len() - 2] {
                let error = fit(&jpeg[..cut]).unwrap_err();
                assert_eq!(error, "the file ends before the picture does", "{cut} of {}", jpeg.len());
            }
        }
    }

    #[test]
    fn p10_a_small_file_that_holds_a_huge_picture_is_refused_before_it_is_decoded() {
        // The header of a PNG may claim any size; its checksum is what a decoder looks at first.
        let mut header = b"IHDR".to_vec();
        header.extend([0, 0, 0x2e, 0xe0, 0, 0, 0x2e, 0xe0, 8, 6, 0, 0, 0]);
        let mut bomb = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
        bomb.extend(&header);
        bomb.extend(crc(&header).to_be_bytes());
        bomb.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
        assert_eq!(fit(&bomb).unwrap_err(), "12000 × 12000 pixels are too many");
    }

    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
                if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 }
            })
        })
    }
}
