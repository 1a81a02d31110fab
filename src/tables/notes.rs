//! What few PATs have: a secret that was replaced and is still good, and the addresses that requests may come from.
//!
//! Most PATs have neither, so a row has no room for them. They are written into words behind the row's scopes, as domains that no
//! domain ever is: they lie in the shard that the row lies in, are shared and replaced with it, and no look-up of a domain's words
//! ever meets them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cube_wire::Cidr;

use super::shards::Word;

/// Slots of domains are smaller; see [`super::chunked::Chunked::push`], whose slots are records of a snapshot.
const FIRST_MARK: u32 = u32::MAX - 2;
/// A former secret: three words.
const FORMER: u32 = FIRST_MARK;
/// A range of IPv4 addresses: one word.
const RANGE_V4: u32 = FIRST_MARK + 1;
/// A range of IPv6 addresses: two words.
const RANGE_V6: u32 = FIRST_MARK + 2;

/// Payload of a word.
const WORD_BYTES: usize = 12;

/// Most ranges of one PAT: they are compared one after the other, on every request.
pub(super) const RANGES_MAX: usize = 256;

/// A secret that was replaced: its digest, and the Unix second from which it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Former {
    pub(super) digest: [u8; 32],
    pub(super) until: u32,
}

fn push(words: &mut Vec<Word>, mark: u32, payload: &[u8]) {
    for part in payload.chunks(WORD_BYTES) {
        let mut bytes = [0; WORD_BYTES];
        bytes[..part.len()].copy_from_slice(part);
        let (bits, name) = bytes.split_at(8);
        words.push(Word {
            bits: u64::from_le_bytes(*bits.first_chunk().expect("8 bytes")),
            domain: mark,
            name: u32::from_le_bytes(*name.first_chunk().expect("4 bytes")),
        });
    }
}

/// The payload of the words of one note, at most 36 bytes.
fn payload(words: &[Word]) -> [u8; 3 * WORD_BYTES] {
    let mut bytes = [0; 3 * WORD_BYTES];
    for (word, part) in words.iter().zip(bytes.chunks_exact_mut(WORD_BYTES)) {
        let (bits, name) = part.split_at_mut(8);
        bits.copy_from_slice(&word.bits.to_le_bytes());
        name.copy_from_slice(&word.name.to_le_bytes());
    }
    bytes
}

/// Writes a PAT's notes behind its words.
pub(super) fn write(words: &mut Vec<Word>, former: Option<Former>, ranges: &[Cidr]) {
    if let Some(Former { digest, until }) = former {
        let mut bytes = [0; 36];
        bytes[..32].copy_from_slice(&digest);
        bytes[32..].copy_from_slice(&until.to_le_bytes());
        push(words, FORMER, &bytes);
    }
    // In the order of their marks, as all words are in the order of their domains.
    for range in ranges {
        if let IpAddr::V4(network) = range.network() {
            let [a, b, c, d] = network.octets();
            push(words, RANGE_V4, &[a, b, c, d, range.prefix_bits()]);
        }
    }
    for range in ranges {
        if let IpAddr::V6(network) = range.network() {
            let mut bytes = [0; 17];
            bytes[..16].copy_from_slice(&network.octets());
            bytes[16] = range.prefix_bits();
            push(words, RANGE_V6, &bytes);
        }
    }
}

/// A row's words, and its notes.
pub(super) fn split(words: &[Word]) -> (&[Word], &[Word]) {
    // Most rows have no notes: one look at the last word says so.
    match words.last() {
        Some(last) if last.domain >= FIRST_MARK => {
            words.split_at(words.partition_point(|word| word.domain < FIRST_MARK))
        }
        Some(_) | None => (words, &[]),
    }
}

/// The former secret among a row's notes.
pub(super) fn former(notes: &[Word]) -> Option<Former> {
    if notes.first()?.domain != FORMER {
        return None;
    }
    let bytes = payload(&notes[..3]);
    let (digest, until) = bytes.split_first_chunk()?;
    Some(Former { digest: *digest, until: u32::from_le_bytes(*until.first_chunk()?) })
}

/// Whether a request may come from `address`: from any if the notes name no range.
///
/// # Cost
/// A few nanoseconds a range; no allocation.
pub(super) fn admit(notes: &[Word], address: IpAddr) -> bool {
    let mut ranges = ranges(notes).peekable();
    ranges.peek().is_none() || ranges.any(|range| range.contains(address))
}

/// Whether the notes name a range.
pub(super) fn has_ranges(notes: &[Word]) -> bool {
    notes.last().is_some_and(|last| last.domain > FORMER)
}

fn ranges(notes: &[Word]) -> impl Iterator<Item = Cidr> + '_ {
    let of = |mark: u32| {
        let start = notes.partition_point(|word| word.domain < mark);
        let len = notes[start..].partition_point(|word| word.domain == mark);
        &notes[start..start + len]
    };
    let v4 = of(RANGE_V4).iter().filter_map(|word| {
        let [a, b, c, d, bits, ..] = payload(std::slice::from_ref(word));
        Cidr::new(Ipv4Addr::new(a, b, c, d).into(), bits).ok()
    });
    let v6 = of(RANGE_V6).chunks_exact(2).filter_map(|words| {
        let bytes = payload(words);
        let (network, bits) = bytes.split_first_chunk::<16>()?;
        Cidr::new(Ipv6Addr::from(*network).into(), bits[0]).ok()
    });
    v4.chain(v6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(former_secret: Option<Former>, ranges: &[&str]) -> Vec<Word> {
        let mut words = vec![Word { bits: 1, domain: 7, name: 0 }];
        let ranges: Vec<Cidr> = ranges.iter().map(|range| range.parse().unwrap()).collect();
        write(&mut words, former_secret, &ranges);
        assert!(words.is_sorted_by_key(|word| word.domain));
        words
    }

    #[test]
    fn notes_are_read_as_they_were_written_and_are_no_rights() {
        let known = Former { digest: std::array::from_fn(|at| at as u8), until: 0x0102_0304 };
        for former_secret in [None, Some(known)] {
            for texts in [
                &[][..],
                &["10.0.0.0/8"],
                &["::1"],
                &["fd00::/8", "192.0.2.7", "0.0.0.0/0", "2001:db8:1:2:3:4:5:6"],
            ] {
                let words = noted(former_secret, texts);
                let (rights, notes) = split(&words);
                assert_eq!(rights, &words[..1]);
                assert_eq!(former(notes), former_secret);
                assert_eq!(has_ranges(notes), !texts.is_empty());
                let mut read: Vec<_> = ranges(notes).map(|range| range.to_string()).collect();
                let mut said: Vec<_> =
                    texts.iter().map(|text| text.parse::<Cidr>().unwrap().to_string()).collect();
                read.sort();
                said.sort();
                assert_eq!(read, said);
            }
        }
    }

    #[test]
    fn an_address_is_admitted_by_any_range_and_by_none_at_all() {
        let admitted = |ranges: &[&str], address: &str| {
            let words = noted(None, ranges);
            admit(split(&words).1, address.parse().unwrap())
        };
        assert!(admitted(&[], "192.0.2.1"));
        let ranges = ["10.0.0.0/8", "fd00::/8"];
        for (address, inside) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("fd00::1", true),
            ("11.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(admitted(&ranges, address), inside, "{address}");
        }
    }
}
