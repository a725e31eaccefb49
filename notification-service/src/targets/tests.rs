use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn user(n: u128) -> UserId {
    UserId(Uuid::from_u128(n))
}

fn way(via: Via, kind: Kind, address: &str) -> Way {
    Way {
        via,
        kind,
        address_shown: "…".to_owned(),
        address_digest: address.as_bytes().to_vec(),
        to: Ok(Destination { address: address.to_owned(), secret: None }),
    }
}

fn method(n: u128, kind: Kind, address: &str) -> Way {
    way(Via::Method(ContactMethodId(Uuid::from_u128(n))), kind, address)
}

fn known() -> Known {
    let (team, channel) = (TeamId(Uuid::from_u128(1)), ChannelId(Uuid::from_u128(7)));
    let person = |n, name: &str| Person { id: user(n), name: name.to_owned() };
    Known {
        methods: HashMap::from([
            (user(1), vec![method(11, Kind::Webhook, "a"), method(12, Kind::Email, "x")]),
            (user(2), vec![method(21, Kind::Webhook, "a"), method(22, Kind::Log, "")]),
            (user(3), vec![method(31, Kind::Log, "")]),
        ]),
        names: HashMap::from([(user(1), "Ada".to_owned())]),
        channels: HashMap::from([(
            channel,
            ("ops".to_owned(), way(Via::Channel(channel), Kind::Webhook, "c")),
        )]),
        team_channels: HashMap::from([(team, vec![channel])]),
        teams: HashMap::from([(team, vec![person(1, "Ada"), person(2, "Bob"), person(9, "No way")])]),
        owners: vec![person(3, "Cy")],
        inactive: HashSet::new(),
    }
}

fn names(resolved: &Resolved) -> Vec<String> {
    resolved.told.iter().map(|told| format!("{:?} {}", told.way.kind, told.names.join("+"))).collect()
}

#[test]
fn a_team_is_its_members_and_its_channels_each_address_once() {
    let told = resolve(&[Target::Team(TeamId(Uuid::from_u128(1)))], &known());
    assert_eq!(names(&told), ["Webhook Ada+Bob", "Email Ada", "Log Bob", "Webhook ops"]);
}

#[test]
fn naming_somebody_twice_changes_nothing() {
    let team = Target::Team(TeamId(Uuid::from_u128(1)));
    let channel = Target::Channel(ChannelId(Uuid::from_u128(7)));
    let once = resolve(&[team], &known());
    assert_eq!(resolve(&[team, Target::User(user(1)), channel, team], &known()), once);
}

#[test]
fn log_lines_are_not_shared() {
    let told = resolve(&[Target::User(user(2)), Target::Owners], &known());
    assert_eq!(names(&told), ["Webhook a person", "Log a person", "Log Cy"]);
}

#[test]
fn the_last_resort_is_owners_and_the_log() {
    assert_eq!(names(&last_resort(&[], &known())), ["Log Cy", "Log server log"]);
}

#[test]
fn what_cannot_be_told_is_said() {
    const WHY: &str = "no mail server";
    let mut known = known();
    for way in known.methods.values_mut().flatten().filter(|way| way.kind == Kind::Email) {
        way.to = Err(WHY);
    }
    known.inactive.insert(user(2));
    let (team, unknown) = (TeamId(Uuid::from_u128(1)), TeamId(Uuid::from_u128(2)));
    let resolved = resolve(&[Target::User(user(2)), Target::Team(team), Target::Team(unknown)], &known);
    assert_eq!(names(&resolved), ["Webhook Ada", "Webhook ops"]);
    let left_out: Vec<_> =
        resolved.left_out.iter().map(|it| (it.recipient.as_str(), it.method, it.why)).collect();
    let expected = [
        ("a person", "account", INACTIVE),
        ("Ada", "email", WHY),
        ("Bob", "account", INACTIVE),
        ("a team", "team", PEOPLE_UNKNOWN),
    ];
    assert_eq!(left_out, expected);
    let alone = last_resort(&[Target::User(user(2))], &known);
    assert_eq!(
        (names(&alone), alone.left_out.len()),
        (vec!["Log Cy".to_owned(), "Log server log".to_owned()], 1)
    );
}

#[test]
fn one_message_has_a_limit() {
    let mut known = known();
    let many = (0..1_001).map(|n| method(100 + n, Kind::Webhook, &n.to_string()));
    known.methods.insert(user(1), many.collect());
    let resolved = resolve(&[Target::User(user(1))], &known);
    assert_eq!((resolved.told.len(), resolved.left_out[0].why), (1_000, TOO_MANY));
}

#[test]
fn rows_with_one_address_share_its_order() {
    let told = |via, kind| Told { way: way(via, kind, "a"), user: None, names: Vec::new() };
    let (one, two) = (ContactMethodId(Uuid::from_u128(1)), ContactMethodId(Uuid::from_u128(2)));
    let webhook = |id| told(Via::Method(id), Kind::Webhook).order_key("i");
    assert_eq!(webhook(one), webhook(two));
    assert_ne!(webhook(one), told(Via::Method(one), Kind::Email).order_key("i"));
    assert_ne!(webhook(one), told(Via::Method(one), Kind::Webhook).order_key("j"));
    let log = |id| told(Via::Method(id), Kind::Log).order_key("i");
    assert_ne!(log(one), log(two));
}

#[test]
fn targets_are_read_with_their_faults() {
    let target = |kind: api::TargetKind, id: &str| api::Target { kind: kind.into(), id: id.to_owned() };
    let id = Uuid::from_u128(1).to_string();
    let team = Some(TeamId(Uuid::from_u128(5)));
    let read =
        Target::read(&[target(api::TargetKind::ServiceTeam, ""), target(api::TargetKind::User, &id)], team);
    assert_eq!(
        read.expect("good targets"),
        [Target::Team(TeamId(Uuid::from_u128(5))), Target::User(user(1))]
    );
    let none = Target::read(&[target(api::TargetKind::ServiceTeam, "")], None);
    assert_eq!(none.expect("nobody"), []);
    let bad = Target::read(&[target(api::TargetKind::User, "x")], None).expect_err("no uuid");
    assert_eq!(bad.fields[0].field, "targets[0].id");
    let schedule = Target::read(&[target(api::TargetKind::Schedule, &id)], None).expect_err("later");
    assert_eq!(schedule.code, "not_available");
}

proptest! {
    #[test]
    fn keys_are_distinct_and_stable(picks in proptest::collection::vec(0..4_usize, 1..8)) {
        let all = [
            Target::User(user(1)),
            Target::Team(TeamId(Uuid::from_u128(1))),
            Target::Channel(ChannelId(Uuid::from_u128(7))),
            Target::Owners,
        ];
        let targets: Vec<_> = picks.iter().map(|pick| all[*pick]).collect();
        let told = resolve(&targets, &known()).told;
        let keys: Vec<_> = told.iter().map(|told| told.key("k")).collect();
        let distinct: HashSet<_> = keys.iter().collect();
        prop_assert_eq!(distinct.len(), keys.len());
        prop_assert!(keys.iter().all(|key| key.len() == 32));
        let again: Vec<_> = resolve(&targets, &known()).told.iter().map(|told| told.key("k")).collect();
        prop_assert_eq!(&again, &keys);
        prop_assert!(told.iter().all(|told| told.key("other") != told.key("k")));
    }
}
