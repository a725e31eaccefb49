//! From targets to destinations: pure. What is known about people, teams and channels goes in, one
//! destination for each address comes out.

use std::collections::{HashMap, HashSet};

use platform::error::{Error, Result};
use platform::secret::sha256_hex;
use proto::api::v1 as api;

use crate::audiences::Group;
use crate::channels::Destination;
use crate::ids::{ChannelId, ContactMethodId, TeamId, UserId};
use crate::kinds::Kind;

/// Destinations of one message.
const MAX_TOLD: usize = 1_000;
const TOO_MANY: &str = "a message goes to 1000 destinations at most";
const INACTIVE: &str = "the account is disabled or archived";
/// Why a group is left out of which nobody says who is in it.
pub const PEOPLE_UNKNOWN: &str = "who that is is not known and auth-service does not say";

/// Who is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    User(UserId),
    Team(TeamId),
    Channel(ChannelId),
    Owners,
}

impl Target {
    /// Reads the targets of a request; `service_team` becomes the `team` of the incident's service.
    ///
    /// # Errors
    /// Invalid: `not_available` for schedules, `uuid` or `required` for a bad or missing id.
    pub fn read(targets: &[api::Target], team: Option<TeamId>) -> Result<Vec<Self>> {
        let mut read = Vec::with_capacity(targets.len());
        for (index, target) in targets.iter().enumerate() {
            let id = format!("targets[{index}].id");
            match target.kind() {
                api::TargetKind::User => read.push(Self::User(UserId::parse(&id, &target.id)?)),
                api::TargetKind::Team => read.push(Self::Team(TeamId::parse(&id, &target.id)?)),
                api::TargetKind::Channel => read.push(Self::Channel(ChannelId::parse(&id, &target.id)?)),
                api::TargetKind::Owners => read.push(Self::Owners),
                // A service without a team: nobody, which the caller notices.
                api::TargetKind::ServiceTeam => read.extend(team.map(Self::Team)),
                api::TargetKind::Schedule | api::TargetKind::Unspecified => {
                    let field = format!("targets[{index}].kind");
                    return Err(Error::field(field, "not_available", "cannot be told yet"));
                }
            }
        }
        Ok(read)
    }
}

/// A person with the name that trails show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub id: UserId,
    pub name: String,
}

/// A way to one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    pub via: Via,
    pub kind: Kind,
    pub address_shown: String,
    pub address_digest: Vec<u8>,
    /// Where it leads; otherwise why pages leave it out.
    pub to: Result<Destination, &'static str>,
}

/// The row that holds a destination's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    Method(ContactMethodId),
    Channel(ChannelId),
    /// The server's log, when nobody can be reached.
    ServerLog,
}

/// What is known when it is decided whom to tell. What people have switched off is not in it.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub methods: HashMap<UserId, Vec<Way>>,
    pub names: HashMap<UserId, String>,
    /// Whose account is disabled or archived: no way leads to them.
    pub inactive: HashSet<UserId>,
    pub channels: HashMap<ChannelId, (String, Way)>,
    pub team_channels: HashMap<TeamId, Vec<ChannelId>>,
    /// A team that is missing is not known.
    pub teams: HashMap<TeamId, Vec<Person>>,
    pub owners: Vec<Person>,
}

/// What targets come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    pub told: Vec<Told>,
    pub left_out: Vec<LeftOut>,
}

/// Somebody who is named and not told this way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub recipient: String,
    /// A kind of destination; `account` or `team` when it is none in particular.
    pub method: &'static str,
    pub why: &'static str,
}

/// One address that is told, for one or more people or channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub way: Way,
    pub user: Option<UserId>,
    /// Names of the people and channels behind it.
    pub names: Vec<String>,
}

impl Told {
    /// The key of this delivery: stable for the same request, person or channel, and method.
    pub fn key(&self, send_key: &str) -> String {
        let (target, method) = match (self.way.via, self.user) {
            (Via::Method(id), user) => {
                (user.map_or_else(String::new, |user| format!("user:{user}")), id.to_string())
            }
            (Via::Channel(id), _) => (format!("channel:{id}"), String::new()),
            (Via::ServerLog, _) => ("log".to_owned(), String::new()),
        };
        let mut hash = sha256_hex(format!("{send_key}\0{target}\0{method}").as_bytes());
        hash.truncate(32);
        hash
    }

    /// Deliveries to one destination about one subject go out in order.
    pub fn order_key(&self, about: &str) -> String {
        // Rows with one address are one destination, whichever of them the message went over; every
        // log line stands for its own.
        match (self.way.kind, self.way.via) {
            (Kind::Webhook | Kind::Email, _) => {
                let digest = sha256_hex(&self.way.address_digest);
                format!("{about}:{}:{}", self.way.kind.as_str(), &digest[..32])
            }
            (Kind::Log, Via::Method(id)) => format!("{about}:method:{id}"),
            (Kind::Log, Via::Channel(id)) => format!("{about}:channel:{id}"),
            (Kind::Log, Via::ServerLog) => format!("{about}:log"),
        }
    }
}

/// The destinations of `targets`, each address once, in the order in which the targets name them.
pub fn resolve(targets: &[Target], known: &Known) -> Resolved {
    let mut book = Book::default();
    for target in targets {
        match target {
            Target::User(id) => book.person(*id, None, known),
            Target::Team(id) => book.team(*id, known),
            Target::Channel(id) => book.channel(*id, known),
            Target::Owners => book.people(&known.owners, known),
        }
    }
    book.resolved
}

/// Whom to tell when `targets` reach nobody: the owners, and the server's log.
pub fn last_resort(targets: &[Target], known: &Known) -> Resolved {
    let mut resolved = resolve(&[targets, &[Target::Owners]].concat(), known);
    resolved.told.push(Told {
        way: Way {
            via: Via::ServerLog,
            kind: Kind::Log,
            address_shown: "log".to_owned(),
            address_digest: Vec::new(),
            to: Ok(Destination { address: String::new(), secret: None }),
        },
        user: None,
        names: vec!["server log".to_owned()],
    });
    resolved
}

#[derive(Default)]
struct Book {
    resolved: Resolved,
    places: HashMap<(Kind, Vec<u8>), usize>,
    seen: HashSet<Via>,
}

impl Book {
    fn team(&mut self, id: TeamId, known: &Known) {
        match known.teams.get(&id) {
            Some(people) => self.people(people, known),
            None => self.leave_out(Group::Team(id).title(), "team", PEOPLE_UNKNOWN),
        }
        for channel in known.team_channels.get(&id).into_iter().flatten() {
            self.channel(*channel, known);
        }
    }

    fn people(&mut self, people: &[Person], known: &Known) {
        for person in people {
            self.person(person.id, Some(&person.name), known);
        }
    }

    fn person(&mut self, id: UserId, name: Option<&str>, known: &Known) {
        let name = name.filter(|name| !name.is_empty());
        let name = name.or_else(|| known.names.get(&id).map(String::as_str)).unwrap_or("a person");
        if known.inactive.contains(&id) {
            return self.leave_out(name, "account", INACTIVE);
        }
        for way in known.methods.get(&id).into_iter().flatten() {
            self.add(way, Some(id), name);
        }
    }

    fn channel(&mut self, id: ChannelId, known: &Known) {
        if let Some((name, way)) = known.channels.get(&id) {
            self.add(way, None, name);
        }
    }

    fn add(&mut self, way: &Way, user: Option<UserId>, name: &str) {
        if !self.seen.insert(way.via) {
            return;
        }
        if let Err(why) = way.to {
            return self.leave_out(name, way.kind.as_str(), why);
        }
        // Every log line stands for its own person; real addresses are told once.
        let shared = (way.kind != Kind::Log).then(|| (way.kind, way.address_digest.clone()));
        if let Some(place) = shared.as_ref().and_then(|key| self.places.get(key)) {
            let names = &mut self.resolved.told[*place].names;
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
            return;
        }
        if self.resolved.told.len() >= MAX_TOLD {
            return self.leave_out(name, way.kind.as_str(), TOO_MANY);
        }
        if let Some(key) = shared {
            self.places.insert(key, self.resolved.told.len());
        }
        self.resolved.told.push(Told { way: way.clone(), user, names: vec![name.to_owned()] });
    }

    fn leave_out(&mut self, recipient: &str, method: &'static str, why: &'static str) {
        let left_out = LeftOut { recipient: recipient.to_owned(), method, why };
        if !self.resolved.left_out.contains(&left_out) {
            self.resolved.left_out.push(left_out);
        }
    }
}

#[cfg(test)]
mod tests;
