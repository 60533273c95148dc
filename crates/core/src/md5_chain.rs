//! MD5 of several contents side by side.
//!
//! Each step of an MD5 waits for the one before, and most of a core idles meanwhile. Four of them step by step next to each other take about
//! as long as one and a half.

use std::{array, iter, slice};

use bytes::Bytes;

/// How many contents are hashed side by side.
pub const MD5_LANES: usize = 4;

const BLOCK_BYTES: usize = 64;
type Block = [u8; BLOCK_BYTES];
/// A word of each of `N` contents.
type Words<const N: usize> = [u32; N];
/// The four words of the chaining value, of each of `N` contents.
type Chains<const N: usize> = [Words<N>; 4];

/// The MD5 of a content so far.
#[derive(Clone, Debug)]
pub struct Md5Chain {
    chain: [u32; 4],
    /// Bytes taken.
    size: u64,
    /// What does not fill a block yet: `size` modulo the size of a block.
    rest: Block,
}

impl Default for Md5Chain {
    fn default() -> Self {
        Self { chain: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476], size: 0, rest: [0; BLOCK_BYTES] }
    }
}

impl Md5Chain {
    /// Takes the next bytes of each of several contents.
    pub fn update_together<'a>(contents: impl IntoIterator<Item = (&'a mut Self, &'a [Bytes])>) {
        let mut waiting = contents.into_iter().map(|(chain, chunks)| Lane { chain, chunks: chunks.iter(), bytes: &[] });
        let mut lanes: Vec<Lane<'_>> = Vec::with_capacity(MD5_LANES);
        loop {
            lanes.retain_mut(Lane::seek);
            while lanes.len() < MD5_LANES
                && let Some(mut lane) = waiting.next()
            {
                if lane.seek() {
                    lanes.push(lane);
                }
            }
            match &mut lanes[..] {
                [] => return,
                [lane] => lane.advance(),
                several => advance_together(several),
            }
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let gap = self.fill(bytes);
        let (blocks, rest) = bytes[gap..].as_chunks();
        self.take(blocks);
        self.fill(rest);
    }

    /// The MD5 of everything taken.
    pub fn finish(mut self) -> [u8; 16] {
        let bits = self.size.wrapping_mul(8);
        // A one, and as many zeros as leave room for the length in the last block.
        let mut end = [0; 2 * BLOCK_BYTES];
        end[0] = 0x80;
        let taken = self.rest_bytes();
        let pad = if taken < BLOCK_BYTES - 8 { BLOCK_BYTES - 8 - taken } else { 2 * BLOCK_BYTES - 8 - taken };
        end[pad..pad + 8].copy_from_slice(&bits.to_le_bytes());
        self.update(&end[..pad + 8]);
        let mut digest = [0; 16];
        digest.as_chunks_mut::<4>().0.iter_mut().zip(self.chain).for_each(|(bytes, word)| *bytes = word.to_le_bytes());
        digest
    }

    fn rest_bytes(&self) -> usize {
        (self.size % BLOCK_BYTES as u64) as usize
    }

    /// Takes what fills the block that was begun, or cannot fill one; gives how many bytes that is.
    fn fill(&mut self, bytes: &[u8]) -> usize {
        let begun = self.rest_bytes();
        let taken = bytes.len().min(BLOCK_BYTES - begun);
        if begun == 0 && taken == BLOCK_BYTES {
            return 0;
        }
        self.rest[begun..begun + taken].copy_from_slice(&bytes[..taken]);
        self.size += taken as u64;
        if begun + taken == BLOCK_BYTES {
            hash(&mut self.chain, slice::from_ref(&self.rest));
        }
        taken
    }

    /// Takes whole blocks, none being begun.
    fn take(&mut self, blocks: &[Block]) {
        hash(&mut self.chain, blocks);
        self.size += (blocks.len() * BLOCK_BYTES) as u64;
    }
}

/// A content that is being hashed.
struct Lane<'a> {
    chain: &'a mut Md5Chain,
    chunks: slice::Iter<'a, Bytes>,
    /// What is left of the latest chunk.
    bytes: &'a [u8],
}

impl Lane<'_> {
    /// Goes on to where whole blocks lie; false at the end.
    fn seek(&mut self) -> bool {
        while self.bytes.len() < BLOCK_BYTES || self.chain.rest_bytes() > 0 {
            if self.bytes.is_empty() {
                let Some(chunk) = self.chunks.next() else { return false };
                self.bytes = chunk;
            }
            self.bytes = &self.bytes[self.chain.fill(self.bytes)..];
        }
        true
    }

    /// Takes all whole blocks of the chunk.
    fn advance(&mut self) {
        let (blocks, rest) = self.bytes.as_chunks();
        self.chain.take(blocks);
        self.bytes = rest;
    }
}

/// Takes as many blocks of each as lie there in all of them. Lanes that nobody has do what the last one does.
fn advance_together(lanes: &mut [Lane<'_>]) {
    let runs: [&[Block]; MD5_LANES] = array::from_fn(|lane| lanes[lane.min(lanes.len() - 1)].bytes.as_chunks().0);
    let count = runs.iter().map(|run| run.len()).min().unwrap_or(0);
    let mut chains: Chains<MD5_LANES> = array::from_fn(|word| array::from_fn(|lane| lanes[lane.min(lanes.len() - 1)].chain.chain[word]));
    for at in 0..count {
        compress(&mut chains, runs.map(|run| &run[at]));
    }
    for (lane, content) in lanes.iter_mut().enumerate() {
        content.chain.chain = chains.map(|word| word[lane]);
        content.chain.size += (count * BLOCK_BYTES) as u64;
        content.bytes = &content.bytes[count * BLOCK_BYTES..];
    }
}

/// Takes blocks of one content.
fn hash(chain: &mut [u32; 4], blocks: &[Block]) {
    let mut chains = chain.map(|word| [word]);
    blocks.iter().for_each(|block| compress(&mut chains, [block]));
    *chain = chains.map(|[word]| word);
}

/// The sines of the steps.
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// Takes a block of each of `N` contents. Written as plain loops, which compile to the fastest code. <https://www.rfc-editor.org/rfc/rfc1321#section-3.4>
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "several arrays at the same place")]
fn compress<const N: usize>(chains: &mut Chains<N>, blocks: [&Block; N]) {
    let mut words = [[0; N]; 16];
    for word in 0..16 {
        for lane in 0..N {
            words[word][lane] = u32::from_le_bytes(blocks[lane].as_chunks().0[word]);
        }
    }
    let mut after = *chains;
    round::<N, 0>(&mut after, &words, [7, 12, 17, 22], |step| step, |b, c, d| d ^ (b & (c ^ d)));
    // A sum, as the two have no bit in common: the half without `b`, which comes last, need not wait for it.
    round::<N, 1>(&mut after, &words, [5, 9, 14, 20], |step| 5 * step + 1, |b, c, d| (d & b).wrapping_add(!d & c));
    round::<N, 2>(&mut after, &words, [4, 11, 16, 23], |step| 3 * step + 5, |b, c, d| b ^ (c ^ d));
    round::<N, 3>(&mut after, &words, [6, 10, 15, 21], |step| 7 * step, |b, c, d| c ^ (b | !d));
    for (chain, after) in iter::zip(chains, after) {
        *chain = array::from_fn(|lane| chain[lane].wrapping_add(after[lane]));
    }
}

/// Sixteen steps: by how much they rotate, which word each takes, and what they mix with.
#[inline(always)]
fn round<const N: usize, const ROUND: usize>(
    chains: &mut Chains<N>,
    words: &[Words<N>; 16],
    turns: [u32; 4],
    word: impl Fn(usize) -> usize,
    mix: impl Fn(u32, u32, u32) -> u32,
) {
    let [mut a, mut b, mut c, mut d] = *chains;
    let step = |step: usize, turn: u32, a: Words<N>, b: Words<N>, c: Words<N>, d: Words<N>| -> Words<N> {
        let (words, sine) = (&words[word(step) % 16], SINES[16 * ROUND + step]);
        let mut sums = [0; N];
        for lane in 0..N {
            let sum = a[lane].wrapping_add(words[lane]).wrapping_add(sine).wrapping_add(mix(b[lane], c[lane], d[lane]));
            sums[lane] = sum.rotate_left(turn).wrapping_add(b[lane]);
        }
        sums
    };
    // Four at a time, so that every word has its name and its turn is constant.
    for quad in 0..4 {
        let at = 4 * quad;
        a = step(at, turns[0], a, b, c, d);
        d = step(at + 1, turns[1], d, a, b, c);
        c = step(at + 2, turns[2], c, d, a, b);
        b = step(at + 3, turns[3], b, c, d, a);
    }
    *chains = [a, b, c, d];
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use md5::{Digest, Md5};

    use super::Md5Chain;

    fn content(size: usize, seed: usize) -> Bytes {
        (0..size).map(|at| (at * 31 + seed * 7 + at / 251) as u8).collect()
    }

    /// `content`, cut into pieces of `piece` bytes.
    fn cut(content: &Bytes, piece: usize) -> Vec<Bytes> {
        (0..content.len()).step_by(piece).map(|at| content.slice(at..content.len().min(at + piece))).collect()
    }

    fn of(content: &Bytes) -> [u8; 16] {
        Md5::digest(content).into()
    }

    #[test]
    fn one_content_has_the_digest_that_everybody_computes() {
        for size in (0..200).chain([4095, 4096, 100_001]) {
            let content = content(size, size);
            for piece in [1, 63, 64, 65, 1000] {
                let mut chain = Md5Chain::default();
                cut(&content, piece).iter().for_each(|bytes| chain.update(bytes));
                assert_eq!(chain.finish(), of(&content), "{size} bytes, {piece} at a time");
            }
        }
    }

    #[test]
    fn contents_side_by_side_have_the_digests_that_they_have_alone() {
        for count in 0..10 {
            let contents: Vec<Bytes> = (0..count).map(|at| content([0, 1, 63, 64, 5000, 70_000, 12_345][at * 3 % 7] + at, at)).collect();
            let pieces: Vec<Vec<Bytes>> =
                contents.iter().zip([7, 64, 100, 4096].iter().cycle()).map(|(content, piece)| cut(content, *piece)).collect();
            let mut chains = vec![Md5Chain::default(); count];
            // In two goes, the second of which begins within a block.
            let halves = || pieces.iter().map(|pieces| pieces.split_at(pieces.len() / 2));
            Md5Chain::update_together(chains.iter_mut().zip(halves().map(|(first, _)| first)));
            Md5Chain::update_together(chains.iter_mut().zip(halves().map(|(_, second)| second)));
            for (chain, content) in chains.into_iter().zip(&contents) {
                assert_eq!(chain.finish(), of(content), "{} bytes, one of {count}", content.len());
            }
        }
    }
}
