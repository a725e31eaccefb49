use crate::faults;
use crate::sample::shop::v1::{Numbers, Strings};

pub fn strings() -> Strings {
    Strings {
        len: "äöü".into(),
        between: "ab".into(),
        bytes: "abcd".into(),
        pattern: "abc".into(),
        prefix: "a-b".into(),
        suffix: "y-z".into(),
        contains: "a\"mid\"b".into(),
        one_of: "red".into(),
        none_of: "guest".into(),
        equal: "yes".into(),
        email: "ada@example.org".into(),
        uri: "https://example.org/x".into(),
        uuid: "0190d8a1-7c53-7000-8000-000000000001".into(),
        r#type: "abc".into(),
    }
}

#[test]
fn string_rules() {
    type Case = (&'static str, fn(&mut Strings) -> &mut String, &'static [&'static str]);
    let table: &[Case] = &[
        ("len: too_short", |m| &mut m.len, &["", "äö"]),
        ("len: too_long", |m| &mut m.len, &["äöüß"]),
        ("between: too_short", |m| &mut m.between, &["", "ä"]),
        ("between: too_long", |m| &mut m.between, &["abcde"]),
        ("bytes: too_long", |m| &mut m.bytes, &["äöü"]),
        ("pattern: pattern", |m| &mut m.pattern, &["", "Abc", "abc\n"]),
        ("prefix: pattern", |m| &mut m.prefix, &["", "b-a"]),
        ("suffix: pattern", |m| &mut m.suffix, &["", "z-y"]),
        ("contains: pattern", |m| &mut m.contains, &["", "mid"]),
        ("one_of: not_in", |m| &mut m.one_of, &["", "green"]),
        ("none_of: excluded", |m| &mut m.none_of, &["root"]),
        ("equal: not_in", |m| &mut m.equal, &["", "no"]),
        (
            "email: email",
            |m| &mut m.email,
            &[
                "",
                "ada",
                "ada@",
                "@b.org",
                "a b@c.org",
                "a@b@c.org",
                "a@b..org",
                "a..b@c.org",
                "a@-b.org",
                "ada@intranet",
                "a@b.org\n",
            ],
        ),
        ("uri: uri", |m| &mut m.uri, &["", "/x", "example.org", "https://", "https://a b", " https://a"]),
        (
            "uuid: uuid",
            |m| &mut m.uuid,
            &[
                "",
                "0190d8a17c5370008000000000000001",
                "{0190d8a1-7c53-7000-8000-000000000001}",
                "0190d8a1-7c53-7000-8000-00000000000g",
            ],
        ),
        ("type: pattern", |m| &mut m.r#type, &["1"]),
    ];
    for (expected, field, values) in table {
        for value in *values {
            let mut message = strings();
            *field(&mut message) = (*value).to_owned();
            assert_eq!(faults(&message), [*expected], "{value:?}");
        }
    }
}

#[test]
fn well_formed_strings_pass() {
    for email in ["a@localhost", "first.last+tag@sub.example.org", "jürgen@müller.de"] {
        assert_eq!(faults(&Strings { email: email.into(), ..strings() }), [""; 0], "{email}");
    }
    for uri in ["mailto:a@b.org", "tel:+4930123", "https://example.org:8443/a?b=c#d", "http://[::1]/"] {
        assert_eq!(faults(&Strings { uri: uri.into(), ..strings() }), [""; 0], "{uri}");
    }
    let nil = "00000000-0000-0000-0000-000000000000";
    assert_eq!(faults(&Strings { uuid: nil.into(), ..strings() }), [""; 0]);
}

pub fn numbers() -> Numbers {
    Numbers {
        page: 1,
        above: 1,
        below: 9,
        open: 2,
        ratio: 1.0,
        finite: -3.5,
        one_of: 3,
        none_of: 8,
        equal: -4,
        agreed: true,
        digest: vec![1, 2].into(),
        size: 0,
        wearable: 2,
        taken: 1,
    }
}

#[test]
fn number_rules() {
    type Case = (&'static str, fn(&mut Numbers));
    let table: &[Case] = &[
        ("page: out_of_range", |m| m.page = 0),
        ("page: out_of_range", |m| m.page = 201),
        ("above: out_of_range", |m| m.above = 0),
        ("below: out_of_range", |m| m.below = 10),
        ("open: out_of_range", |m| m.open = 1),
        ("open: out_of_range", |m| m.open = u64::MAX),
        ("ratio: out_of_range", |m| m.ratio = 1.000_001),
        ("ratio: out_of_range", |m| m.ratio = f64::NAN),
        ("finite: out_of_range", |m| m.finite = f32::INFINITY),
        ("finite: out_of_range", |m| m.finite = f32::NAN),
        ("one_of: not_in", |m| m.one_of = 0),
        ("none_of: excluded", |m| m.none_of = 7),
        ("equal: not_in", |m| m.equal = 4),
        ("agreed: not_in", |m| m.agreed = false),
        ("digest: too_short", |m| m.digest = vec![1].into()),
        ("digest: too_long", |m| m.digest = vec![1, 2, 3].into()),
        ("size: undefined_value", |m| m.size = 3),
        ("wearable: not_in", |m| m.wearable = 0),
        ("taken: excluded", |m| m.taken = 2),
    ];
    for (expected, change) in table {
        let mut message = numbers();
        change(&mut message);
        assert_eq!(faults(&message), [*expected]);
    }
    assert_eq!(faults(&Numbers { size: -1, ..numbers() }), [""; 0]);
}
