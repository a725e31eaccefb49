//! Use cases that are more than one transaction: hashing, a look-up before the organization is
//! known, a question to another service. No transaction is open meanwhile.

use std::borrow::Cow;

use aws_lc_rs::hmac;
use platform::ctx::{Ctx, parse_id};
use platform::error::{Error, Kind, Result};
use platform::secret::{Secret, sha256};
use platform::{rpc, system_tx, tx};
use proto::auth::v1 as pb;
use proto::incident::v1::GetServiceRequest;
use uuid::Uuid;

use crate::config::Registration;
use crate::grpc::Auth;
use crate::passwords::check_not_email;
use crate::registration::{self, Registration as NewAccount};
use crate::sessions::{self, Signed};
use crate::store;
use crate::store::api_keys::{ApiKey, Which};
use crate::users::{NewPassword, fold_email};
use crate::{api_keys, users};

impl Auth {
    /// # Errors
    /// Forbidden `registration_closed`; Conflict `already_exists` at `email`.
    pub async fn sign_up(&self, cx: &Ctx, request: pb::RegisterRequest) -> Result<Signed> {
        if self.registration == Registration::Closed {
            let detail = "this deployment takes no registrations; ask its owner for an account";
            return Err(Error::forbidden("registration_closed", detail));
        }
        check_not_email(&request.password, &request.email, "password")?;
        let new = NewAccount {
            email: fold_email(&request.email),
            name: request.name,
            organization: request.organization,
            password_hash: self.passwords.hash(Secret::new(request.password)).await?,
        };
        let owner = registration::context(cx, &new.name);
        let signed =
            tx!(self.db, &owner, |conn| { registration::register(&owner, conn, &self.signer, &new).await })?;
        metrics::counter!("pulseops_auth_registrations_total").increment(1);
        Ok(signed)
    }

    /// # Errors
    /// Unauthenticated `invalid_credentials`; Forbidden `user_disabled`.
    pub async fn sign_in(&self, cx: &Ctx, request: pb::LoginRequest) -> Result<Signed> {
        let email = fold_email(&request.email);
        let account =
            system_tx!(self.db, "login", |conn| { store::users::find_by_email(conn, &email).await })?;
        let hash = account.as_ref().and_then(|account| account.password_hash.clone());
        let right = self.passwords.verify(Secret::new(request.password), hash.clone()).await?;
        let outcome = if right { "accepted" } else { "refused" };
        metrics::counter!("pulseops_auth_logins_total", "outcome" => outcome).increment(1);
        let (Some(account), Some(hash), true) = (account, hash, right) else {
            return Err(sessions::invalid_credentials());
        };
        let cx = sessions::in_org(cx, account.org);
        tx!(self.db, &cx, |conn| sessions::login(&cx, conn, &self.signer, account.user, &hash).await)
    }

    /// # Errors
    /// Unauthenticated; see [`sessions::refresh`].
    pub async fn renew(&self, cx: &Ctx, request: pb::RefreshRequest) -> Result<Signed> {
        let hash = sha256(request.refresh_token.as_bytes());
        let found =
            system_tx!(self.db, "refresh", |conn| { store::sessions::find_by_token(conn, &hash).await })?;
        let (org, session) = found.ok_or_else(sessions::invalid_refresh_token)?;
        let cx = sessions::in_org(cx, org);
        tx!(self.db, &cx, |conn| { sessions::refresh(&cx, conn, &self.signer, session, &hash).await })?
    }

    /// The hash of a new user's password, if there is one.
    pub async fn first_password(&self, new: &pb::User) -> Result<Option<Secret<String>>> {
        let Some(password) = new.password.as_deref() else { return Ok(None) };
        check_not_email(password, &new.email, "user.password")?;
        self.passwords.hash(Secret::new(password.to_owned())).await.map(Some)
    }

    /// The hash of the password that an update sets, if it sets one.
    pub async fn changed_password(&self, request: &pb::UpdateUserRequest) -> Result<Option<NewPassword>> {
        let named = |mask: &prost_types::FieldMask| mask.paths.iter().any(|path| path == "password");
        let password = request.user.as_ref().and_then(|user| user.password.clone());
        let Some(plain) = password.filter(|_| request.update_mask.as_ref().is_some_and(named)) else {
            return Ok(None);
        };
        let plain = Secret::new(plain);
        let hash = self.passwords.hash(plain.clone()).await?;
        Ok(Some(NewPassword { plain, hash }))
    }

    /// The request as its hash is kept with an Idempotency-Key: a password is replaced by a keyed
    /// digest, so that the hash helps nobody to guess it.
    pub fn digested<'a>(&self, request: &'a pb::CreateUserRequest) -> Cow<'a, pb::CreateUserRequest> {
        let Some(password) = request.user.as_ref().and_then(|user| user.password.as_ref()) else {
            return Cow::Borrowed(request);
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.digest_key);
        let digest = hex::encode(hmac::sign(&key, password.as_bytes()));
        let mut request = request.clone();
        if let Some(user) = &mut request.user {
            user.password = Some(digest);
        }
        Cow::Owned(request)
    }

    /// Makes an integration key of a service of the organization.
    ///
    /// # Errors
    /// Forbidden `scope_exceeds_creator`; NotFound for the service; Conflict `archived`.
    pub async fn make_integration_key(
        &self,
        cx: &Ctx,
        request: &pb::CreateIntegrationKeyRequest,
    ) -> Result<api_keys::Made> {
        api_keys::check_may_send(cx)?;
        let id = parse_id("service_id", &request.service_id)?;
        self.check_service(cx, id).await?;
        tx!(self.db, cx, |conn| { api_keys::create_integration(cx, conn, id, &request.name).await })
    }

    /// A page of a service's integration keys. Whether the service exists is asked only when there
    /// is no key that shows it; when nobody can say it, the page is empty.
    ///
    /// # Errors
    /// NotFound for the service.
    pub async fn integration_keys(
        &self,
        cx: &Ctx,
        request: &pb::ListIntegrationKeysRequest,
    ) -> Result<(Vec<ApiKey>, String)> {
        let service = parse_id("service_id", &request.service_id)?;
        let which = Which::Integration { service };
        let page = platform::page!(request, "created_at")?;
        let keys = tx!(self.db, cx, |conn| api_keys::list(cx, conn, which, &page).await)?;
        if !keys.0.is_empty() {
            return Ok(keys);
        }
        match self.find_service(cx, service).await {
            Err(error) if !error.is_retryable() => Err(error),
            _ => Ok(keys),
        }
    }

    async fn check_service(&self, cx: &Ctx, id: Uuid) -> Result<()> {
        let service = self.find_service(cx, id).await?;
        if service.archived_at.is_some() {
            return Err(Error::conflict("archived", "an archived service gets no new keys"));
        }
        Ok(())
    }

    /// Asked by ourselves: the operations on keys need their own permission and no other.
    async fn find_service(&self, cx: &Ctx, id: Uuid) -> Result<proto::incident::v1::Service> {
        let request = GetServiceRequest { id: id.to_string() };
        let cx = cx.as_service(crate::NAME);
        let answer = self.services.clone().get_service(rpc::request(&cx, request)).await;
        answer.map(tonic::Response::into_inner).map_err(|status| match Error::from(status) {
            error if error.kind == Kind::NotFound => Error::not_found("service"),
            error => error,
        })
    }

    /// Adds a user; the answer is kept with the call's Idempotency-Key.
    ///
    /// # Errors
    /// See [`users::create`].
    pub async fn add_user(
        &self,
        cx: &Ctx,
        request: &pb::CreateUserRequest,
    ) -> Result<tonic::Response<pb::User>> {
        let new = request.user.clone().unwrap_or_default();
        let hash = self.first_password(&new).await?;
        platform::mutation!(self.db, cx, self.digested(request).as_ref(), |conn| {
            let user = users::create(cx, conn, &self.access, &new, hash.as_ref()).await?;
            Ok(crate::convert::user(&user))
        })
    }
}
