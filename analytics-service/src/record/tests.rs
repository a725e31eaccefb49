use platform::source::Source;
use proptest::prelude::*;
use proto::api::v1::{self as api, Reference};
use proto::incident::v1 as incident;

use super::*;

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_700_000_000_000 + ms).unwrap()
}

struct Life {
    org: OrgId,
    incident: incident::Incident,
    version: i64,
    steps: Vec<Step>,
}

impl Life {
    fn new() -> Self {
        let source = Source::fixed(1, at(0));
        let incident = incident::Incident {
            id: source.id().to_string(),
            number: 7,
            title: "down".to_owned(),
            severity: api::Severity::Critical.into(),
            urgency: api::Urgency::High.into(),
            status: incident::IncidentStatus::Triggered.into(),
            created_at: Some(proto::time::to_timestamp(at(0))),
            ..Default::default()
        };
        Self { org: OrgId(source.id()), incident, version: 0, steps: Vec::new() }
    }

    fn step(&mut self, happened: Happened, change: impl FnOnce(&mut incident::Incident)) -> &mut Self {
        change(&mut self.incident);
        self.version += 1;
        let service = Reference { id: Uuid::nil().to_string(), name: "Payment".to_owned() };
        self.steps.push(Step {
            org: self.org,
            incident_id: self.incident.id.parse().unwrap(),
            version: self.version,
            happened,
            event: IncidentEvent {
                incident: Some(self.incident.clone()),
                service: Some(service),
                ..Default::default()
            },
        });
        self
    }

    fn acknowledge(&mut self, ms: i64) -> &mut Self {
        self.step(Happened::Other, |incident| {
            incident.set_status(incident::IncidentStatus::Acknowledged);
            let now = Some(proto::time::to_timestamp(at(ms)));
            incident.first_acknowledged_at = incident.first_acknowledged_at.or(now);
        })
    }

    fn resolve(&mut self, ms: i64) -> &mut Self {
        self.step(Happened::Resolution, |incident| {
            incident.set_status(incident::IncidentStatus::Resolved);
            incident.resolved_at = Some(proto::time::to_timestamp(at(ms)));
        })
    }

    fn reopen(&mut self) -> &mut Self {
        self.step(Happened::Other, |incident| {
            incident.set_status(incident::IncidentStatus::Triggered);
            incident.resolved_at = None;
            incident.reopen_count += 1;
        })
    }

    fn record(&self) -> Record {
        let folded = fold(&HashMap::new(), &self.steps, false).unwrap();
        folded.into_values().next().unwrap()
    }
}

#[test]
fn mtta_counts_from_the_first_acknowledgement_mttr_to_the_last_resolution() {
    let mut life = Life::new();
    life.step(Happened::Other, |_| {}).step(Happened::Escalation, |_| {}).acknowledge(400).resolve(1_000);
    let record = life.record();
    assert_eq!((record.mtta_ms, record.mttr_ms, record.escalations), (Some(400), Some(1_000), 1));
    life.reopen();
    let record = life.record();
    assert_eq!((record.mttr_ms, record.reopen_count), (None, 1), "a reopen withdraws it");
    life.acknowledge(1_500).resolve(2_500);
    let record = life.record();
    assert_eq!((record.mtta_ms, record.mttr_ms), (Some(400), Some(2_500)));
}

#[test]
fn never_acknowledged_is_outside_mtta() {
    let mut life = Life::new();
    life.step(Happened::Other, |_| {}).resolve(1_000);
    assert_eq!(life.record().mtta_ms, None);
}

#[test]
fn what_is_filtered_by_stands_as_it_was_at_resolution() {
    let mut life = Life::new();
    let named =
        |id: u128, name: &str| Some(Reference { id: Uuid::from_u128(id).to_string(), name: name.to_owned() });
    life.step(Happened::Other, |_| {}).resolve(1_000);
    life.steps[1].event.team = named(1, "Core");
    life.step(Happened::Other, |incident| {
        incident.set_severity(api::Severity::Low);
        incident.set_urgency(api::Urgency::Low);
        incident.title = "renamed".to_owned();
    });
    life.steps[2].event.service = named(2, "Mail");
    life.steps[2].event.team = named(3, "Mailers");
    let filtered_by = |record: &Record| {
        let team = record.team_name.clone().unwrap_or_default();
        (record.severity, record.urgency, record.service_name.clone(), team, record.title.clone())
    };
    let text = str::to_owned;
    let at_resolution = (Severity::Critical, Urgency::High, text("Payment"), text("Core"), text("renamed"));
    assert_eq!(filtered_by(&life.record()), at_resolution);
    life.reopen();
    life.steps[3].event.service = named(2, "Mail");
    let since = (Severity::Low, Urgency::Low, text("Mail"), String::new(), text("renamed"));
    assert_eq!(filtered_by(&life.record()), since);
}

/// The record of a life whose step of `version` lay in the dead letters until everything else was heard.
fn replayed(life: &Life, version: i64) -> Record {
    let (late, heard): (Vec<_>, Vec<_>) =
        life.steps.iter().cloned().partition(|step| step.version == version);
    let mut stored: HashMap<_, _> = fold(&HashMap::new(), &heard, false).unwrap().into_iter().collect();
    assert_eq!(fold(&stored, &late, false).unwrap(), BTreeMap::new(), "a repeat changes nothing");
    stored.extend(fold(&stored, &late, true).unwrap());
    stored.into_values().next().unwrap()
}

#[test]
fn whatever_comes_late_from_the_dead_letters_gives_the_same_record() {
    let mut life = Life::new();
    let edit = |severity: api::Severity| {
        move |incident: &mut incident::Incident| {
            incident.set_severity(severity);
            incident.title = format!("{severity:?}");
        }
    };
    life.step(Happened::Other, |_| {}).step(Happened::Escalation, |_| {}).acknowledge(300);
    life.resolve(900).step(Happened::Other, edit(api::Severity::High)).reopen();
    life.step(Happened::Escalation, |_| {}).step(Happened::Other, edit(api::Severity::Medium)).resolve(1_700);
    life.step(Happened::Other, edit(api::Severity::Low)).step(Happened::Other, edit(api::Severity::Info));
    let expected = life.record();
    assert_eq!((expected.escalations, expected.severity), (2, Severity::Medium));
    for version in 1..life.version {
        assert_eq!(replayed(&life, version), expected, "{version}");
    }
}

#[test]
fn an_event_without_an_incident_is_refused() {
    let mut life = Life::new();
    life.step(Happened::Other, |_| {});
    life.steps[0].event.incident = None;
    assert_eq!(fold(&HashMap::new(), &life.steps, false).unwrap_err().code, "undecodable_event");
}

proptest! {
    /// Any part of the log again, in slices of any size, gives the same record.
    #[test]
    fn repeats_and_slices_change_nothing(cuts in prop::collection::vec(0_usize..7, 0..6), size in 1_usize..4) {
        let mut life = Life::new();
        life.step(Happened::Other, |_| {}).step(Happened::Escalation, |_| {}).acknowledge(300).resolve(900).reopen().step(Happened::Escalation, |_| {}).resolve(1_700);
        let mut log: Vec<Step> = Vec::new();
        for step in &life.steps {
            log.push(step.clone());
            for cut in &cuts {
                log.extend(life.steps[..usize::try_from(step.version).unwrap()].iter().skip(*cut).cloned());
            }
        }
        let mut stored = HashMap::new();
        for slice in log.chunks(size) {
            let changed = fold(&stored, slice, false).unwrap();
            stored.extend(changed);
        }
        prop_assert_eq!(stored.into_values().next().unwrap(), life.record());
    }
}
