use proptest::prelude::*;

use super::*;

fn ids(user: u128, pat: u128) -> PatIds {
    PatIds { user: UserId::from_bytes(user.to_be_bytes()), pat: PatId::from_bytes(pat.to_be_bytes()) }
}

fn sample() -> Vec<u8> {
    mint(ids(0x1234_5678, 0x9abc_def0), &[7; 32]).as_bytes().to_vec()
}

/// A vector that SuperMQ's documentation publishes.
const PUBLISHED: &str = "pat_OqKqh/KbRV2qaB6HSAT3htMJ6+lC8kMknmBM6p++9oQ=_-F&M2NiTyNEbnh84MKbpoU57-x6p+m+ZwGeJwn#7+zoX*XbvLYIDr90|Y82GDd2%AhNv&$wo+hcHr==-|7g8q3zqTSVdXTd&b%Jw";

#[test]
fn the_published_pat_of_the_older_form_names_its_owner_and_itself() {
    let ids = parse(PUBLISHED.as_bytes()).unwrap();
    assert_eq!(ids.user.to_string(), "3aa2aa87-f29b-455d-aa68-1e874804f786");
    assert_eq!(ids.pat.to_string(), "d309ebe9-42f2-4324-9e60-4cea9fbef684");
}

#[test]
fn the_published_identifiers_decode() {
    let ids = decode_ids(b"etKoiXKTR6a0zdgsBHC00qJQAiaV3EKFh+Lmk+SgqXY", &BASE64_STANDARD_VALUES).unwrap();
    assert_eq!(ids.user.to_string(), "7ad2a889-7293-47a6-b4cd-d82c0470b4d2");
    assert_eq!(ids.pat.to_string(), "a2500226-95dc-4285-87e2-e693e4a0a976");
}

#[test]
fn a_minted_pat_is_97_safe_characters() {
    for random in [[0; 32], [255; 32], [7; 32]] {
        let secret = mint(ids(u128::MAX, 0), &random);
        let text = secret.expose();
        assert_eq!(text.len(), PAT_LEN);
        assert!(text.starts_with("pat_"));
        assert!(
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'),
            "{text}"
        );
    }
    // 2^256 - 1 still fits 43 digits, and zero fills them.
    assert!(mint(ids(0, 0), &[0; 32]).expose()[SECRET_AT..CHECKSUM_AT].bytes().all(|byte| byte == b'0'));
    assert_ne!(mint(ids(0, 0), &[255; 32]).as_bytes()[SECRET_AT], b'0');
}

#[test]
fn debug_output_does_not_show_the_secret() {
    let secret = mint(ids(1, 2), &[9; 32]);
    assert_eq!(format!("{secret:?}"), "PatSecret(hidden)");
}

/// Goal: the checksum catches typing errors. Method: every single-byte change of a PAT, all 255 of them at every place.
#[test]
fn no_single_changed_byte_makes_another_pat() {
    let good = sample();
    assert!(parse(&good).is_ok());
    for at in 0..good.len() {
        for other in 0..=255_u8 {
            let mut changed = good.clone();
            changed[at] = other;
            assert_eq!(parse(&changed).is_ok(), other == good[at], "byte {at} -> {other:#x}");
        }
    }
}

#[test]
fn a_pat_cut_anywhere_or_with_anything_added_is_refused() {
    for good in [sample(), PUBLISHED.as_bytes().to_vec()] {
        for cut in 0..good.len() {
            assert!(parse(&good[..cut]).is_err(), "cut at {cut}");
        }
        for extra in [b' ', b'\n', b'0', 0] {
            let longer: Vec<u8> = good.iter().copied().chain([extra]).collect();
            assert!(parse(&longer).is_err());
        }
    }
}

#[test]
fn the_strings_that_crashed_other_parsers_are_refused() {
    let huge = vec![b'a'; 1 << 20];
    let cases: [&[u8]; 9] =
        [b"", b"pat", b"pat_", b"pat__", b"pat_x_y_z", b"Bearer pat_", b"\xff\xfe", &[0; PAT_LEN], &huge];
    for case in cases {
        assert!(parse(case).is_err());
    }
    // Right frame and length, wrong everything else.
    let mut filled = [b'_'; PAT_LEN];
    filled[..4].copy_from_slice(b"pat_");
    assert_eq!(parse(&filled), Err(PatSyntax::Alphabet));
    let mut filled = [b'a'; LEGACY_PAT_LEN];
    filled[..4].copy_from_slice(b"pat_");
    assert_eq!(parse(&filled), Err(PatSyntax::Frame));
}

/// Two spellings of one PAT would have two digests, but identifiers that decode alike invite mistakes.
#[test]
fn identifiers_have_one_spelling() {
    let mut text = PUBLISHED.as_bytes().to_vec();
    assert_eq!(text[SEPARATOR_AT - 1], b'Q');
    text[SEPARATOR_AT - 1] = b'R';
    assert_eq!(parse(&text), Err(PatSyntax::Alphabet));
}

#[test]
fn a_digest_reads_its_own_text_and_nothing_else() {
    let digest = PatDigest(std::array::from_fn(|at| at as u8 * 7));
    let text = digest.to_string();
    assert_eq!(PatDigest::from_text(&text), Some(digest));
    assert_eq!(PatDigest::from_text(&text.to_uppercase().replace("SHA256", "sha256")), Some(digest));
    for bad in ["", "sha256:", &text[1..], &text[..70], &format!("{text}0"), &text.replace("sha256", "md5")] {
        assert_eq!(PatDigest::from_text(bad), None, "{bad}");
    }
}

#[test]
fn a_digest_that_is_really_a_pat_is_not_repeated_in_the_error() {
    let line = format!("\"{}\"", mint(ids(1, 2), &[3; 32]).expose());
    let error = serde_json::from_str::<PatDigest>(&line).unwrap_err().to_string();
    assert!(!error.contains("pat_"), "{error}");
}

proptest! {
    #[test]
    fn what_is_minted_parses_back(user: u128, pat: u128, random: [u8; 32]) {
        let ids = ids(user, pat);
        prop_assert_eq!(parse(mint(ids, &random).as_bytes()), Ok(ids));
    }

    #[test]
    fn different_secrets_make_different_pats(one: [u8; 32], other: [u8; 32]) {
        prop_assert_eq!(
            one == other,
            mint(ids(1, 2), &one).as_bytes() == mint(ids(1, 2), &other).as_bytes()
        );
    }

    #[test]
    fn arbitrary_bytes_of_a_pats_length_are_refused(bytes in prop::collection::vec(any::<u8>(), PAT_LEN)) {
        prop_assert!(parse(&bytes).is_err());
    }
}
