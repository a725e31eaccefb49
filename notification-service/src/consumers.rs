//! What we hear: people, from auth-service.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use platform::bus::{Delivered, Envelope, TopicSpec};
use platform::consumer::{After, BatchCtx, Handler};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use prost::Message as _;
use proto::events::v1::UserEvent;
use proto::topics::AUTH;

use crate::addresses::Addresses;
use crate::audiences::{self, Group};
use crate::ids::{ContactMethodId, UserId};
use crate::kinds::Kind;
use crate::store::contact_methods::{self, ContactMethod};
use crate::store::people::{self, GroupSeen, PersonSeen};
use crate::targets::Person;
use crate::vault::{Row, Table};

/// Where auth-service says what happened to people.
pub const AUTH_TOPIC: TopicSpec = TopicSpec::new(AUTH.name, AUTH.partitions, AUTH.retention_ms);

/// An organization was registered with its first user, its owner.
const REGISTERED: &str = "pulseops.auth.user.registered.v1";
/// A user was added.
const CREATED: &str = "pulseops.auth.user.created.v1";
/// A user was renamed, disabled, enabled or archived.
const CHANGED: &str = "pulseops.auth.user.changed.v1";

/// Consumer `contacts`: everybody gets a contact method from the account's address, verified when
/// the account was registered with it; names and standing are kept.
pub struct Contacts {
    pub addresses: Addresses,
}

/// What a batch says.
#[derive(Default)]
struct Heard {
    people: HashMap<(OrgId, UserId), PersonSeen>,
    methods: Vec<ContactMethod>,
    owners: Vec<GroupSeen>,
}

#[async_trait]
impl Handler for Contacts {
    async fn handle(
        &self,
        cx: &BatchCtx,
        conn: &mut AsyncPgConnection,
        batch: &[Delivered],
    ) -> Result<After> {
        let mut heard = Heard::default();
        for delivered in batch {
            let envelope = &delivered.record.envelope;
            if matches!(envelope.ty.as_str(), REGISTERED | CREATED | CHANGED) {
                let event = UserEvent::decode(delivered.record.data.clone()).map_err(Error::internal)?;
                self.hear(&mut heard, envelope, event, cx.now)?;
            }
        }
        if !heard.people.is_empty() {
            let people: Vec<PersonSeen> = heard.people.into_values().collect();
            people::upsert_people(conn, &people).await?;
            people::upsert_groups(conn, &heard.owners).await?;
        }
        if !heard.methods.is_empty() {
            contact_methods::insert_missing(conn, &heard.methods).await?;
        }
        Ok(After::none())
    }
}

impl Contacts {
    fn hear(
        &self,
        heard: &mut Heard,
        envelope: &Envelope,
        event: UserEvent,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let (org, user) = (envelope.org, UserId::parse("user_id", &event.user_id)?);
        let mut verified_digest = None;
        if envelope.ty != CHANGED {
            // The event's id makes the method's: hearing it again changes nothing, not even for
            // somebody who has ended the method since.
            let method = self.method(org, user, ContactMethodId(envelope.id), &event, now)?;
            verified_digest = event.verified.then(|| method.address_digest.clone());
            heard.methods.push(method);
        }
        if envelope.ty == REGISTERED {
            // Known before the first page, so that it need not be asked for then.
            let owner = Person { id: user, name: event.name.clone() };
            heard.owners.push(audiences::row_of(org, Group::Owners, &[owner], envelope.time));
        }
        let person = PersonSeen {
            org_id: org,
            user_id: user,
            name: event.name,
            verified_digest,
            inactive: event.inactive,
            version: envelope.version,
            seen_at: now,
        };
        let person = match heard.people.remove(&(org, user)) {
            Some(known) => known.and(person),
            None => person,
        };
        heard.people.insert((org, user), person);
        Ok(())
    }

    fn method(
        &self,
        org: OrgId,
        user: UserId,
        id: ContactMethodId,
        event: &UserEvent,
        now: DateTime<Utc>,
    ) -> Result<ContactMethod> {
        let place = Row { org, table: Table::ContactMethods, id: id.uuid() };
        let kept = self.addresses.keep(place, Kind::Email, &event.email)?;
        Ok(ContactMethod {
            org_id: org,
            id,
            user_id: user,
            kind: Kind::Email,
            address_sealed: kept.sealed,
            address_shown: kept.shown,
            address_digest: kept.digest,
            secret_sealed: None,
            disabled: false,
            verified_at: event.verified.then_some(now),
            created_at: now,
            created_by: user.uuid(),
            updated_at: now,
            updated_by: user.uuid(),
            version: 1,
            archived_at: None,
        })
    }
}
