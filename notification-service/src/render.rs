//! A page as text for people and as JSON for programs: pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use platform::error::{Error, Result};
use proto::api::v1::{Reference, Severity};
use proto::events::v1::IncidentEvent;
use proto::incident::v1::{Incident, IncidentStatus};
use serde_json::{Value, json};

use crate::proofs;

/// A subject is one line of at most this many characters.
const MAX_SUBJECT: usize = 200;
/// Of a description, a text shows at most this many characters.
const MAX_DESCRIPTION: usize = 2_000;

/// Of what fired, a text shows at most this many attributes, their values cut at so many characters.
const MAX_ATTRIBUTES: (usize, usize) = (10, 100);

/// What a message says, before it gets a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    pub subject: String,
    pub text: String,
    pub json: String,
}

/// A page about an incident. `message` is what the workflow's author wrote, or empty.
///
/// The JSON form is `{"type": "incident.page", "timestamp", "data"}` as Standard Webhooks recommends;
/// `data` holds the incident as REST shows it, `service`, `team`, `policy`, `level`, `round`, `message` and
/// `attributes`: docs/webhooks.md.
///
/// # Errors
/// Internal, when the incident cannot be written as JSON.
pub fn page(
    event: &IncidentEvent,
    incident: &Incident,
    message: &str,
    decided_at: DateTime<Utc>,
) -> Result<Content> {
    let escalation = event.escalation.as_ref();
    let subject = subject(event, incident);
    let standard = format!("{subject}. {}", state(incident).1);
    let said = if message.is_empty() { standard.as_str() } else { message };
    let data = json!({
        "incident": proto::json::to_json(incident).map_err(Error::internal)?,
        "service": reference(event.service.as_ref()),
        "team": reference(event.team.as_ref()),
        "policy": reference(event.policy.as_ref()),
        "level": escalation.map(|escalation| escalation.level),
        "round": escalation.map(|escalation| escalation.round),
        "message": said,
        "attributes": event.attributes,
    });
    Ok(Content {
        text: text(event, incident, said),
        json: envelope("incident.page", decided_at, data),
        subject,
    })
}

/// A message that only shows that a channel works.
pub fn test(channel_id: &str, channel_name: &str, now: DateTime<Utc>) -> Content {
    let message = format!("This is a test of the channel {channel_name}. Nothing is broken.");
    let data = json!({"channel": {"id": channel_id, "name": channel_name}, "message": message});
    Content {
        subject: one_line(&format!("PulseOps test: {channel_name}")),
        text: message,
        json: envelope("channel.test", now, data),
    }
}

/// A message with a place for the code that proves an address.
pub fn code(now: DateTime<Utc>) -> Content {
    let minutes = proofs::VALID.num_minutes();
    Content {
        subject: "PulseOps: is this your address?".to_owned(),
        text: format!(
            "The code is {PLACE}. It is good for {minutes} minutes.\n\n\
             Somebody wants PulseOps to page this address about incidents. If that was not you, do nothing: \
             without the code nothing is sent here.\n",
            PLACE = proofs::PLACE
        ),
        json: envelope("contact_method.code", now, json!({})),
    }
}

fn envelope(kind: &str, at: DateTime<Utc>, data: Value) -> String {
    json!({"type": kind, "timestamp": at.to_rfc3339_opts(SecondsFormat::Millis, true), "data": data})
        .to_string()
}

fn reference(reference: Option<&Reference>) -> Value {
    reference.map_or(Value::Null, |it| json!({"id": it.id, "name": it.name}))
}

fn subject(event: &IncidentEvent, incident: &Incident) -> String {
    let service = event.service.as_ref().map_or("", |service| service.name.as_str());
    let severity = severity(incident);
    let label = match incident.status() {
        IncidentStatus::Triggered | IncidentStatus::Unspecified => severity.to_owned(),
        IncidentStatus::Acknowledged | IncidentStatus::Resolved => {
            format!("{severity}, {}", state(incident).0)
        }
    };
    one_line(&format!("[{label}] #{} {service}: {}", incident.number, incident.title))
}

/// Where the incident stands, as a word and as a sentence.
fn state(incident: &Incident) -> (&'static str, &'static str) {
    match incident.status() {
        IncidentStatus::Triggered | IncidentStatus::Unspecified => {
            ("triggered", "Somebody has to look at it.")
        }
        IncidentStatus::Acknowledged => ("acknowledged", "Somebody is looking at it."),
        IncidentStatus::Resolved => ("resolved", "It is over: nobody has to do anything."),
    }
}

fn severity(incident: &Incident) -> &'static str {
    match incident.severity() {
        Severity::Critical => "critical",
        Severity::High => "high",
        Severity::Medium => "medium",
        Severity::Low => "low",
        Severity::Info => "info",
        Severity::Unspecified => "unknown",
    }
}

fn text(event: &IncidentEvent, incident: &Incident, said: &str) -> String {
    let mut text = format!("{said}\n\nIncident: #{} {}\n", incident.number, incident.title);
    let name = |reference: &Option<Reference>| reference.as_ref().map(|it| it.name.clone());
    let level =
        event.escalation.as_ref().map(|it| format!("{} (round {}) of {}", it.level, it.round, it.policy));
    let opened = incident.created_at.as_ref().and_then(proto::time::from_timestamp);
    let lines = [
        ("Service", name(&event.service)),
        ("Team", name(&event.team)),
        ("Status", Some(state(incident).0.to_owned())),
        ("Severity", Some(severity(incident).to_owned())),
        ("Opened", opened.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true))),
        ("Level", level),
        ("Runbook", incident.runbook_url.clone()),
        ("Conference", incident.conference_url.clone()),
    ];
    for (label, value) in lines {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{label}: {value}");
        }
    }
    if !incident.description.is_empty() {
        let description: String = incident.description.chars().take(MAX_DESCRIPTION).collect();
        let _ = write!(text, "\n{description}\n");
    }
    write_attributes(&mut text, &event.attributes);
    text
}

fn write_attributes(text: &mut String, attributes: &BTreeMap<String, String>) {
    if attributes.is_empty() {
        return;
    }
    let (most, length) = MAX_ATTRIBUTES;
    text.push_str("\nAttributes:\n");
    for (name, value) in attributes.iter().take(most) {
        let value = if value.chars().nth(length).is_some() {
            format!("{}…", cleaned(value, length - 1))
        } else {
            cleaned(value, length)
        };
        let _ = writeln!(text, "  {}: {value}", cleaned(name, length));
    }
    if attributes.len() > most {
        let _ = writeln!(text, "  and {} more", attributes.len() - most);
    }
}

/// Titles come from events: control characters end as spaces, so that no header can be smuggled in.
fn one_line(text: &str) -> String {
    cleaned(text, MAX_SUBJECT)
}

/// The first `max` characters of `text`, control characters as spaces.
fn cleaned(text: &str, max: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(max).collect()
}

#[cfg(test)]
mod tests {
    use proto::incident::v1::EscalationData;

    use super::*;

    fn event() -> (IncidentEvent, Incident) {
        let incident = Incident {
            id: "0190f0e0-0000-7000-8000-000000000001".to_owned(),
            number: 12,
            title: "charge.failed\r\nBcc: x".to_owned(),
            severity: Severity::Critical.into(),
            status: IncidentStatus::Triggered.into(),
            description: "3 in 60 s".to_owned(),
            created_at: Some(prost_types::Timestamp { seconds: 1_767_323_045, nanos: 0 }),
            ..Incident::default()
        };
        let event = IncidentEvent {
            service: Some(Reference { id: "s".to_owned(), name: "payment".to_owned() }),
            escalation: Some(EscalationData {
                policy: "default".to_owned(),
                level: 2,
                round: 1,
                told: vec![],
            }),
            ..IncidentEvent::default()
        };
        (event, incident)
    }

    fn now() -> DateTime<Utc> {
        "2026-01-02T03:04:05.678Z".parse().expect("a valid time")
    }

    #[test]
    fn a_page_is_text_and_json() {
        let (event, incident) = event();
        let content = page(&event, &incident, "", now()).expect("rendered");
        insta::assert_snapshot!(content.subject, @"[critical] #12 payment: charge.failed  Bcc: x");
        insta::assert_snapshot!(content.text.replace('\r', "␍"), @"
        [critical] #12 payment: charge.failed  Bcc: x. Somebody has to look at it.

        Incident: #12 charge.failed␍
        Bcc: x
        Service: payment
        Status: triggered
        Severity: critical
        Opened: 2026-01-02T03:04:05Z
        Level: 2 (round 1) of default

        3 in 60 s
        ");
        let json: Value = serde_json::from_str(&content.json).expect("json");
        assert_eq!(
            (&json["type"], &json["timestamp"]),
            (&json!("incident.page"), &json!("2026-01-02T03:04:05.678Z"))
        );
        assert_eq!(json["data"]["incident"]["severity"], "critical");
        assert_eq!(json["data"]["service"]["name"], "payment");
        assert_eq!(json["data"]["team"], Value::Null);
        assert_eq!(json["data"]["level"], 2);
    }

    #[test]
    fn a_page_says_what_fired() {
        let (mut event, incident) = event();
        event.attributes = (0..12).map(|n| (format!("a{n:02}"), "x\n".repeat(n * 10))).collect();
        let content = page(&event, &incident, "", now()).expect("rendered");
        let shown = content.text.split_once("\nAttributes:\n").expect("attributes").1;
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[10]), (11, "  a00: ", "  and 2 more"));
        assert_eq!(lines[1].trim_end(), format!("  a01: {}", "x ".repeat(10).trim_end()));
        assert_eq!((lines[9].chars().count(), lines[9].ends_with('…')), ("  a09: ".len() + 100, true));
        let json: Value = serde_json::from_str(&content.json).expect("json");
        assert_eq!(json["data"]["attributes"], json!(event.attributes));
    }

    #[test]
    fn nobody_is_called_to_what_is_over() {
        let (event, mut incident) = event();
        incident.title = "charge.failed".to_owned();
        let mut first_lines = |status: IncidentStatus| {
            incident.status = status.into();
            let content = page(&event, &incident, "", now()).expect("rendered");
            assert!(content.text.contains(&format!("Status: {}", state(&incident).0)));
            content.text.lines().next().unwrap_or_default().to_owned()
        };
        assert_eq!(
            first_lines(IncidentStatus::Acknowledged),
            "[critical, acknowledged] #12 payment: charge.failed. Somebody is looking at it."
        );
        assert_eq!(
            first_lines(IncidentStatus::Resolved),
            "[critical, resolved] #12 payment: charge.failed. It is over: nobody has to do anything."
        );
    }

    #[test]
    fn the_authors_message_comes_first() {
        let (event, incident) = event();
        let content = page(&event, &incident, "Look at the gateway.", now()).expect("rendered");
        assert!(content.text.starts_with("Look at the gateway.\n\nIncident: #12"));
        let json: Value = serde_json::from_str(&content.json).expect("json");
        assert_eq!(json["data"]["message"], "Look at the gateway.");
    }
}
