//! What the operator's commands say.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use platform::testing::{Receiver, eventually};
use serde_json::json;

use crate::home::Home;
use crate::support::client::{SOON, id, items};
use crate::support::story::{Cast, failure};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Each is a failure whose next line says what to do.
#[track_caller]
fn named(text: &str, failures: &[(&str, &str)]) {
    for (about, advice) in failures {
        let line = text.lines().position(|line| line.starts_with(&format!("FAIL  {about}")));
        let line = line.unwrap_or_else(|| panic!("{about} is not named: {text}"));
        assert!(text.lines().nth(line + 1).is_some_and(|next| next.contains(advice)), "{about}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_what_is_missing_and_what_to_do() {
    let home = Home::new();
    let broken = [
        ("DATABASE_URL", "postgres://me:hidden@127.0.0.1:1/none"),
        ("PULSEOPS__SMTP__HOST", "127.0.0.1"),
        ("PULSEOPS__SMTP__PORT", "1"),
        ("PULSEOPS__DATA_DIR", "/dev/null/data"),
    ];
    let output = home.run(&["doctor"], &broken).await;
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    named(
        &text,
        &[("postgres", "correct database.url"), ("smtp", "mail server"), ("data_dir", "set data_dir")],
    );
    assert!(!text.contains("hidden"), "{text}");

    // A port that somebody else has, a process that is not ready, a secret that everybody may read.
    let other = Receiver::start().await;
    other.always("/readyz", 404);
    let ill = Receiver::start().await;
    ill.always("/readyz", 503);
    let (taken, not_ready) = (other.address.to_string(), ill.address.to_string());
    let secret = home.path().join("data/secret");
    fs::create_dir_all(home.path().join("data")).expect("a folder");
    fs::write(&secret, "5e".repeat(32)).expect("a file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).expect("open to all");
    let settings = [("PULSEOPS__REST__LISTEN", &*taken), ("PULSEOPS__GRPC__LISTEN", &*not_ready)];
    let text = said(&home.run(&["doctor"], &settings).await);
    named(
        &text,
        &[("rest.listen", "stop it, or set rest.listen"), ("grpc.listen", "the log"), ("secret", "")],
    );
    assert!(text.contains("belongs to another program") && text.contains("is not ready"), "{text}");
    fs::remove_file(&secret).expect("removed");

    let no_server = [("PULSEOPS__POSTGRES__BIN_DIR", "/nowhere")];
    let output = home.run(&["doctor"], &no_server).await;
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("FAIL  postgres programs") && text.contains("apt-get install postgresql"),
        "{text}"
    );
    assert!(text.contains("`pulseops up` makes it"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_migrations_that_are_pending() {
    // With the ground and the bus, and without the services.
    let db = platform::testing::TestDb::new().await;
    let home = Home::new();
    let url = db.url();
    let on_it = [("DATABASE_URL", url.as_str())];
    let output = home.run(&["doctor"], &on_it).await;
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("FAIL  migrations") && text.contains("incident 0001"), "{text}");
    assert!(text.contains("pulseops migrate up"), "{text}");
    assert!(said(&home.run(&["migrate"], &on_it).await).contains("applied: incident 0001"));
    let output = home.run(&["doctor"], &on_it).await;
    assert!(output.status.success(), "{}", said(&output));

    let refused = home.run(&["migrate", "down", "analytics"], &on_it).await;
    assert!(said(&refused).contains("--yes"), "{}", said(&refused));
    let nothing = home.run(&["migrate", "down", "gateway", "--yes"], &on_it).await;
    assert!(
        !nothing.status.success() && said(&nothing).contains("gateway has no tables"),
        "{}",
        said(&nothing)
    );
    let down = home.run(&["migrate", "down", "analytics", "--yes"], &on_it).await;
    assert!(said(&down).contains("taken back: analytics 0001"), "{}", said(&down));
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_is_content_with_a_running_platform_and_a_second_one_is_refused() {
    let home = Home::new();
    let process = home.up().await;
    let output = home.run(&["doctor"], &[]).await;
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    let looks = ["dead letters", "dead deliveries", "nobody reachable"];
    for about in ["migrations", "database roles", "clock", "bus", "rest.listen"].into_iter().chain(looks) {
        assert!(text.contains(&format!("ok    {about}")), "{about}: {text}");
    }
    a_page_that_reaches_nobody_is_told(&home).await;
    let status = home.run(&["migrate", "status"], &[]).await;
    assert_eq!(said(&status).trim(), "nothing pending");
    let down = home.run(&["migrate", "down", "--yes"], &[]).await;
    assert!(!down.status.success() && said(&down).contains("stop it"), "{}", said(&down));

    let other_ports = [("PULSEOPS__REST__LISTEN", "127.0.0.1:0"), ("PULSEOPS__GRPC__LISTEN", "127.0.0.1:0")];
    let second = home.run(&["up"], &other_ports).await;
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("another pulseops runs on"), "{}", said(&second));

    let elsewhere = Home::new();
    let taken = home.nobody().base().trim_start_matches("http://").to_owned();
    let output = elsewhere.run(&["up"], &[("PULSEOPS__REST__LISTEN", &taken)]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("rest.listen"), "{}", said(&output));
    assert!(process.terminate().await.success(), "{}", home.log());
}

/// Ada has an email address, and no mail server is set.
async fn a_page_that_reaches_nobody_is_told(home: &Home) {
    let ada = home.nobody().register("Ada").await;
    let service = id(&ada.create("/v1/services", json!({"slug": "payment", "name": "Payment"})).await);
    let incident = json!({"title": "Slow", "severity": "critical", "service_id": service});
    let incident = id(&ada.create("/v1/incidents", incident).await);
    let told = |list: &serde_json::Value| {
        items(list).iter().any(|entry| entry["kind"] == "nobody_reachable").then_some(())
    };
    ada.until(&format!("/v1/incidents/{incident}/timeline"), told).await;
    let counted = home.metrics().await;
    assert!(counted.contains("pulseops_notification_nobody_reachable_total 1"), "{counted}");
    let text = said(&home.run(&["doctor"], &[]).await);
    assert!(text.contains("note  nobody reachable   1 pages in seven days"), "{text}");

    let admin = home.admin().await;
    let hidden = "REVOKE SELECT ON pulseops_notification.messages FROM pulseops_notification_sys";
    admin.batch_execute(hidden).await.expect("revoked");
    let text = said(&home.run(&["doctor"], &[]).await);
    assert!(text.contains("note  nobody reachable   could not be looked at: "), "{text}");
    admin.batch_execute(&hidden.replace("REVOKE", "GRANT").replace("FROM", "TO")).await.expect("granted");
}

/// The log was restored from elsewhere, say: events wait, people go on, a person decides.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_cannot_go_on_stands_still_alone() {
    let home = Home::new();
    let receiver = Receiver::start().await;
    let process = home.up().await;
    let cast = Cast::set_up(&home.nobody(), &receiver, 60_000).await;
    let beyond = "UPDATE pulseops_incident.positions SET next = 1000, epoch = epoch + 1, owner = NULL";
    home.admin().await.batch_execute(beyond).await.expect("moved");
    eventually(SOON, async || home.log().contains("position_beyond_end").then_some(())).await;

    cast.report(json!([failure(), failure(), failure()])).await;
    let by_hand = json!({"title": "by hand", "service_id": cast.service, "severity": "critical"});
    let by_hand = id(&cast.ada.create("/v1/incidents", by_hand).await);
    cast.ada.post(&format!("/v1/incidents/{by_hand}/acknowledge"), json!({})).await.expect(200);
    assert_eq!(cast.incidents().await.len(), 1, "what was reported waits");

    let listed = said(&home.run(&["consumers"], &[]).await);
    assert!(listed.contains("incident.rules") && listed.contains("stands still"), "{listed}");
    assert!(listed.contains("workflow.responder") && listed.contains(" 0 behind"), "{listed}");
    for (asked, answer) in [
        (&["consumers", "seek", "ruler", "--to", "oldest", "--yes"][..], "no consumer ruler"),
        (&["consumers", "seek", "rules", "--to", "oldest"], "--yes"),
        (
            &["consumers", "seek", "rules", "--to", "oldest", "--partition", "99", "--yes"],
            "it has no partition 99",
        ),
        (
            &["consumers", "seek", "incident.rules", "--to", "oldest", "--yes"],
            "rules goes on in 8 partitions",
        ),
    ] {
        let text = said(&home.run(asked, &[]).await);
        assert!(text.contains(answer), "{text}");
    }
    eventually(SOON, async || (cast.incidents().await.len() == 2).then_some(())).await;
    let healthy = said(&home.run(&["consumers", "seek", "rules", "--to", "oldest", "--yes"], &[]).await);
    assert!(healthy.contains("nothing was moved"), "{healthy}");
    let renamed = "UPDATE pulseops_bus.topics SET name = 'lost' WHERE name = 'pulseops.events.v1'";
    home.admin().await.batch_execute(renamed).await.expect("renamed");
    let listed = said(&home.run(&["consumers"], &[]).await);
    assert!(listed.contains("there is no such topic") && listed.contains(" behind"), "{listed}");
    assert!(process.terminate().await.success(), "{}", home.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_at_once_and_end_with_2() {
    let home = Home::new();
    std::fs::write(home.path().join("pulseops.toml"), "[rest]\nlisten = 8080\n[webb]\nport = 1\n")
        .expect("a file");
    let output = home.run(&["up"], &[("PULSEOPS__BUS__ENGINE", "pigeon")]).await;
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for key in ["rest.listen", "webb", "bus.engine"] {
        assert!(text.contains(key), "{key}: {text}");
    }
    let output = home.run(&["serve", "auth"], &[]).await;
    assert_eq!(output.status.code(), Some(2));
    a_role_alone_demands_the_secret_and_questions_start_nothing(&Home::new()).await;
}

/// Questions and what nobody said yes to make no database.
async fn a_role_alone_demands_the_secret_and_questions_start_nothing(home: &Home) {
    let status = home.run(&["migrate", "status"], &[]).await;
    assert!(status.status.success() && said(&status).contains("there is no database"), "{}", said(&status));
    let down = home.run(&["migrate", "down"], &[]).await;
    assert!(!down.status.success() && said(&down).contains("--yes"), "{}", said(&down));
    assert!(!home.path().join("data").exists(), "nothing was made");
    let output = home.run(&["serve", "auth"], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("serve` needs the same file"), "{}", said(&output));
    let document = home.run(&["openapi"], &[]).await;
    assert!(document.status.success() && said(&document).contains("\"openapi\": \"3.1.0\""));
}
