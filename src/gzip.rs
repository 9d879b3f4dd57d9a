//! Gzip (RFC 1952) of texts that end differently every time.
//!
//! Owns: packing the beginning of a text once ([`Packed`]) and ending it as often as needed: the
//! packed beginning is flushed to a whole byte, and what follows is one stored block of DEFLATE
//! (RFC 1951, 3.2.4) behind it. So an answer of which only the last few hundred bytes are its own
//! costs about as much packed as plain. Refuses: an end that does not fit into a stored block. No
//! neighbours.

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};

/// Magic number, DEFLATE, no flags, no time, no extra flags, system unknown.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// The first byte of a stored block that is the last of its stream.
const LAST_STORED: u8 = 1;
/// Checksum and length.
const TRAILER: usize = 8;

#[derive(Debug, Clone)]
pub struct Packed {
    bytes: Bytes,
    checksum: u32,
    length: u64,
}

impl Packed {
    /// Packs these parts, one after the other; `None` when the packer fails.
    #[must_use]
    pub fn new(parts: [&[u8]; 2]) -> Option<Self> {
        let whole: usize = parts.iter().map(|part| part.len()).sum();
        let mut bytes = Vec::with_capacity(HEAD.len() + whole / 3);
        bytes.extend_from_slice(&HEAD);
        // Without zlib's own head and trailer.
        let mut packer = Compress::new(Compression::fast(), false);
        let mut checksum = crc32fast::Hasher::new();
        for (part, flush) in parts.into_iter().zip([FlushCompress::None, FlushCompress::Sync]) {
            checksum.update(part);
            append(&mut packer, part, flush, &mut bytes)?;
        }
        let length = u64::try_from(whole).ok()?;
        Some(Self { bytes: bytes.into(), checksum: checksum.finalize(), length })
    }

    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The whole gzip member when the text ends with `end`: its beginning, which is shared, and the
    /// rest. `None` when `end` is longer than 65,535 bytes.
    #[must_use]
    pub fn ended(&self, end: &[u8]) -> Option<(Bytes, Bytes)> {
        let length = u16::try_from(end.len()).ok()?;
        let mut checksum = crc32fast::Hasher::new_with_initial_len(self.checksum, self.length);
        checksum.update(end);
        let whole = self.length.wrapping_add(u64::from(length));
        let mut rest = Vec::with_capacity(5 + end.len() + TRAILER);
        rest.push(LAST_STORED);
        rest.extend_from_slice(&length.to_le_bytes());
        rest.extend_from_slice(&(!length).to_le_bytes());
        rest.extend_from_slice(end);
        rest.extend_from_slice(&checksum.finalize().to_le_bytes());
        // Modulo 2^32, as the standard has it.
        let [a, b, c, d, ..] = whole.to_le_bytes();
        rest.extend_from_slice(&[a, b, c, d]);
        Some((self.bytes.clone(), rest.into()))
    }
}

/// Appends what the packer makes of `part`, all of it.
fn append(
    packer: &mut Compress,
    part: &[u8],
    flush: FlushCompress,
    bytes: &mut Vec<u8>,
) -> Option<()> {
    let begin = packer.total_in();
    loop {
        let taken = usize::try_from(packer.total_in() - begin).ok()?;
        let rest = part.get(taken..)?;
        if bytes.capacity() - bytes.len() < 64 {
            bytes.reserve(bytes.len().max(256));
        }
        let status = packer.compress_vec(rest, bytes, flush).ok()?;
        let all_taken = packer.total_in() - begin == u64::try_from(part.len()).ok()?;
        // A flush that left room has nothing more to say.
        let has_room = bytes.len() < bytes.capacity();
        match status {
            Status::Ok | Status::BufError if all_taken && has_room => return Some(()),
            Status::Ok | Status::BufError => {}
            Status::StreamEnd => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn unpacked(packed: &Packed, end: &[u8]) -> Vec<u8> {
        let (beginning, rest) = packed.ended(end).unwrap();
        let whole = [beginning, rest].concat();
        let mut decoder = GzDecoder::new(&whole[..]);
        let mut text = Vec::new();
        decoder.read_to_end(&mut text).unwrap();
        assert!(decoder.into_inner().is_empty(), "something stands behind the member");
        text
    }

    #[test]
    fn one_beginning_has_many_ends() {
        let body = b"breakwater ".repeat(5_000);
        let packed = Packed::new([b"{", &body]).unwrap();
        assert!(packed.size() < body.len() / 10);
        for end in [&b"}"[..], b"", b",\"request_id\":\"1\"}"] {
            assert_eq!(unpacked(&packed, end), [b"{", &body[..], end].concat());
        }
        assert!(packed.ended(&vec![b' '; 65_536]).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_is_packed_unpacks(
            before: Vec<u8>,
            seed in proptest::collection::vec(any::<u8>(), 0..2_000),
            times in 0_usize..40,
            end in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let body = seed.repeat(times);
            let packed = Packed::new([&before, &body]).unwrap();
            prop_assert_eq!(unpacked(&packed, &end), [before, body, end].concat());
        }
    }
}
