use std::io::Write;

use super::*;

const MOST: usize = 3;

fn texts<'a>(items: &Texts<'a>) -> Vec<&'a str> {
    items.items.iter().map(|item| item.as_ref().map_or("broken", |item| item)).collect()
}

fn gzipped(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn expanded(bytes: Vec<u8>, limit: usize) -> Result<Bytes, Refusal> {
    let sent = Sent { bytes: bytes.into(), shape: Shape::Lines, gzip: true };
    sent.expand(limit).map(|sent| sent.bytes)
}

#[test]
fn an_object_or_an_array() {
    let one = json(br#" {"name":"a"} "#, MOST).unwrap();
    assert_eq!((texts(&one), one.single), (vec![r#"{"name":"a"}"#], true));
    let two = json(br#" [{"name":"a"}, 7]"#, MOST).unwrap();
    assert_eq!((texts(&two), two.single), (vec![r#"{"name":"a"}"#, "7"], false));
}

#[test]
fn what_is_not_json_is_located() {
    for (text, at) in
        [("[{]", (1, 3)), ("[7\n7]", (2, 1)), ("{} {}", (1, 4)), ("[7] 7", (1, 5)), ("", (1, 0))]
    {
        match json(text.as_bytes(), MOST) {
            Err(Refusal::Fault(Fault::MalformedJson { line, column, .. })) => {
                assert_eq!((line, column), at, "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(matches!(json(b"[\"\xff\"]", MOST), Err(Refusal::Fault(Fault::MalformedJson { .. }))));
}

#[test]
fn a_bad_line_spoils_no_other() {
    let items = lines(b"{\"name\":\"a\"}\r\n\n{oops\n{\"name\":\"b\"}", MOST).unwrap();
    assert_eq!(texts(&items), [r#"{"name":"a"}"#, "broken", r#"{"name":"b"}"#]);
}

#[test]
fn there_is_a_most() {
    assert_eq!(json(b"[1,2,3]", MOST).unwrap().items.len(), MOST);
    assert_eq!(lines(b"1\n2\n\n3\n", MOST).unwrap().items.len(), MOST);
    for refused in [json(b"[1,2,3,4]", MOST), lines(b"1\n2\n3\n4", MOST)] {
        assert!(matches!(refused, Err(Refusal::Error(error)) if error.code == "too_many_events"));
    }
}

#[test]
fn gzip_of_several_members_is_one_body() {
    let both = [gzipped(b"one\n"), gzipped(b"two\n")].concat();
    assert_eq!(expanded(both, 8).unwrap(), "one\ntwo\n");
}

#[test]
fn gzip_is_bounded_whole_and_sound() {
    let bytes = gzipped(&[b'x'; 1000]);
    assert_eq!(expanded(bytes.clone(), 1000).unwrap().len(), 1000);
    assert!(matches!(expanded(bytes.clone(), 999), Err(Refusal::Fault(Fault::TooLarge { limit: 999 }))));
    let cut = bytes[..bytes.len() - 4].to_vec();
    assert!(matches!(expanded(cut, 1000), Err(Refusal::Fault(Fault::IncompleteBody))));
    let mut spoiled = bytes;
    *spoiled.last_mut().unwrap() ^= 1;
    assert!(matches!(expanded(spoiled, 1000), Err(Refusal::Gzip)));
    assert!(matches!(expanded(b"not gzip at all".to_vec(), 1000), Err(Refusal::Gzip)));
}
