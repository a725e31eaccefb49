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
        sealed: Sealed::default(),
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
    }
}

fn names(told: &[Told]) -> Vec<String> {
    told.iter().map(|told| format!("{:?} {}", told.way.kind, told.names.join("+"))).collect()
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
    assert_eq!(names(&last_resort(&known())), ["Log Cy", "Log server log"]);
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
        let told = resolve(&targets, &known());
        let keys: Vec<_> = told.iter().map(|told| told.key("k")).collect();
        let distinct: HashSet<_> = keys.iter().collect();
        prop_assert_eq!(distinct.len(), keys.len());
        prop_assert!(keys.iter().all(|key| key.len() == 32));
        let again: Vec<_> = resolve(&targets, &known()).iter().map(|told| told.key("k")).collect();
        prop_assert_eq!(&again, &keys);
        prop_assert!(told.iter().all(|told| told.key("other") != told.key("k")));
    }
}
