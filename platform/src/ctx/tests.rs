use super::*;

fn source() -> Source {
    Source::fixed(3, "2026-01-02T03:04:05Z".parse().expect("a valid time"))
}

#[test]
fn traceparents_round_trip_and_bad_ones_are_refused() {
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(Trace::parse(good).map(|t| t.to_string()).as_deref(), Some(good));
    let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
    assert!(Trace::parse(later).is_some());
    for bad in [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
    ] {
        assert_eq!(Trace::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_child_stays_in_the_trace() {
    let source = source();
    let parent = Trace::new(&source);
    let child = parent.child(&source);
    assert_eq!(child.trace_id, parent.trace_id);
    assert_ne!(child.span_id, parent.span_id);
}

#[test]
fn permissions_are_a_set() {
    let some: Permissions = ["rules_write", "events_write", "rules_write"].into_iter().collect();
    assert_eq!(some.iter().collect::<Vec<_>>(), ["events_write", "rules_write"]);
    assert!(some.contains("events_write") && !some.contains("events"));
    let other: Permissions = ["events_write", "x"].into_iter().collect();
    assert_eq!(some.intersection(&other).iter().collect::<Vec<_>>(), ["events_write"]);
}

#[test]
fn require_names_the_missing_permission() {
    let mut principal = Principal::bare(PrincipalKind::User, Uuid::nil(), "ada");
    principal.permissions = ["rules_read"].into_iter().collect();
    let cx = Ctx::new(source(), principal, OrgId::nil());
    assert!(cx.require("rules_read").is_ok());
    let error = cx.require("rules_write").expect_err("not held");
    assert_eq!(error.code, "permission_denied");
    assert!(error.detail.contains("rules_write"));
}

#[test]
fn subjects_round_trip() {
    let id = source().id();
    for text in [format!("user:{id}"), "service:workflow".into(), "anonymous".into()] {
        assert_eq!(text.parse::<Subject>().map(|s| s.to_string()).ok(), Some(text));
    }
    for bad in ["user", "user:x", "service:", "robot:1", "anonymous:1", ""] {
        assert!(bad.parse::<Subject>().is_err(), "{bad}");
    }
}

#[test]
fn a_service_does_its_part_with_its_own_rights() {
    let mut user = Principal::bare(PrincipalKind::User, Uuid::nil(), "ada");
    user.permissions = ["rules_read"].into_iter().collect();
    let cx = Ctx::new(source(), user, OrgId::nil()).with_idempotency_key("k").with_if_match(3);
    let part = cx.as_service("incident");
    assert!(part.principal.is_service() && part.require("rules_read").is_err());
    assert_eq!((part.idempotency_key, part.if_match), (None, None));
    assert_eq!((part.request_id, part.trace), (cx.request_id, cx.trace));
}

#[test]
fn depth_grows_by_one_from_its_cause() {
    let source = source();
    let cause = Cause { event: source.id(), depth: 4 };
    let trace = Trace::new(&source);
    let cx = Ctx::service("workflow", OrgId::nil(), source.clone(), trace, Some(cause));
    assert_eq!(cx.depth(), 5);
    assert_eq!(Ctx::anonymous(source).depth(), 0);
}

#[test]
fn ids_parse_with_the_field_named() {
    let error = OrgId::parse("org_id", "nope").expect_err("no uuid");
    assert_eq!(error.fields[0].field, "org_id");
}
