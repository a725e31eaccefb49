//! From targets to destinations: pure. What is known about people, teams and channels goes in, one
//! destination for each address comes out.

use std::collections::{HashMap, HashSet};

use platform::error::{Error, Result};
use platform::secret::sha256_hex;
use proto::api::v1 as api;

use crate::ids::{ChannelId, ContactMethodId, TeamId, UserId};
use crate::kinds::Kind;

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

/// A usable way to one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    pub via: Via,
    pub kind: Kind,
    pub address_shown: String,
    pub address_digest: Vec<u8>,
    pub sealed: Sealed,
}

/// Address and secret of a destination as its row keeps them; empty for the server's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    pub address: Vec<u8>,
    pub secret: Option<Vec<u8>>,
}

/// The row that holds a destination's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    Method(ContactMethodId),
    Channel(ChannelId),
    /// The server's log, when nobody can be reached.
    ServerLog,
}

/// What is known when it is decided whom to tell. Holds usable ways only.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub methods: HashMap<UserId, Vec<Way>>,
    pub names: HashMap<UserId, String>,
    pub channels: HashMap<ChannelId, (String, Way)>,
    pub team_channels: HashMap<TeamId, Vec<ChannelId>>,
    pub teams: HashMap<TeamId, Vec<Person>>,
    pub owners: Vec<Person>,
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
        match self.way.via {
            Via::Method(id) => format!("{about}:method:{id}"),
            Via::Channel(id) => format!("{about}:channel:{id}"),
            Via::ServerLog => format!("{about}:log"),
        }
    }
}

/// The destinations of `targets`, each address once, in the order in which the targets name them.
pub fn resolve(targets: &[Target], known: &Known) -> Vec<Told> {
    let mut told = Book::default();
    for target in targets {
        match target {
            Target::User(id) => told.person(*id, None, known),
            Target::Team(id) => {
                for person in known.teams.get(id).into_iter().flatten() {
                    told.person(person.id, Some(&person.name), known);
                }
                for channel in known.team_channels.get(id).into_iter().flatten() {
                    told.channel(*channel, known);
                }
            }
            Target::Channel(id) => told.channel(*id, known),
            Target::Owners => {
                for person in &known.owners {
                    told.person(person.id, Some(&person.name), known);
                }
            }
        }
    }
    told.entries
}

/// Whom to tell when the targets reach nobody: the owners, and the server's log.
pub fn last_resort(known: &Known) -> Vec<Told> {
    let mut told = resolve(&[Target::Owners], known);
    told.push(Told {
        way: Way {
            via: Via::ServerLog,
            kind: Kind::Log,
            address_shown: "log".to_owned(),
            address_digest: Vec::new(),
            sealed: Sealed::default(),
        },
        user: None,
        names: vec!["server log".to_owned()],
    });
    told
}

#[derive(Default)]
struct Book {
    entries: Vec<Told>,
    places: HashMap<(Kind, Vec<u8>), usize>,
    seen: HashSet<Via>,
}

impl Book {
    fn person(&mut self, id: UserId, name: Option<&str>, known: &Known) {
        let name = name.filter(|name| !name.is_empty());
        let name = name.or_else(|| known.names.get(&id).map(String::as_str)).unwrap_or("a person");
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
        // Every log line stands for its own person; real addresses are told once.
        let shared = (way.kind != Kind::Log).then(|| (way.kind, way.address_digest.clone()));
        if let Some(place) = shared.as_ref().and_then(|key| self.places.get(key)) {
            let names = &mut self.entries[*place].names;
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
            return;
        }
        if let Some(key) = shared {
            self.places.insert(key, self.entries.len());
        }
        self.entries.push(Told { way: way.clone(), user, names: vec![name.to_owned()] });
    }
}

#[cfg(test)]
mod tests;
