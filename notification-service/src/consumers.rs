//! What we hear: people, from auth-service.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use platform::bus::{Delivered, TopicSpec};
use platform::consumer::{After, BatchCtx, Handler};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use prost::Message as _;
use proto::events::v1::UserEvent;
use proto::topics::AUTH;

use crate::addresses::Addresses;
use crate::ids::{ContactMethodId, UserId};
use crate::kinds::Kind;
use crate::store::contact_methods::{self, ContactMethod};
use crate::store::people::{self, PersonSeen};
use crate::vault::{Row, Table};

/// Where auth-service says what happened to people.
pub const AUTH_TOPIC: TopicSpec = TopicSpec::new(AUTH.name, AUTH.partitions, AUTH.retention_ms);

/// Consumer `contacts`: everybody gets a contact method from the account's address, verified when
/// the account was registered with it.
pub struct Contacts {
    pub addresses: Addresses,
}

#[async_trait]
impl Handler for Contacts {
    async fn handle(
        &self,
        cx: &BatchCtx,
        conn: &mut AsyncPgConnection,
        batch: &[Delivered],
    ) -> Result<After> {
        let mut seen: HashMap<(OrgId, UserId), PersonSeen> = HashMap::new();
        let mut methods = Vec::new();
        for delivered in batch {
            let envelope = &delivered.record.envelope;
            if !matches!(
                envelope.ty.as_str(),
                "pulseops.auth.user.registered.v1" | "pulseops.auth.user.created.v1"
            ) {
                continue;
            }
            let event = UserEvent::decode(delivered.record.data.clone()).map_err(Error::internal)?;
            // The event's id makes the method's: hearing it again changes nothing, not even for
            // somebody who has ended the method since.
            let method = self.method(envelope.org, ContactMethodId(envelope.id), &event, cx.now)?;
            let person = PersonSeen {
                org_id: envelope.org,
                user_id: method.user_id,
                name: event.name,
                verified_digest: event.verified.then(|| method.address_digest.clone()),
                seen_at: cx.now,
            };
            seen.insert((person.org_id, person.user_id), person);
            methods.push(method);
        }
        if !methods.is_empty() {
            let people: Vec<PersonSeen> = seen.into_values().collect();
            people::upsert_people(conn, &people).await?;
            contact_methods::insert_missing(conn, &methods).await?;
        }
        Ok(After::none())
    }
}

impl Contacts {
    fn method(
        &self,
        org: OrgId,
        id: ContactMethodId,
        event: &UserEvent,
        now: DateTime<Utc>,
    ) -> Result<ContactMethod> {
        let user = UserId::parse("user_id", &event.user_id)?;
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
