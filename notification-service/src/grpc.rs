//! The RPCs: unpack, core, pack.

use std::sync::Arc;

use platform::db::Db;
use platform::idempotency;
use platform::rpc::unpack;
use proto::notification::v1 as wire;
use proto::notification::v1::channel_service_server::ChannelService;
use proto::notification::v1::contact_method_service_server::ContactMethodService;
use proto::notification::v1::notification_service_server::NotificationService;
use proto::notification::v1::send_service_server::SendService;
use tonic::{Request, Response, Status};

use crate::addresses::Addresses;
use crate::peers::Peers;
use crate::sending::Sending;
use crate::{contact_methods, destinations, notifications, proofs};

type Answer<T> = Result<Response<T>, Status>;

/// Every gRPC service of notification-service. Cloning shares it.
#[derive(Clone)]
pub struct Grpc(Arc<Parts>);

/// What the cores need.
pub struct Parts {
    pub db: Db,
    pub addresses: Addresses,
    pub peers: Peers,
    pub sending: Sending,
    /// Test messages that a channel takes.
    pub tests_per_hour: u32,
}

impl Grpc {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

#[tonic::async_trait]
impl ChannelService for Grpc {
    async fn create_channel(&self, request: Request<wire::CreateChannelRequest>) -> Answer<wire::Channel> {
        let (cx, request) = unpack(request)?;
        let input = request.channel.unwrap_or_default();
        destinations::check_team(&cx, &self.0.peers, input.team_id.as_deref()).await?;
        let channel = platform::tx!(self.0.db, &cx, |conn| {
            destinations::create(&cx, conn, &self.0.addresses, input.clone()).await
        })?;
        Ok(Response::new(channel))
    }

    async fn get_channel(&self, request: Request<wire::GetChannelRequest>) -> Answer<wire::Channel> {
        let (cx, request) = unpack(request)?;
        let channel = platform::tx!(self.0.db, &cx, |conn| {
            destinations::get(&cx, conn, &self.0.addresses, &request.id).await
        })?;
        Ok(Response::new(channel))
    }

    async fn list_channels(
        &self,
        request: Request<wire::ListChannelsRequest>,
    ) -> Answer<wire::ListChannelsResponse> {
        let (cx, request) = unpack(request)?;
        let page = platform::tx!(self.0.db, &cx, |conn| {
            destinations::list(&cx, conn, &self.0.addresses, &request).await
        })?;
        Ok(Response::new(page))
    }

    async fn update_channel(&self, request: Request<wire::UpdateChannelRequest>) -> Answer<wire::Channel> {
        let (cx, request) = unpack(request)?;
        let team_id = request.channel.as_ref().and_then(|channel| channel.team_id.as_deref());
        destinations::check_team(&cx, &self.0.peers, team_id).await?;
        let channel = platform::tx!(self.0.db, &cx, |conn| {
            destinations::update(&cx, conn, &self.0.addresses, request.clone()).await
        })?;
        Ok(Response::new(channel))
    }

    async fn delete_channel(&self, request: Request<wire::DeleteChannelRequest>) -> Answer<()> {
        let (cx, request) = unpack(request)?;
        platform::tx!(self.0.db, &cx, |conn| destinations::delete(&cx, conn, &request.id).await)?;
        Ok(Response::new(()))
    }

    async fn test_channel(&self, request: Request<wire::TestChannelRequest>) -> Answer<wire::Notification> {
        let (cx, request) = unpack(request)?;
        let mut born = None;
        let answer = platform::mutation!(self.0.db, &cx, &request, |conn| {
            let (addresses, limit) = (&self.0.addresses, self.0.tests_per_hour);
            let (notification, begun) = destinations::test(&cx, conn, addresses, limit, &request).await?;
            born = Some(begun);
            Ok(notification)
        })?;
        self.0.sending.start(born);
        Ok(answer)
    }
}

#[tonic::async_trait]
impl ContactMethodService for Grpc {
    async fn create_contact_method(
        &self,
        request: Request<wire::CreateContactMethodRequest>,
    ) -> Answer<wire::ContactMethod> {
        let (cx, request) = unpack(request)?;
        let user = contact_methods::authorize(&cx, &self.0.peers, &request.user_id).await?;
        let input = request.contact_method.unwrap_or_default();
        let method = platform::tx!(self.0.db, &cx, |conn| {
            contact_methods::create(&cx, conn, &self.0.addresses, user, input.clone()).await
        })?;
        Ok(Response::new(method))
    }

    async fn get_contact_method(
        &self,
        request: Request<wire::GetContactMethodRequest>,
    ) -> Answer<wire::ContactMethod> {
        let (cx, request) = unpack(request)?;
        let user = contact_methods::authorize(&cx, &self.0.peers, &request.user_id).await?;
        let method = platform::tx!(self.0.db, &cx, |conn| {
            contact_methods::get(&cx, conn, &self.0.addresses, user, &request.id).await
        })?;
        Ok(Response::new(method))
    }

    async fn list_contact_methods(
        &self,
        request: Request<wire::ListContactMethodsRequest>,
    ) -> Answer<wire::ListContactMethodsResponse> {
        let (cx, request) = unpack(request)?;
        let user = contact_methods::authorize(&cx, &self.0.peers, &request.user_id).await?;
        let page = platform::tx!(self.0.db, &cx, |conn| {
            contact_methods::list(&cx, conn, &self.0.addresses, user, &request).await
        })?;
        Ok(Response::new(page))
    }

    async fn update_contact_method(
        &self,
        request: Request<wire::UpdateContactMethodRequest>,
    ) -> Answer<wire::ContactMethod> {
        let (cx, request) = unpack(request)?;
        let user = contact_methods::authorize(&cx, &self.0.peers, &request.user_id).await?;
        let method = platform::tx!(self.0.db, &cx, |conn| {
            contact_methods::update(&cx, conn, &self.0.addresses, user, request.clone()).await
        })?;
        Ok(Response::new(method))
    }

    async fn delete_contact_method(&self, request: Request<wire::DeleteContactMethodRequest>) -> Answer<()> {
        let (cx, request) = unpack(request)?;
        let user = contact_methods::authorize(&cx, &self.0.peers, &request.user_id).await?;
        platform::tx!(self.0.db, &cx, |conn| contact_methods::delete(&cx, conn, user, &request.id).await)?;
        Ok(Response::new(()))
    }

    async fn send_contact_method_code(
        &self,
        request: Request<wire::SendContactMethodCodeRequest>,
    ) -> Answer<wire::Notification> {
        let (cx, request) = unpack(request)?;
        let user = contact_methods::authorize(&cx, &self.0.peers, &request.user_id).await?;
        let mut born = None;
        let answer = platform::mutation!(self.0.db, &cx, &request, |conn| {
            let (notification, begun) = proofs::send(&cx, conn, &self.0.addresses, user, &request.id).await?;
            born = Some(begun);
            Ok(notification)
        })?;
        self.0.sending.start(born);
        Ok(answer)
    }

    async fn verify_contact_method(
        &self,
        request: Request<wire::VerifyContactMethodRequest>,
    ) -> Answer<wire::ContactMethod> {
        let (cx, request) = unpack(request)?;
        let user = contact_methods::authorize(&cx, &self.0.peers, &request.user_id).await?;
        if let Some(answer) = idempotency::replayed(&self.0.db, &cx, &request).await? {
            return Ok(answer);
        }
        proofs::check(&cx, &self.0.db, &self.0.addresses, user, &request).await?;
        Ok(platform::mutation!(self.0.db, &cx, &request, |conn| {
            proofs::accept(&cx, conn, &self.0.addresses, user, &request).await
        })?)
    }
}

#[tonic::async_trait]
impl NotificationService for Grpc {
    async fn list_notifications(
        &self,
        request: Request<wire::ListNotificationsRequest>,
    ) -> Answer<wire::ListNotificationsResponse> {
        let (cx, request) = unpack(request)?;
        let page = platform::tx!(self.0.db, &cx, |conn| notifications::list(&cx, conn, &request).await)?;
        Ok(Response::new(page))
    }

    async fn get_notification(
        &self,
        request: Request<wire::GetNotificationRequest>,
    ) -> Answer<wire::Notification> {
        let (cx, request) = unpack(request)?;
        let row = platform::tx!(self.0.db, &cx, |conn| notifications::get(&cx, conn, &request.id).await)?;
        Ok(Response::new(row))
    }

    async fn replay_notification(
        &self,
        request: Request<wire::ReplayNotificationRequest>,
    ) -> Answer<wire::Notification> {
        let (cx, request) = unpack(request)?;
        if let Some(answer) = idempotency::replayed(&self.0.db, &cx, &request).await? {
            return Ok(answer);
        }
        let progress = notifications::present_progress(&cx, &self.0.db, &self.0.peers, &request).await?;
        let mut born = None;
        let answer = platform::mutation!(self.0.db, &cx, &request, |conn| {
            let (notification, claim) = notifications::replay(&cx, conn, &request, progress).await?;
            born = Some(claim);
            Ok(notification)
        })?;
        self.0.sending.run_now(born);
        Ok(answer)
    }
}

#[tonic::async_trait]
impl SendService for Grpc {
    async fn send(&self, request: Request<wire::SendRequest>) -> Answer<wire::SendResponse> {
        let (cx, request) = unpack(request)?;
        Ok(Response::new(self.0.sending.send(&cx, request).await?))
    }

    async fn check_channels(
        &self,
        request: Request<wire::CheckChannelsRequest>,
    ) -> Answer<wire::CheckChannelsResponse> {
        let (cx, request) = unpack(request)?;
        let found = platform::tx!(self.0.db, &cx, |conn| destinations::check(&cx, conn, &request).await)?;
        Ok(Response::new(found))
    }
}
