//! The bytes of a file of the spool. Reading knows no key: what it finds is still sealed.

use crate::vault::{NONCE_LEN, TAG_LEN};
use crate::{Result, StoreError};

const MAGIC: &[u8; 7] = b"HVSPL\r\n";
const VERSION: u8 = 1;
/// Bytes before what is sealed: length, index, check.
const RECORD_HEADER: usize = 4 + 8 + 4;
/// Bytes that sealing adds: format of the value, nonce, tag.
const SEALING: usize = 1 + NONCE_LEN + TAG_LEN;
/// Bytes of one entry as JSON, at most: a batch of usual entries of the timeline is far below it.
pub(super) const MAX_PLAIN: usize = 4 * 1024 * 1024;

/// How a file of the spool ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolTail {
    /// After a record.
    Whole,
    /// Inside one, as a killed process or a power cut leaves it. It was not acknowledged.
    Torn,
    /// With something that is no record.
    Damaged,
}

/// What is in a file of the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolContent<'a> {
    /// Whose it is: the identifier of a call or of a wish.
    pub name: &'a str,
    /// The records in order, sealed.
    pub records: Vec<&'a [u8]>,
    /// Where the last whole record ends, in bytes from the beginning.
    pub end: u64,
    /// How the file ends.
    pub tail: SpoolTail,
}

/// Takes the bytes of a file of the spool apart.
///
/// # Errors
/// [`StoreError::Corrupt`] when it does not begin like one, [`StoreError::Unsupported`] when a newer version wrote it. What
/// is wrong after the beginning is told by [`SpoolContent::tail`], with the records before it.
pub fn read(bytes: &[u8]) -> Result<SpoolContent<'_>> {
    let no_spool = || StoreError::corrupt("the beginning of a file of the spool");
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(no_spool)?;
    let (version, rest) = rest.split_first().ok_or_else(no_spool)?;
    if *version != VERSION {
        return Err(StoreError::Unsupported {
            what: "the format of this file of the spool",
            instead: "use the version that wrote it",
        });
    }
    let (length, rest) = rest.split_first().ok_or_else(no_spool)?;
    let (name, mut rest) = rest.split_at_checked(usize::from(*length)).ok_or_else(no_spool)?;
    let name = std::str::from_utf8(name).map_err(|_| no_spool())?;
    let mut records = Vec::new();
    let tail = loop {
        match take(rest, records.len() as u64) {
            Taken::Record(sealed, after) => {
                records.push(sealed);
                rest = after;
            }
            Taken::End(tail) => break tail,
        }
    };
    Ok(SpoolContent { name, records, end: (bytes.len() - rest.len()) as u64, tail })
}

enum Taken<'a> {
    Record(&'a [u8], &'a [u8]),
    End(SpoolTail),
}

fn take(rest: &[u8], index: u64) -> Taken<'_> {
    if rest.is_empty() {
        return Taken::End(SpoolTail::Whole);
    }
    let Some((header, body)) = rest.split_first_chunk::<RECORD_HEADER>() else { return Taken::End(SpoolTail::Torn) };
    let Some((length, found)) = decode(header) else {
        // After a power cut a file system may have lengthened the file without filling it.
        let hollow = rest.iter().all(|byte| *byte == 0);
        return Taken::End(if hollow { SpoolTail::Torn } else { SpoolTail::Damaged });
    };
    if found != index || length <= SEALING || length > MAX_PLAIN + SEALING {
        return Taken::End(SpoolTail::Damaged);
    }
    match body.split_at_checked(length) {
        Some((sealed, after)) => Taken::Record(sealed, after),
        None => Taken::End(SpoolTail::Torn),
    }
}

/// Length and index; `None` when the check does not match.
fn decode(header: &[u8; RECORD_HEADER]) -> Option<(usize, u64)> {
    let (fields, check) = header.split_last_chunk::<4>()?;
    if fnv1a(fields).to_le_bytes() != *check {
        return None;
    }
    let (length, index) = fields.split_first_chunk::<4>()?;
    let index = index.first_chunk::<8>()?;
    Some((usize::try_from(u32::from_le_bytes(*length)).ok()?, u64::from_le_bytes(*index)))
}

/// The beginning of the file of that name.
pub(super) fn file_header(name: &str) -> Vec<u8> {
    // Identifiers have at most 64 bytes.
    [MAGIC.as_slice(), &[VERSION, name.len() as u8], name.as_bytes()].concat()
}

/// A record from what is sealed.
pub(super) fn record(index: u64, sealed: &[u8]) -> Vec<u8> {
    // Entries have at most a few MiB.
    let fields = [(sealed.len() as u32).to_le_bytes().as_slice(), &index.to_le_bytes()].concat();
    [fields.as_slice(), &fnv1a(&fields).to_le_bytes(), sealed].concat()
}

/// Bytes on the disk of an entry with so many bytes of JSON.
pub(super) fn record_size(plain: usize) -> u64 {
    (RECORD_HEADER + SEALING + plain) as u64
}

/// What a record is bound to.
pub(super) fn aad(name: &str, index: u64) -> Vec<u8> {
    format!("spool|{name}|{index}|{VERSION}").into_bytes()
}

/// 32-bit FNV-1a (draft-eastlake-fnv). Against accidents only; tampering is caught by the tag.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn file(records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = file_header("c1");
        for (index, sealed) in records.iter().enumerate() {
            bytes.extend(record(index as u64, sealed));
        }
        bytes
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
            let _ = read(&[file_header("c1"), bytes].concat());
        }

        #[test]
        fn a_cut_costs_the_last_record_only(count in 1usize..5, size in 40usize..90, cut in 0usize..500) {
            let records = vec![vec![7; size]; count];
            let whole = file(&records);
            let header = file_header("c1").len();
            let cut = header + cut % (whole.len() - header);
            let content = read(&whole[..cut]).unwrap();
            prop_assert_ne!(content.tail, SpoolTail::Damaged);
            prop_assert_eq!(content.records.len(), (cut - header) / (size + RECORD_HEADER));
            prop_assert_eq!(content.tail == SpoolTail::Whole, content.end == cut as u64);
        }

        #[test]
        fn a_changed_header_is_named(bit in 0usize..RECORD_HEADER * 8) {
            let mut bytes = file(&[vec![7; 50], vec![8; 50]]);
            let at = file_header("c1").len() + bit / 8;
            bytes[at] ^= 1 << (bit % 8);
            let content = read(&bytes).unwrap();
            prop_assert_eq!((content.records.len(), content.tail), (0, SpoolTail::Damaged));
        }
    }

    #[test]
    fn what_is_moved_or_repeated_is_named() {
        let (first, second) = (record(0, &[1; 50]), record(1, &[2; 50]));
        for records in [[&second, &first], [&first, &first]] {
            let bytes = [file_header("c1"), records[0].clone(), records[1].clone()].concat();
            assert_eq!(read(&bytes).unwrap().tail, SpoolTail::Damaged);
        }
        let hollow = [file_header("c1"), first, vec![0; 4096]].concat();
        assert_eq!(read(&hollow).unwrap().tail, SpoolTail::Torn);
    }
}
