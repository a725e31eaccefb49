use analytics_service::{consumers::History, history, numbers};
use chrono::{DateTime, TimeDelta, Utc};
use platform::bus::{Delivered, Envelope, Record};
use platform::consumer::{BatchCtx, Handler};
use platform::ctx::Ctx;
use platform::testing::TestDb;
use proto::analytics::v1::{GetMttrRequest, GetSummaryRequest, GroupBy, ListHistoryRequest, MttrGroup};
use proto::api::v1::{Reference, Severity, Urgency};
use proto::events::v1::IncidentEvent;
use proto::incident::v1::{Incident, IncidentStatus};
use uuid::Uuid;

struct Fixture {
    db: TestDb,
    cx: Ctx,
    service: Uuid,
}

impl Fixture {
    async fn new() -> Self {
        let db = TestDb::with(&[crate::OURS]).await;
        let cx = db.cx(&["analytics_read"]);
        let service = cx.id();
        Self { db, cx, service }
    }

    /// An incident created at `created`, acknowledged and resolved so many milliseconds later.
    fn life(
        &self,
        created: DateTime<Utc>,
        acknowledged: Option<i64>,
        resolved: Option<i64>,
    ) -> Vec<Delivered> {
        let stamp = |ms: i64| Some(proto::time::to_timestamp(created + TimeDelta::milliseconds(ms)));
        let mut incident = Incident {
            id: self.cx.id().to_string(),
            number: 1,
            severity: Severity::Critical.into(),
            urgency: Urgency::High.into(),
            status: IncidentStatus::Triggered.into(),
            created_at: stamp(0),
            ..Incident::default()
        };
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

    fn event(&self, incident: &Incident, version: i64, name: &str) -> Delivered {
        let service = Reference { id: self.service.to_string(), name: "Payment".to_owned() };
        let data = IncidentEvent {
            incident: Some(incident.clone()),
            service: Some(service),
            ..IncidentEvent::default()
        };
        let ty = format!("pulseops.incident.{name}.v1");
        let envelope = Envelope::new(&self.cx, "incident", ty, &incident.id, version);
        Delivered { partition: 0, offset: version, record: Record::new(incident.id.clone(), envelope, &data) }
    }

    async fn hear(&self, log: &[Delivered]) {
        let source = self.db.source().clone();
        let cx = BatchCtx {
            consumer: "history",
            service: "analytics",
            topic: "pulseops.incidents.v1",
            partition: 0,
            epoch: 1,
            now: source.now(),
            replay: false,
            source,
        };
        let heard = platform::system_tx!(self.db.db("analytics"), "test", |conn| {
            History.handle(&cx, conn, log).await.map(drop)
        });
        heard.expect("the batch is applied");
    }

    async fn mttr(&self, cx: &Ctx, request: GetMttrRequest) -> Vec<MttrGroup> {
        let db = self.db.db("analytics");
        platform::tx!(db, cx, |conn| numbers::mttr(cx, conn, &request).await).expect("numbers").groups
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_follow_from_events_however_often_they_come() {
    let fixture = Fixture::new().await;
    let now = fixture.cx.now;
    let mut log = fixture.life(now, Some(200), Some(1_000));
    log.extend(fixture.life(now, Some(400), Some(3_000)));
    log.extend(fixture.life(now, None, None));
    fixture.hear(&log).await;
    fixture.hear(&log).await;
    let groups = fixture.mttr(&fixture.cx, GetMttrRequest::default()).await;
    let [all] = groups.as_slice() else { panic!("one group: {groups:?}") };
    assert_eq!((all.incidents, all.acknowledged, all.resolved), (3, 2, 2));
    let (mtta, mttr) = (all.mtta.unwrap(), all.mttr.unwrap());
    assert_eq!((mtta.mean_ms, mtta.p50_ms, mtta.p90_ms), (Some(300), Some(300), Some(380)));
    assert_eq!((mttr.mean_ms, mttr.p50_ms, mttr.p90_ms), (Some(2_000), Some(2_000), Some(2_800)));
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_by_service_severity_and_day_in_the_zone() {
    let fixture = Fixture::new().await;
    // 23:30 UTC of a day is already the next one in Berlin.
    let late: DateTime<Utc> = "2026-03-01T23:30:00Z".parse().unwrap();
    fixture.hear(&fixture.life(late, None, Some(10))).await;
    let by = |group_by: GroupBy, zone: &str| GetMttrRequest {
        group_by: group_by.into(),
        time_zone: zone.to_owned(),
        created_after: Some(proto::time::to_timestamp(late)),
        ..GetMttrRequest::default()
    };
    let key = async |request| fixture.mttr(&fixture.cx, request).await[0].key.clone();
    assert_eq!(key(by(GroupBy::Day, "")).await, "2026-03-01");
    assert_eq!(key(by(GroupBy::Day, "Europe/Berlin")).await, "2026-03-02");
    assert_eq!(key(by(GroupBy::Severity, "")).await, "critical");
    assert_eq!(key(by(GroupBy::Service, "")).await, fixture.service.to_string());
    let before =
        GetMttrRequest { created_before: Some(proto::time::to_timestamp(late)), ..by(GroupBy::Day, "") };
    assert!(fixture.mttr(&fixture.cx, before).await.is_empty(), "the end is exclusive");
    let unknown = by(GroupBy::Day, "Moon/Base");
    let db = fixture.db.db("analytics");
    let refused = platform::tx!(db, &fixture.cx, |conn| numbers::mttr(&fixture.cx, conn, &unknown).await);
    assert_eq!(refused.unwrap_err().fields[0].field, "time_zone");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_paged_and_of_one_organization() {
    let fixture = Fixture::new().await;
    for minute in 0..3 {
        let created = fixture.cx.now + TimeDelta::minutes(minute);
        fixture.hear(&fixture.life(created, None, (minute == 1).then_some(5))).await;
    }
    let db = fixture.db.db("analytics");
    let mut request = ListHistoryRequest { page_size: 2, ..ListHistoryRequest::default() };
    let mut seen = Vec::new();
    loop {
        let page = platform::tx!(db, &fixture.cx, |conn| {
            history::list(&fixture.cx, conn, request.clone()).await
        });
        let page = page.expect("a page");
        seen.extend(page.items.iter().map(|record| record.created_at.unwrap().seconds));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen.len(), 3);
    assert!(seen.is_sorted_by(|newer, older| newer > older), "newest first: {seen:?}");
    let stranger = fixture.db.cx(&["analytics_read"]);
    let summary = platform::tx!(db, &stranger, |conn| {
        numbers::summary(&stranger, conn, &GetSummaryRequest::default()).await
    });
    assert_eq!(summary.expect("a summary").total, 0);
    let own = platform::tx!(db, &fixture.cx, |conn| {
        numbers::summary(&fixture.cx, conn, &GetSummaryRequest::default()).await
    });
    let own = own.expect("a summary");
    assert_eq!((own.total, own.open, own.resolved), (3, 2, 1));
    assert_eq!(own.by_service[0].service.as_ref().unwrap().name, "Payment");
}
