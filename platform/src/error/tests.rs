use std::fmt::Write;

use tonic::Status;

use super::*;

fn full(kind: Kind) -> Error {
    let mut error = Error::new(kind, "some_code", "what is wrong, ünicode too")
        .with_retry_after(Duration::from_millis(1500));
    error.fields = vec![
        FieldError::new("items[3].name", "string.max_len", "at most 255: characters"),
        FieldError::new("labels", "required", "is required"),
    ];
    error
}

#[test]
fn statuses_round_trip_for_every_kind() {
    for kind in Kind::ALL {
        let error = full(kind);
        let headers = Status::from(error.clone()).into_http::<()>().headers().clone();
        let status = Status::from_header_map(&headers).expect("a status was written");
        let back = Error::from(status);
        assert_eq!(
            (back.kind, back.code, &back.detail, &back.fields, back.retry_after),
            (error.kind, error.code, &error.detail, &error.fields, error.retry_after),
        );
    }
}

#[test]
fn already_exists_has_its_own_grpc_code() {
    let status = Status::from(Error::conflict("already_exists", "taken"));
    assert_eq!(status.code(), tonic::Code::AlreadyExists);
    assert_eq!(Error::from(status).kind, Kind::Conflict);
}

#[test]
fn the_table_of_kinds() {
    let mut table = String::new();
    for kind in Kind::ALL {
        let (grpc, http, code) = kind.row();
        let _ = writeln!(table, "{kind:?} | {grpc:?} | {} | {code}", http.as_u16());
    }
    insta::assert_snapshot!(table, @r"
    Invalid | InvalidArgument | 422 | invalid
    Unauthenticated | Unauthenticated | 401 | unauthenticated
    Forbidden | PermissionDenied | 403 | forbidden
    NotFound | NotFound | 404 | not_found
    Conflict | Aborted | 409 | conflict
    Precondition | FailedPrecondition | 412 | precondition_failed
    TooMany | ResourceExhausted | 429 | too_many_requests
    Unavailable | Unavailable | 503 | unavailable
    Timeout | DeadlineExceeded | 504 | timeout
    Internal | Internal | 500 | internal
    ");
}

#[test]
fn every_grpc_code_has_a_kind_and_foreign_internals_stay_inside() {
    let secret = Error::from(Status::unknown("password is hunter2"));
    assert_eq!(secret.kind, Kind::Internal);
    assert!(!secret.detail.contains("hunter2") && secret.chain().contains("hunter2"));
    let missing = Error::from(Status::unimplemented("no such method"));
    assert_eq!((missing.kind, missing.code), (Kind::Internal, "unimplemented"));
    assert_eq!(Error::from(Status::cancelled("")).kind, Kind::Timeout);
    // tonic's, about an answer that is too large: not the caller's fault.
    assert_eq!(Error::from(Status::out_of_range("decoded message length too large")).kind, Kind::Internal);
    let plain = Error::from(Status::not_found("no such incident"));
    assert_eq!((plain.code, &*plain.detail), ("not_found", "no such incident"));
}

#[test]
fn display_never_shows_the_source() {
    let error = Error::internal("password is hunter2");
    assert!(!error.to_string().contains("hunter2"));
    assert!(!Status::from(error.clone()).message().contains("hunter2"));
    assert_eq!(error.chain(), "internal: something went wrong on our side: password is hunter2");
}

#[test]
fn problem_documents() {
    let mut error = Error::field("name", "required", "is required");
    error.fields.push(FieldError::new("slug", "string.pattern", "must match [a-z]+"));
    insta::assert_json_snapshot!(error.problem("r-1"), @r#"
    {
      "type": "about:blank",
      "title": "Unprocessable Entity",
      "status": 422,
      "detail": "name is required",
      "code": "required",
      "instance": "r-1",
      "errors": [
        {
          "field": "name",
          "code": "required",
          "detail": "is required"
        },
        {
          "field": "slug",
          "code": "string.pattern",
          "detail": "must match [a-z]+"
        }
      ]
    }
    "#);
}

#[test]
fn parts_checked_apart_are_named_under_their_place() {
    let faults = vec![FieldError::new("name", "a", ""), FieldError::new("[2]", "b", "")];
    let error = Error::fields(faults).under("items");
    let fields: Vec<_> = error.fields.iter().map(|f| f.field.as_str()).collect();
    assert_eq!(fields, ["items.name", "items[2]"]);
}

#[test]
fn a_named_constraint_can_be_answered_in_the_domains_words() {
    let mut error = Error::conflict("already_exists", "x");
    error.constraint = Some("users_email_key".into());
    let instead = || Error::conflict("email_taken", "y");
    assert_eq!(error.clone().on_constraint("other", instead).code, "already_exists");
    assert_eq!(error.on_constraint("users_email_key", instead).code, "email_taken");
}

#[test]
fn codes_from_outside_are_held_to_the_form() {
    assert_eq!(code::intern("version_mismatch", "x"), "version_mismatch");
    for bad in ["", "Has Spaces", "ÄÖ", &"a".repeat(65)] {
        assert_eq!(code::intern(bad, "fallback"), "fallback");
    }
}
