//! What the pure resolution of targets needs to know, read in one transaction.

use std::collections::HashMap;

use diesel_async::AsyncPgConnection;
use platform::ctx::OrgId;
use platform::error::Result;

use crate::addresses::Addresses;
use crate::audiences::{Audiences, Group};
use crate::endpoints::Endpoint;
use crate::ids::{ChannelId, TeamId, UserId};
use crate::store;
use crate::store::channels::Channel;
use crate::targets::{Known, Person, Target, Way};

/// Loads the ways to everybody whom `targets` and `audiences` name, but those switched off.
pub async fn load(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    targets: &[Target],
    audiences: &Audiences,
    addresses: &Addresses,
) -> Result<Known> {
    let mut known = Known::default();
    for (group, people) in &audiences.people {
        match group {
            Group::Team(id) => drop(known.teams.insert(*id, people.clone())),
            Group::Owners => known.owners.clone_from(people),
        }
    }
    load_people(conn, org, targets, &mut known, addresses).await?;
    load_channels(conn, org, targets, &mut known, addresses).await?;
    Ok(known)
}

/// The way to a destination as its row has it.
pub fn way_of(row: &impl Endpoint, addresses: &Addresses) -> Way {
    let at_rest = row.at_rest();
    Way {
        via: row.via(),
        kind: at_rest.kind,
        address_shown: at_rest.shown.to_owned(),
        address_digest: at_rest.digest.to_vec(),
        to: addresses.reach(row),
    }
}

async fn load_people(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    targets: &[Target],
    known: &mut Known,
    addresses: &Addresses,
) -> Result<()> {
    let direct = targets.iter().filter_map(|target| match target {
        Target::User(id) => Some(*id),
        _ => None,
    });
    let grouped = known.teams.values().flatten().chain(&known.owners);
    let mut users: Vec<UserId> = direct.chain(grouped.map(|person: &Person| person.id)).collect();
    users.sort_unstable();
    users.dedup();
    for method in store::contact_methods::find_enabled(conn, org, &users).await? {
        known.methods.entry(method.user_id).or_default().push(way_of(&method, addresses));
    }
    for person in store::people::find_people(conn, org, &users).await? {
        if person.inactive {
            known.inactive.insert(person.user_id);
        }
        known.names.insert(person.user_id, person.name);
    }
    Ok(())
}

async fn load_channels(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    targets: &[Target],
    known: &mut Known,
    addresses: &Addresses,
) -> Result<()> {
    let mut teams: Vec<TeamId> = Vec::new();
    let mut direct: Vec<ChannelId> = Vec::new();
    for target in targets {
        match target {
            Target::Team(id) => teams.push(*id),
            Target::Channel(id) => direct.push(*id),
            Target::User(_) | Target::Owners => {}
        }
    }
    let mut channels: HashMap<ChannelId, Channel> = HashMap::new();
    for channel in store::channels::find_team_channels(conn, org, &teams).await? {
        if let Some(team) = channel.team_id {
            known.team_channels.entry(team).or_default().push(channel.id);
        }
        channels.insert(channel.id, channel);
    }
    for channel in store::channels::find_channels(conn, org, &direct).await? {
        channels.insert(channel.id, channel);
    }
    for channel in channels.into_values().filter(|channel| !channel.disabled) {
        let way = way_of(&channel, addresses);
        known.channels.insert(channel.id, (channel.name, way));
    }
    Ok(())
}
