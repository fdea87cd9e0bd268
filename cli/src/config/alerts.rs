//! The table `alerts`: who is told when something is wrong, and how.
//!
//! - In: the table as it was read. Out: the table with absolute paths, and what is wrong with it.
//! - Not here: looking up secrets and making channels of it (`commands::alerts`), sending (`pipelines::alerts`).

use super::finding::Finding;
use super::gateway::{check_address, is_here};
use super::length::Length;
use super::secret::{FORMS, Reference};
use crate::context::expand;
use schemars::JsonSchema;
use serde::Deserialize;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

/// Who is told when something is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// Where alerts are posted as JSON; the address is a secret: env:, file: or keyring:.
    pub webhook: Option<String>,
    /// After how long an alert that is still open is told again.
    pub repeat: Length,
    /// Percent of the disk that must be free, or you are told; 0 for never.
    #[schemars(range(max = 99))]
    pub disk_free_percent: u8,
    /// Alerts on your phone, through ntfy.
    pub ntfy: Option<Ntfy>,
    /// Alerts by mail.
    pub smtp: Option<Smtp>,
    /// Somebody else who tells you when dkc itself is silent.
    pub dead_man: Option<DeadMan>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            webhook: None,
            repeat: Length::of_secs(24 * 3_600),
            disk_free_percent: 5,
            ntfy: None,
            smtp: None,
            dead_man: None,
        }
    }
}

/// Alerts on your phone, through ntfy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ntfy {
    /// Its address: https, or http on this machine.
    #[serde(default = "ntfy_server")]
    pub server: String,
    /// The topic; who knows it reads along, so it is a secret: env:, file: or keyring:.
    pub topic: String,
    /// An access token of the server's: env:, file: or keyring:.
    #[serde(default)]
    pub token: Option<String>,
}

fn ntfy_server() -> String {
    "https://ntfy.sh".to_owned()
}

/// How a mail server is spoken with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Encrypted from the first byte.
    #[default]
    Implicit,
    /// Encrypted before anything is said that matters.
    #[serde(rename = "starttls")]
    Upgraded,
    /// In clear; for a server on this machine.
    None,
}

/// Alerts by mail.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// The mail server that sends it.
    pub host: String,
    /// Its port; 465, or 587 with tls = "starttls", or 25 with tls = "none", if absent.
    #[serde(default)]
    pub port: Option<NonZeroU16>,
    /// "implicit", "starttls", or "none" for a server on this machine.
    #[serde(default)]
    pub tls: Tls,
    /// Signs in; nobody does if absent.
    #[serde(default)]
    pub user: Option<String>,
    /// The password of `user`: env:, file: or keyring:.
    #[serde(default)]
    pub password: Option<String>,
    /// Who it is from.
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
    /// A PEM file of certificates to trust beside those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// Somebody else who tells you when dkc itself is silent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadMan {
    /// What is asked for now and then while all is well, such as a check of healthchecks.io; a secret: env:, file: or
    /// keyring:.
    pub url: String,
    /// How often.
    #[serde(default = "five_minutes")]
    pub every: Length,
}

const fn five_minutes() -> Length {
    Length::of_secs(300)
}

/// Makes the paths absolute, as those of pipelines are, and says what is wrong.
pub(super) fn settle(alerts: &mut Alerts, folder: &Path) -> Vec<Finding> {
    let mut check = Check {
        folder,
        findings: Vec::new(),
    };
    check.secret(&["webhook"], alerts.webhook.as_deref());
    check.some_time(&["repeat"], alerts.repeat);
    if alerts.disk_free_percent > 99 {
        check.wrong(
            &["disk_free_percent"],
            "`alerts.disk_free_percent`: no disk is so empty",
            "write 0 to 99",
        );
    }
    if let Some(ntfy) = &mut alerts.ntfy {
        check.secret(&["ntfy", "topic"], Some(&ntfy.topic));
        check.secret(&["ntfy", "token"], ntfy.token.as_deref());
        if let Err(reason) = check_address(&ntfy.server) {
            check.wrong(
                &["ntfy", "server"],
                format!("`alerts.ntfy.server`: {reason}"),
                "server = \"https://ntfy.sh\" is its makers' own",
            );
        }
        let whole = ntfy.server.trim_end_matches('/').len();
        ntfy.server.truncate(whole);
    }
    if let Some(smtp) = &mut alerts.smtp {
        check.smtp(smtp);
    }
    if let Some(dead_man) = &alerts.dead_man {
        check.secret(&["dead_man", "url"], Some(&dead_man.url));
        check.some_time(&["dead_man", "every"], dead_man.every);
    }
    check.findings
}

struct Check<'a> {
    folder: &'a Path,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn wrong(&mut self, keys: &[&str], message: impl Into<String>, help: impl Into<String>) {
        self.findings.push(Finding::new("alerts", keys, message, help));
    }

    fn secret(&mut self, keys: &[&str], text: Option<&str>) {
        let key = keys.join(".");
        match text.map(|text| Reference::parse(text, self.folder)) {
            Some(None) => self.wrong(
                keys,
                format!("`alerts.{key}` is a secret and must not be in the file"),
                FORMS,
            ),
            Some(Some(Err(reason))) => self.wrong(keys, format!("`alerts.{key}`: {reason}"), ""),
            Some(Some(Ok(_))) | None => {}
        }
    }

    fn some_time(&mut self, keys: &[&str], length: Length) {
        if length.is_zero() {
            self.wrong(
                keys,
                format!("`alerts.{}`: it is no time at all", keys.join(".")),
                "",
            );
        }
    }

    fn smtp(&mut self, smtp: &mut Smtp) {
        self.secret(&["smtp", "password"], smtp.password.as_deref());
        if smtp.user.is_some() != smtp.password.is_some() {
            let message = "`alerts.smtp`: a user and a password come together";
            self.wrong(&["smtp"], message, "write both, or neither");
        }
        if smtp.tls == Tls::None && smtp.user.is_some() && !is_here(&smtp.host) {
            let message = "`alerts.smtp.tls`: the password could be read on the way";
            self.wrong(&["smtp", "tls"], message, "write \"starttls\" or \"implicit\"");
        }
        if smtp.host.is_empty() {
            self.wrong(&["smtp", "host"], "`alerts.smtp.host`: it is empty", "");
        }
        if smtp.to.is_empty() {
            self.wrong(
                &["smtp", "to"],
                "`alerts.smtp.to`: nobody gets it",
                "to = [\"me@example.org\"]",
            );
        }
        // TOML is UTF-8, and so is what was read from it.
        let expanded = smtp
            .ca_file
            .as_ref()
            .map(|path| expand(path.to_str().unwrap_or_default(), self.folder));
        match expanded {
            Some(Ok(expanded)) => smtp.ca_file = Some(expanded),
            Some(Err(reason)) => {
                self.wrong(
                    &["smtp", "ca_file"],
                    format!("`alerts.smtp.ca_file`: {reason}"),
                    "",
                );
            }
            None => {}
        }
    }
}
