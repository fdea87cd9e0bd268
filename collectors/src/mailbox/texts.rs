//! Many short texts that live as long as the run, in few allocations.
//!
//! Each in an allocation of its own would lie between the large buffers of the batches, and the allocator could
//! give none of those back: over 60,000 mails the program was half as large again.

/// Bytes of a chunk.
const CHUNK: usize = 64 << 10;

/// Texts, found by what [`add`](Self::add) returned.
#[derive(Default)]
pub(super) struct Texts {
    chunks: Vec<String>,
}

/// A text of [`Texts`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    chunk: u32,
    start: u32,
    end: u32,
}

impl Texts {
    /// Keeps a text.
    pub fn add(&mut self, text: &str) -> Text {
        let fits = |chunk: &String| chunk.capacity() - chunk.len() >= text.len();
        if !self.chunks.last().is_some_and(fits) {
            self.chunks.push(String::with_capacity(CHUNK.max(text.len())));
        }
        let chunk = self.chunks.len().saturating_sub(1) as u32;
        let mut kept = Text {
            chunk,
            start: 0,
            end: 0,
        };
        if let Some(chunk) = self.chunks.last_mut() {
            kept.start = chunk.len() as u32;
            chunk.push_str(text);
            kept.end = chunk.len() as u32;
        }
        kept
    }

    /// A text that was kept.
    pub fn get(&self, text: Text) -> &str {
        self.chunks
            .get(text.chunk as usize)
            .and_then(|chunk| chunk.get(text.start as usize..text.end as usize))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_from_any_chunk() {
        let mut texts = Texts::default();
        let long = "x".repeat(CHUNK + 1);
        let all = ["", "a", &long, "b", "é"].map(str::to_owned);
        let kept: Vec<Text> = all.iter().map(|text| texts.add(text)).collect();
        let found: Vec<&str> = kept.into_iter().map(|text| texts.get(text)).collect();
        assert_eq!(found, all);
    }
}
