//! A photo → a small picture of it, and the hash of what it looks like.
//!
//! - In: the bytes of a picture, and how it is to be turned.
//! - Out: a JPEG of at most [`LONGEST`] pixels a side, turned, and its perceptual hash.
//! - Not here: HEIC, AVIF and raw pixels, which no library at hand decodes.

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use image_hasher::{HashAlg, Hasher, HasherConfig};
use std::io::Cursor;
use std::sync::LazyLock;

/// Pixels of the longer side: enough for a contact sheet, about 12 kB.
const LONGEST: u32 = 320;

/// JPEG quality: no blocks to be seen at this size.
const QUALITY: u8 = 80;

/// Bytes that one decoded picture may take: 64 megapixels of colour. Each thread decodes one at a time.
const MOST_DECODED: u64 = 192 << 20;

/// A small picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Thumbnail {
    pub jpeg: Bytes,
    pub width: u32,
    pub height: u32,
    /// Gradient hash of 8 × 8: bits say whether brightness grows to the right.
    pub hash: i64,
}

/// Makes the small picture.
///
/// # Errors
/// Why the picture could not be decoded.
pub(super) fn of(picture: &[u8], orientation: Option<i64>) -> Result<Thumbnail, String> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_DECODED);
    let mut reader = ImageReader::new(Cursor::new(picture))
        .with_guessed_format()
        .map_err(|error| error.to_string())?;
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let needed = decoder.total_bytes();
    if needed > MOST_DECODED {
        let (width, height) = decoder.dimensions();
        return Err(format!(
            "{width} × {height} pixels need more than {} MiB",
            MOST_DECODED >> 20
        ));
    }
    let image = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    let mut small = if image.width().max(image.height()) > LONGEST {
        image.thumbnail(LONGEST, LONGEST)
    } else {
        image
    };
    let orientation = orientation.and_then(|turn| Orientation::from_exif(u8::try_from(turn).ok()?));
    if let Some(orientation) = orientation {
        small.apply_orientation(orientation);
    }
    let small = small.into_rgb8();
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode_image(&small)
        .map_err(|error| error.to_string())?;
    Ok(Thumbnail {
        jpeg: jpeg.into(),
        width: small.width(),
        height: small.height(),
        hash: hash(&small),
    })
}

fn hash(picture: &image::RgbImage) -> i64 {
    static HASHER: LazyLock<Hasher<[u8; 8]>> = LazyLock::new(|| {
        HasherConfig::with_bytes_type()
            .hash_alg(HashAlg::Gradient)
            .hash_size(8, 8)
            .to_hasher()
    });
    i64::from_be_bytes(HASHER.hash_image(picture).into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageFormat, Rgb, RgbImage};

    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let wave = ((x * 7 / width.max(1)) ^ (y * 5 / height.max(1))) as u8;
            Rgb([wave * 30, (x * 255 / width) as u8, (y * 255 / height) as u8])
        })
    }

    fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn distance(one: i64, other: i64) -> u32 {
        (one ^ other).count_ones()
    }

    #[test]
    fn a_thumbnail_is_small_turned_and_alike_whatever_the_format_and_size() {
        let large = picture(1_600, 1_200);
        let jpeg = of(&encoded(&large, ImageFormat::Jpeg), None).unwrap();
        assert_eq!((jpeg.width, jpeg.height), (320, 240));
        let png = of(&encoded(&large, ImageFormat::Png), None).unwrap();
        assert!(distance(jpeg.hash, png.hash) <= 2);
        let smaller = image::imageops::thumbnail(&large, 400, 300);
        let smaller = of(&encoded(&smaller, ImageFormat::WebP), None).unwrap();
        assert!(distance(jpeg.hash, smaller.hash) <= 4);
        let turned = of(
            &encoded(&image::imageops::rotate270(&large), ImageFormat::Jpeg),
            Some(6),
        )
        .unwrap();
        assert_eq!((turned.width, turned.height), (320, 240));
        assert!(distance(jpeg.hash, turned.hash) <= 4);
        let other = of(
            &encoded(&image::imageops::flip_horizontal(&large), ImageFormat::Jpeg),
            None,
        )
        .unwrap();
        assert!(distance(jpeg.hash, other.hash) > 10);
    }

    #[test]
    fn what_cannot_be_decoded_says_why() {
        let whole = encoded(&picture(64, 64), ImageFormat::Png);
        for bad in [&b""[..], b"no picture", &whole[..whole.len() / 2]] {
            assert!(!of(bad, None).unwrap_err().is_empty());
        }
    }
}
