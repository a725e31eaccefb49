use super::*;

fn http(step: pb::HttpStep) -> Http {
    let kind = Some(pb::step::Kind::Http(step));
    let program = Program::of_workflow(&[pb::Step { name: String::new(), kind }]);
    match program.ops.into_iter().next() {
        Some(Op::Http(http)) => http,
        other => panic!("an http operation: {other:?}"),
    }
}

#[test]
fn an_http_step_without_options_has_the_documented_defaults() {
    let http = http(pb::HttpStep { url: "https://x".to_owned(), ..pb::HttpStep::default() });
    assert_eq!((http.method.as_str(), http.timeout_ms, http.max_attempts), ("POST", 10_000, 1));
    assert_eq!((http.initial_ms, http.max_ms), (1_000, 60_000));
    assert_eq!((http.on_success, http.on_failure), (Then::Continue, Then::Continue));
    assert!(http.succeeds(204) && !http.succeeds(302));
}

#[test]
fn levels_become_pages_and_waits() {
    let program = Program::built_in([Duration::from_secs(300), Duration::from_secs(60)], 3);
    assert_eq!((program.rounds, program.ops.len()), (4, 4));
    assert!(matches!(&program.ops[2], Op::Page { level: 2, targets, .. } if targets.len() == 2));
    assert_eq!(program.ops[1].rest(), Duration::from_secs(300));
}

#[test]
fn a_stored_program_reads_back() {
    let program = Program::built_in([Duration::from_secs(1); 2], 0);
    let json = serde_json::to_value(&program).expect("written");
    assert_eq!(serde_json::from_value::<Program>(json).expect("read"), program);
}

#[test]
fn what_is_read_back_of_a_call_is_what_runs() {
    let said = |retry| pb::HttpStep { url: "https://x".to_owned(), retry, ..pb::HttpStep::default() };
    let patient = pb::Retry { max_attempts: 3, initial_ms: 90_000, ..pb::Retry::default() };
    for (retry, waits) in [(None, (1_000, 60_000)), (Some(patient), (90_000, 90_000))] {
        let mut step = pb::Step { name: String::new(), kind: Some(pb::step::Kind::Http(said(retry))) };
        fill_defaults(&mut step);
        let filled = step.clone();
        fill_defaults(&mut step);
        assert_eq!(step, filled, "nothing is left to fill");
        let Some(pb::step::Kind::Http(answered)) = step.kind else { panic!("an http step") };
        assert_eq!(http(answered.clone()), http(said(retry)));
        let shown = answered.retry.expect("filled");
        assert_eq!((shown.initial_ms, shown.max_ms, shown.jitter), (waits.0, waits.1, Some(0.2)));
        assert_eq!((answered.timeout_ms, answered.method()), (10_000, pb::HttpMethod::Post));
    }
}
