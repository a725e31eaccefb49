//! Incident events as incident-service tells them, heard and asked about.

use analytics_service::{consumers::History, history, numbers};
use chrono::{DateTime, TimeDelta, Utc};
use platform::bus::{Delivered, Envelope, Record};
use platform::consumer::{BatchCtx, Handler};
use platform::ctx::Ctx;
use platform::error::Result;
use platform::testing::TestDb;
use proto::analytics::v1::{
    GetMttrRequest, GetSummaryRequest, ListHistoryRequest, ListHistoryResponse, MttrGroup, Summary,
};
use proto::api::v1::{Reference, Severity, Urgency};
use proto::events::v1::IncidentEvent;
use proto::incident::v1::{Incident, IncidentStatus};
use uuid::Uuid;

pub struct Fixture {
    pub db: TestDb,
    pub cx: Ctx,
    pub service: Uuid,
}

pub fn reference(id: Uuid, name: &str) -> Reference {
    Reference { id: id.to_string(), name: name.to_owned() }
}

impl Fixture {
    pub async fn new() -> Self {
        let db = TestDb::with(&[crate::OURS]).await;
        let cx = db.cx(&["analytics_read"]);
        let service = cx.id();
        Self { db, cx, service }
    }

    /// A critical incident that was just triggered.
    pub fn incident(&self, created: DateTime<Utc>) -> Incident {
        Incident {
            id: self.cx.id().to_string(),
            number: 1,
            severity: Severity::Critical.into(),
            urgency: Urgency::High.into(),
            status: IncidentStatus::Triggered.into(),
            created_at: Some(proto::time::to_timestamp(created)),
            ..Incident::default()
        }
    }

    /// An incident created at `created`, acknowledged and resolved so many milliseconds later.
    pub fn life(
        &self,
        created: DateTime<Utc>,
        acknowledged: Option<i64>,
        resolved: Option<i64>,
    ) -> Vec<Delivered> {
        let stamp = |ms: i64| Some(proto::time::to_timestamp(created + TimeDelta::milliseconds(ms)));
        let mut incident = self.incident(created);
        let mut log = vec![self.event(&incident, 1, "created")];
        if let Some(ms) = acknowledged {
            incident.first_acknowledged_at = stamp(ms);
            incident.set_status(IncidentStatus::Acknowledged);
            log.push(self.event(&incident, 2, "acknowledged"));
        }
        if let Some(ms) = resolved {
            incident.resolved_at = stamp(ms);
            incident.set_status(IncidentStatus::Resolved);
            log.push(self.event(&incident, 3, "resolved"));
        }
        log
    }

    /// An event of the fixture's service.
    pub fn event(&self, incident: &Incident, version: i64, name: &str) -> Delivered {
        self.event_of(incident, version, name, reference(self.service, "Payment"), None)
    }

    pub fn event_of(
        &self,
        incident: &Incident,
        version: i64,
        name: &str,
        service: Reference,
        team: Option<Reference>,
    ) -> Delivered {
        let data = IncidentEvent {
            incident: Some(incident.clone()),
            service: Some(service),
            team,
            ..IncidentEvent::default()
        };
        let ty = format!("pulseops.incident.{name}.v1");
        let envelope = Envelope::new(&self.cx, "incident", ty, &incident.id, version);
        Delivered { partition: 0, offset: version, record: Record::new(incident.id.clone(), envelope, &data) }
    }

    pub async fn hear(&self, log: &[Delivered]) {
        self.handle(log, false).await;
    }

    /// Hears what lay in the dead letters.
    pub async fn replay(&self, log: &[Delivered]) {
        self.handle(log, true).await;
    }

    async fn handle(&self, log: &[Delivered], replay: bool) {
        let source = self.db.source().clone();
        let cx = BatchCtx {
            consumer: "history",
            service: "analytics",
            topic: "pulseops.incidents.v1",
            partition: 0,
            epoch: 1,
            now: source.now(),
            replay,
            source,
        };
        let heard = platform::system_tx!(self.db.db("analytics"), "test", |conn| {
            History.handle(&cx, conn, log).await.map(drop)
        });
        heard.expect("the batch is applied");
    }

    pub async fn mttr(&self, request: GetMttrRequest) -> Vec<MttrGroup> {
        self.try_mttr(request).await.expect("numbers")
    }

    pub async fn try_mttr(&self, request: GetMttrRequest) -> Result<Vec<MttrGroup>> {
        let (db, cx) = (self.db.db("analytics"), &self.cx);
        let mttr = platform::tx!(db, cx, |conn| numbers::mttr(cx, conn, &request).await);
        mttr.map(|mttr| mttr.groups)
    }

    pub async fn summary(&self, cx: &Ctx, request: GetSummaryRequest) -> Summary {
        let db = self.db.db("analytics");
        let summary = platform::tx!(db, cx, |conn| numbers::summary(cx, conn, &request).await);
        summary.expect("a summary")
    }

    pub async fn history(&self, request: ListHistoryRequest) -> Result<ListHistoryResponse> {
        let (db, cx) = (self.db.db("analytics"), &self.cx);
        platform::tx!(db, cx, |conn| history::list(cx, conn, request.clone()).await)
    }
}
