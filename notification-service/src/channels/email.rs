//! Email over the deployment's mail server. The Message-ID is made from the delivery's key, so a
//! repeated attempt is the same mail to every mailbox that looks.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use platform::error::{Error, Result, chain};

use super::{Answer, Channel, Destination, Rendered, Verdict, address_fault};
use crate::config::{Smtp, SmtpTls};

/// Codes about our own login (RFC 4954): the operator's to repair, no word about the recipient.
const LOGIN_CODES: [u16; 4] = [530, 534, 535, 538];

const NO_SERVER: &str = "no mail server is configured (smtp.host)";

/// Email over SMTP; unusable while no server is configured.
pub struct Email(Option<Server>);

struct Server {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Email {
    /// # Errors
    /// Invalid, code `invalid_smtp`: the sender is no address or the host no name for TLS.
    pub fn new(config: &Smtp) -> Result<Self> {
        if !config.is_set() {
            return Ok(Self(None));
        }
        let from =
            config.from.parse().map_err(|error| invalid(format!("smtp.from {:?}: {error}", config.from)))?;
        Ok(Self(Some(Server { transport: transport(config)?, from })))
    }
}

fn transport(config: &Smtp) -> Result<AsyncSmtpTransport<Tokio1Executor>> {
    let parameters = || {
        TlsParameters::new(config.host.clone())
            .map_err(|error| invalid(format!("smtp.host {:?}: {}", config.host, chain(&error))))
    };
    let tls = match config.tls {
        SmtpTls::None => Tls::None,
        SmtpTls::Starttls => Tls::Required(parameters()?),
        SmtpTls::Tls => Tls::Wrapper(parameters()?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)
        .port(config.port)
        .tls(tls)
        .timeout(Some(Duration::from_millis(config.timeout_ms)))
        .pool_config(PoolConfig::new().max_size(config.max_connections.max(1)));
    if !config.username.is_empty() {
        let password = config.password.expose().clone();
        builder = builder.credentials(Credentials::new(config.username.clone(), password));
    }
    Ok(builder.build())
}

fn invalid(detail: String) -> Error {
    Error::invalid("invalid_smtp", detail)
}

impl Server {
    fn mail(&self, to: &Destination, message: &Rendered, now: DateTime<Utc>) -> Result<Message> {
        let to: Address = to.address.parse().map_err(Error::internal)?;
        let domain = self.from.email.domain();
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(message.subject.clone())
            .message_id(Some(format!("<{}@{domain}>", message.key)))
            .date(SystemTime::from(now))
            .header(ContentType::TEXT_PLAIN)
            .body(message.text.clone())
            .map_err(Error::internal)
    }
}

#[async_trait]
impl Channel for Email {
    fn check(&self, address: &str) -> Result<String> {
        let address = address.trim().to_lowercase();
        match address.parse::<Address>() {
            Ok(_) => Ok(address),
            Err(_) => Err(address_fault("email", "must be an email address")),
        }
    }

    fn shorten(&self, address: &str) -> String {
        let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        let first: String = local.chars().take(1).collect();
        format!("{first}***@{domain}")
    }

    fn hindrance(&self) -> Option<&'static str> {
        self.0.is_none().then_some(NO_SERVER)
    }

    fn needs_proof(&self) -> bool {
        true
    }

    async fn deliver(&self, to: &Destination, message: &Rendered, now: DateTime<Utc>) -> Answer {
        let Some(server) = &self.0 else {
            return Answer::retry(NO_SERVER);
        };
        let mail = match server.mail(to, message, now) {
            Ok(mail) => mail,
            Err(error) => {
                tracing::warn!(notification.key = message.key, error = error.chain(), "no mail can be made");
                return Answer::refused("the address or the subject makes no mail");
            }
        };
        match server.transport.send(mail).await {
            Ok(response) => Answer::new(
                Verdict::Delivered,
                i32::from(u16::from(response.code())),
                "accepted by the mail server",
            ),
            Err(error) => {
                let said = chain(&error);
                tracing::warn!(notification.key = message.key, error = said, "the mail server took no mail");
                match error.status().map(u16::from) {
                    Some(code) => refused(code, &said),
                    None if error.is_timeout() => Answer::retry("the mail server did not answer in time"),
                    None if error.is_tls() => Answer::retry("no TLS connection with the mail server"),
                    None => Answer::retry("the mail server could not be reached"),
                }
            }
        }
    }
}

/// What the mail server's `code` means. Of what it `said` only the enhanced code (RFC 3463) is kept:
/// its words hold addresses and tell about the operator's server.
fn refused(code: u16, said: &str) -> Answer {
    let is_login = LOGIN_CODES.contains(&code);
    let verdict = match code {
        500..600 if !is_login => Verdict::Refused,
        _ => Verdict::Retry { after: None },
    };
    let meaning = match code {
        _ if is_login => "the mail server refused our login",
        550 | 551 | 553 => "the mail server refused the recipient",
        452 | 552 => "the recipient's mailbox is full",
        500..600 => "the mail server refused the mail",
        _ => "the mail server asks to try again later",
    };
    let codes = match enhanced(said) {
        Some(enhanced) => format!("{code} {enhanced}"),
        None => code.to_string(),
    };
    Answer::new(verdict, i32::from(code), format!("{meaning} ({codes})"))
}

/// The first word that is an enhanced status code, as `5.1.1`.
fn enhanced(said: &str) -> Option<&str> {
    let is_number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    said.split_whitespace().find(|word| {
        let parts: Vec<&str> = word.split('.').collect();
        matches!(parts[..], ["2" | "4" | "5", subject, detail] if is_number(subject) && is_number(detail))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_folded_and_shortened() {
        let email = Email(None);
        assert_eq!(email.check(" Ada@Example.COM ").expect("valid"), "ada@example.com");
        assert_eq!(email.shorten("ada@example.com"), "a***@example.com");
        for bad in ["", "ada", "ada@", "@example.com", "a b@example.com", "a@b\r\nBcc: c@d.e"] {
            assert_eq!(email.check(bad).expect_err(bad).code, "email");
        }
        assert_eq!(email.hindrance(), Some(NO_SERVER));
    }

    #[test]
    fn codes_of_the_server_decide() {
        let verdict = |code| refused(code, "").verdict;
        assert_eq!(verdict(550), Verdict::Refused);
        assert_eq!(verdict(535), Verdict::Retry { after: None });
        assert_eq!(verdict(451), Verdict::Retry { after: None });
    }

    #[test]
    fn of_the_servers_words_only_codes_are_kept() {
        let detail = |code, said| refused(code, said).detail;
        let said = "permanent error (550): 5.1.1 <ada@example.com>: Recipient address rejected";
        assert_eq!(detail(550, said), "the mail server refused the recipient (550 5.1.1)");
        let login = "permanent error (535): 5.7.8 Error for pulse@10.1.2.3";
        assert_eq!(detail(535, login), "the mail server refused our login (535 5.7.8)");
        assert_eq!(detail(452, "mailbox full"), "the recipient's mailbox is full (452)");
        assert_eq!(detail(421, "4.x.2 4.1 10.0.0.1 later"), "the mail server asks to try again later (421)");
    }

    #[test]
    fn a_sender_that_is_no_address_is_refused() {
        let smtp = Smtp { host: "localhost".to_owned(), from: "nobody".to_owned(), ..Smtp::default() };
        assert_eq!(Email::new(&smtp).err().map(|error| error.code), Some("invalid_smtp"));
    }
}
