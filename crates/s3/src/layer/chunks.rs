//! The framing of `aws-chunked` bodies, followed from outside.
//!
//! s3s checks every chunk, but takes the end of the body for its last chunk when the announced number of bytes has come. S3 does not.

/// Follows the chunks of a body as it passes. What is not framed at all is left to s3s to refuse.
#[derive(Debug)]
pub(super) enum Chunks {
    /// In the size of a chunk.
    Size(u64),
    /// Behind the size, in its line.
    Line(u64),
    /// In the bytes of a chunk, or the line break behind them.
    Data(u64),
    /// The last chunk has come.
    Complete,
    /// Not framed.
    Lost,
}

impl Chunks {
    /// At the beginning of a body.
    pub(super) const fn new() -> Self {
        Self::Size(0)
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            bytes = match *self {
                Self::Complete | Self::Lost => return,
                Self::Data(left) => {
                    let skipped = left.min(bytes.len() as u64);
                    *self = if skipped == left { Self::Size(0) } else { Self::Data(left - skipped) };
                    // The number of bytes at hand fits into memory.
                    &bytes[skipped as usize..]
                }
                Self::Line(size) => {
                    if first == b'\n' {
                        *self = if size == 0 { Self::Complete } else { Self::Data(size.saturating_add(2)) };
                    }
                    rest
                }
                Self::Size(size) => {
                    *self = match (char::from(first).to_digit(16), first) {
                        (Some(digit), _) => Self::Size(size.saturating_mul(16).saturating_add(digit.into())),
                        (None, b';' | b'\r') => Self::Line(size),
                        (None, _) => Self::Lost,
                    };
                    rest
                }
            };
        }
    }

    /// Whether the body may end here.
    pub(super) const fn is_complete(&self) -> bool {
        matches!(self, Self::Complete | Self::Lost)
    }
}

#[cfg(test)]
mod tests {
    use super::Chunks;

    #[test]
    fn the_last_chunk_is_seen_wherever_the_bytes_are_cut() {
        let cases: [(&[u8], bool); 8] = [
            (b"3\r\nabc\r\n0\r\n\r\n", true),
            (b"3;chunk-signature=00\r\nabc\r\n0;chunk-signature=00\r\n\r\n", true),
            (b"a\r\n0\r\n0\r\n0\r\n0\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n", true),
            (b"0\r\n\r\n", true),
            (b"3\r\nabc\r\n", false),
            (b"5\r\n0\r\n\r\n", false),
            (b"", false),
            (b"plain text", true),
        ];
        for (body, complete) in cases {
            for step in 1..=body.len().max(1) {
                let mut chunks = Chunks::new();
                body.chunks(step).for_each(|bytes| chunks.update(bytes));
                assert_eq!(chunks.is_complete(), complete, "{:?} by {step}", String::from_utf8_lossy(body));
            }
        }
    }
}
