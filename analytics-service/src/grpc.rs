//! Unpack, core, pack.

use platform::db::Db;
use platform::rpc::unpack;
use proto::analytics::v1::{
    GetMttrRequest, GetSummaryRequest, ListHistoryRequest, ListHistoryResponse, Mttr, Summary,
    analytics_service_server::AnalyticsService,
};
use tonic::{Request, Response, Status};

use crate::{history, numbers};

pub struct Grpc {
    pub db: Db,
}

#[tonic::async_trait]
impl AnalyticsService for Grpc {
    async fn get_summary(&self, request: Request<GetSummaryRequest>) -> Result<Response<Summary>, Status> {
        let (cx, request) = unpack(request)?;
        let answer = platform::tx!(self.db, &cx, |conn| numbers::summary(&cx, conn, &request).await)?;
        Ok(Response::new(answer))
    }

    async fn get_mttr(&self, request: Request<GetMttrRequest>) -> Result<Response<Mttr>, Status> {
        let (cx, request) = unpack(request)?;
        let answer = platform::tx!(self.db, &cx, |conn| numbers::mttr(&cx, conn, &request).await)?;
        Ok(Response::new(answer))
    }

    async fn list_history(
        &self,
        request: Request<ListHistoryRequest>,
    ) -> Result<Response<ListHistoryResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let answer = platform::tx!(self.db, &cx, |conn| history::list(&cx, conn, request.clone()).await)?;
        Ok(Response::new(answer))
    }
}
