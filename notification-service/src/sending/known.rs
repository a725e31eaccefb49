//! What the pure resolution of targets needs to know, read in one transaction.

use std::collections::HashMap;

use diesel_async::AsyncPgConnection;
use platform::ctx::OrgId;
use platform::error::Result;

use crate::audiences::{Audiences, Group};
use crate::channels::Registry;
use crate::ids::{ChannelId, TeamId, UserId};
use crate::store;
use crate::store::channels::Channel;
use crate::store::contact_methods::ContactMethod;
use crate::targets::{Known, Person, Sealed, Target, Via, Way};

/// Loads the usable ways to everybody whom `targets` and `audiences` name.
pub async fn load(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    targets: &[Target],
    audiences: &Audiences,
    ways: &Registry,
) -> Result<Known> {
    let mut known = Known::default();
    for (group, people) in &audiences.people {
        match group {
            Group::Team(id) => drop(known.teams.insert(*id, people.clone())),
            Group::Owners => known.owners.clone_from(people),
        }
    }
    load_people(conn, org, targets, &mut known, ways).await?;
    load_channels(conn, org, targets, &mut known, ways).await?;
    Ok(known)
}

async fn load_people(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    targets: &[Target],
    known: &mut Known,
    ways: &Registry,
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
        if is_usable(&method, ways) {
            known.methods.entry(method.user_id).or_default().push(way_of_method(method));
        }
    }
    let people = store::people::find_people(conn, org, &users).await?;
    known.names = people.into_iter().map(|person| (person.user_id, person.name)).collect();
    Ok(())
}

async fn load_channels(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    targets: &[Target],
    known: &mut Known,
    ways: &Registry,
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
    let usable = |channel: &Channel| !channel.disabled && ways.of(channel.kind).is_usable();
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
    let channels = channels.into_values().filter(usable);
    known.channels =
        channels.map(|channel| (channel.id, (channel.name.clone(), way_of_channel(channel)))).collect();
    Ok(())
}

/// An email that nobody has proven to be theirs is not used.
fn is_usable(method: &ContactMethod, ways: &Registry) -> bool {
    let way = ways.of(method.kind);
    way.is_usable() && (!way.needs_proof() || method.verified_at.is_some())
}

fn way_of_method(method: ContactMethod) -> Way {
    Way {
        via: Via::Method(method.id),
        kind: method.kind,
        address_shown: method.address_shown,
        address_digest: method.address_digest,
        sealed: Sealed { address: method.address_sealed, secret: method.secret_sealed },
    }
}

fn way_of_channel(channel: Channel) -> Way {
    Way {
        via: Via::Channel(channel.id),
        kind: channel.kind,
        address_shown: channel.address_shown,
        address_digest: channel.address_digest,
        sealed: Sealed { address: channel.address_sealed, secret: channel.secret_sealed },
    }
}
