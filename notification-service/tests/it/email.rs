//! Email against a real SMTP server: the session is that of crate `mailin`.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use mailin::{Action, Handler, Response, SessionBuilder, response};
use notification_service::{Config, Delivery, Smtp, SmtpTls};
use proto::notification::v1 as wire;

use crate::world::{World, quick, user};

#[derive(Clone, Default)]
pub struct Mailbox(Arc<Mutex<Vec<String>>>);

impl Mailbox {
    pub fn mails(&self) -> Vec<String> {
        self.0.lock().expect("whole").clone()
    }
}

struct Session {
    mailbox: Mailbox,
    mail: Vec<u8>,
}

impl Handler for Session {
    fn rcpt(&mut self, to: &str) -> Response {
        match to {
            "nobody@example.com" => {
                response::Response::custom(550, "<nobody@example.com>: rejected".to_owned())
            }
            "full@example.com" | "full+eve@example.com" => {
                response::Response::custom(452, "mailbox full".to_owned())
            }
            _ => response::OK,
        }
    }

    fn data_start(&mut self, _: &str, _: &str, _: bool, _: &[String]) -> Response {
        self.mail.clear();
        response::OK
    }

    fn data(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.mail.extend_from_slice(line);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        let mail = String::from_utf8_lossy(&self.mail).into_owned();
        self.mailbox.0.lock().expect("whole").push(mail);
        response::OK
    }
}

/// Serves until the test's process ends.
pub fn start() -> (SocketAddr, Mailbox) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let mailbox = Mailbox::default();
    let kept = mailbox.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = Session { mailbox: kept.clone(), mail: Vec::new() };
            std::thread::spawn(move || serve(stream, session));
        }
    });
    (address, mailbox)
}

fn serve(stream: TcpStream, handler: Session) -> Option<()> {
    let mut session = SessionBuilder::new("mail.test").build(IpAddr::from([127, 0, 0, 1]), handler);
    let mut out = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream);
    session.greeting().write_to(&mut out).ok()?;
    loop {
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let answer = session.process(&line);
        if answer.action != Action::NoReply {
            answer.write_to(&mut out).ok()?;
            out.flush().ok()?;
        }
        if answer.action == Action::Close {
            return None;
        }
    }
}

fn config(address: SocketAddr) -> Config {
    let smtp = Smtp {
        host: address.ip().to_string(),
        port: address.port(),
        tls: SmtpTls::None,
        from: "PulseOps <alerts@pulse.example>".to_owned(),
        ..Smtp::default()
    };
    Config { smtp, ..quick() }
}

pub async fn world_with(address: SocketAddr, delivery: Delivery) -> World {
    World::with(Config { delivery, ..config(address) }).await
}

pub async fn world(address: SocketAddr) -> World {
    World::with(config(address)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_address_gets_mail_with_the_deliverys_id() {
    let (address, mailbox) = start();
    let world = world(address).await;
    let ada = world.hear_of("Ada", "ada@example.com", true).await;
    let sent = world.send(world.page("k", vec![user(ada)])).await;
    assert_eq!((sent.recipients.as_slice(), sent.nobody_reachable), (["Ada".to_owned()].as_slice(), false));
    let delivered = world.until(&sent.notification_ids[0], wire::NotificationStatus::Delivered).await;
    assert_eq!((delivered.attempts[0].status, delivered.address.as_str()), (250, "a***@example.com"));
    let mails = mailbox.mails();
    assert_eq!(mails.len(), 1);
    for part in [
        format!("Message-ID: <{}@pulse.example>", delivered.key).as_str(),
        "Subject: [critical] #12 payment: charge.failed",
        "To: ada@example.com",
        "Incident: #12 charge.failed",
    ] {
        assert!(mails[0].contains(part), "{part} is missing in {}", mails[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unverified_address_is_not_used() {
    let (address, mailbox) = start();
    let world = world(address).await;
    let bob = world.hear_of("Bob", "bob@example.com", false).await;
    let sent = world.send(world.page("k", vec![user(bob)])).await;
    assert!(sent.nobody_reachable);
    assert_eq!(mailbox.mails().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_codes_decide() {
    let (address, _) = start();
    let world = world(address).await;
    let nobody = world.hear_of("Nobody", "nobody@example.com", true).await;
    let full = world.hear_of("Full", "full@example.com", true).await;
    let sent = world.send(world.page("k", vec![user(nobody), user(full)])).await;
    let refused = world.until(&sent.notification_ids[0], wire::NotificationStatus::Dead).await;
    assert_eq!((refused.attempts.len(), refused.attempts[0].status), (1, 550));
    assert_eq!(refused.attempts[0].detail, "the mail server refused the recipient (550)");
    let tried = world.until(&sent.notification_ids[1], wire::NotificationStatus::Dead).await;
    assert_eq!((tried.attempts.len(), tried.attempts[2].status), (3, 452));

    // The server's words are nobody's but the operator's.
    let admin = world.db.admin().await;
    for row in admin.query("SELECT a::text FROM pulseops_notification.attempts a", &[]).await.expect("rows") {
        let row: String = row.get(0);
        assert!(!row.contains('@') && !row.contains("mailbox full"), "{row}");
    }
}
