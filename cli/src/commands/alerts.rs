//! `dkc alerts`: what is wrong, and whether you would be told.

use super::service;
use crate::config::{Config, Tls, look_up};
use crate::context::Context;
use crate::print::{self, Columns, Moment};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use miette::{IntoDiagnostic, Result};
use pipelines::alerts::{self, Channels, DeadMan, Ntfy, Smtp, Webhook};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::Arc;
use store::Store;
use store::alerts::{AlertLog, Expected, Unattended, Wrong};
use store::queue::Queue;

/// The columns. Where they do not fit, alerts are below one another.
const COLUMNS: Columns<5> = Columns {
    header: ["since", "alert", "about", "what is wrong", "what to do"],
    goes_on: "",
    left_out: &[],
};

/// Lists what is wrong, since when, and what to do about it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc alerts\n  dkc alerts test")]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send a test through each channel of the configuration, and tell which arrived
    #[command(after_help = "Example:\n  dkc alerts test")]
    Test,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    match arguments.command {
        None => list(context).await,
        Some(Command::Test) => test(context).await,
    }
}

async fn list(context: &Context) -> Result<()> {
    let place = context.own_place().await?;
    // Without a configuration the alerts are listed that are open.
    let expected = match context.config_path()?.exists() {
        true => expected(&context.load_config()?),
        false => Vec::new(),
    };
    // Not the store: that it cannot be opened may be what is wrong.
    let log = AlertLog::open(&place).await.into_diagnostic()?;
    let queue = Queue::open(&place).await.into_diagnostic()?;
    let fares = log.fares(&queue).await.into_diagnostic()?;
    log.close().await;
    queue.close().await;
    let now = Timestamp::now().as_microsecond();
    let wrong = fares.wrong(&expected, now);
    if context.json {
        let alerts: Vec<_> = wrong.iter().map(as_json).collect();
        return print::json(&json!({ "alerts": alerts }));
    }
    if wrong.is_empty() {
        print::note(
            "nothing is known to be wrong; `dkc daemon` and `dkc serve` look, and `dkc doctor` looks at what else there is",
            context,
        );
        return Ok(());
    }
    let whole: Vec<[String; 5]> = wrong.iter().map(|one| row(one, print::moment)).collect();
    match print::terminal_width().is_some_and(|width| COLUMNS.width(&COLUMNS.header, &whole) > width) {
        true => print::table(["alert", "about"], wrong.iter().flat_map(lines)),
        false => print::table(COLUMNS.header, whole),
    }
}

fn row(wrong: &Wrong, moment: Moment) -> [String; 5] {
    let alert = &wrong.alert;
    [
        wrong.since.map(moment).unwrap_or_default(),
        alert.kind.as_str().replace('_', " "),
        alert.subject.clone(),
        alert.what.clone(),
        alert.next_step.clone(),
    ]
}

/// An alert below itself, for a terminal on which its texts do not fit beside one another.
fn lines(wrong: &Wrong) -> [[String; 2]; 3] {
    let [since, kind, subject, what, next_step] = row(wrong, print::minute);
    let about = match since.is_empty() {
        true => subject,
        false => format!("{subject}, since {since}"),
    };
    [
        [kind, about],
        ["what".to_owned(), what],
        ["to do".to_owned(), next_step],
    ]
}

fn as_json(Wrong { alert, since }: &Wrong) -> Value {
    json!({
        "key": alert.key,
        "kind": alert.kind,
        "subject": alert.subject,
        "what": alert.what,
        "next_step": alert.next_step,
        "since": since,
    })
}

/// That nobody begins what is due, and since when.
pub(super) fn told(unattended: &Unattended) -> String {
    let since = unattended
        .since
        .map(|since| format!(", since {}", print::moment(since)));
    format!("{}{}", unattended.what, since.unwrap_or_default())
}

/// What a configuration expects of its pipelines.
pub(super) fn expected(config: &Config) -> Vec<Expected> {
    let now = Timestamp::now();
    let pipelines = config.pipelines.iter();
    pipelines
        .map(|pipeline| alerts::expected(&pipeline.plan, now))
        .collect()
}

async fn test(context: &Context) -> Result<()> {
    let config = context.load_config()?;
    let channels = channels(&config)?;
    let store = Arc::new(Store::open(context.place()?).await.into_diagnostic()?);
    let log = AlertLog::open(context.place()?).await.into_diagnostic()?;
    let told = service::alerts(&config, store, log, channels).test().await;
    if told.is_empty() {
        miette::bail!(
            help = "docs/guides/alerts.md shows them: a webhook, ntfy, mail, a dead man's switch",
            "`{}` names no channel of alerts",
            config.path.display()
        );
    }
    let failed = told.iter().filter(|(_, outcome)| outcome.is_err()).count();
    if context.json {
        let told: Vec<_> = told
            .iter()
            .map(|(channel, outcome)| {
                let error = outcome.as_ref().err().map(ToString::to_string);
                json!({ "channel": channel, "arrived": outcome.is_ok(), "error": error })
            })
            .collect();
        print::json(&json!({ "channels": told }))?;
    } else {
        let outcome = |outcome: &Result<(), alerts::ChannelError>| match outcome {
            Ok(()) => "arrived".to_owned(),
            Err(error) => error.to_string(),
        };
        print::table(
            ["channel", "outcome"],
            told.iter()
                .map(|(channel, told)| [(*channel).to_owned(), outcome(told)]),
        )?;
    }
    if failed > 0 {
        miette::bail!("{failed} of {} failed", print::counted(told.len(), "channel"));
    }
    Ok(())
}

/// Whoever is told of alerts, with the secrets looked up.
///
/// # Errors
/// That a secret is not where it should be.
pub(super) fn channels(config: &Config) -> Result<Channels> {
    let settings = &config.alerts;
    let secret = |key: &str, text: &str| look_up(&format!("alerts.{key}"), text, config.folder());
    let optional = |key: &str, text: &Option<String>| -> Result<Option<SecretString>> {
        text.as_deref().map(|text| secret(key, text)).transpose()
    };
    let webhook = optional("webhook", &settings.webhook)?.map(|url| Webhook { url, token: None });
    let ntfy = match &settings.ntfy {
        None => None,
        Some(ntfy) => Some(Ntfy {
            server: ntfy.server.clone(),
            topic: secret("ntfy.topic", &ntfy.topic)?,
            token: optional("ntfy.token", &ntfy.token)?,
        }),
    };
    let smtp = match &settings.smtp {
        None => None,
        Some(smtp) => {
            let (tls, usual) = match smtp.tls {
                Tls::Implicit => (alerts::Tls::Implicit, 465),
                Tls::Upgraded => (alerts::Tls::StartTls, 587),
                Tls::None => (alerts::Tls::None, 25),
            };
            Some(Smtp {
                host: smtp.host.clone(),
                port: smtp.port.map_or(usual, |port| port.get()),
                tls,
                user: smtp.user.clone(),
                password: optional("smtp.password", &smtp.password)?,
                from: smtp.from.clone(),
                to: smtp.to.clone(),
                ca_file: smtp.ca_file.clone(),
            })
        }
    };
    let dead_man = match &settings.dead_man {
        None => None,
        Some(dead_man) => Some(DeadMan {
            url: secret("dead_man.url", &dead_man.url)?,
            every: dead_man.every.whole(),
        }),
    };
    Ok(Channels {
        webhook,
        ntfy,
        smtp,
        dead_man,
        repeat: settings.repeat.whole(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::alerts::{Alert, AlertKind};

    #[test]
    fn an_alert_that_does_not_fit_is_told_in_lines_of_whole_words() {
        let id = "0199aaaa-1111-7111-8111-1234567890ab";
        let alert = Alert {
            key: "failing:mail".to_owned(),
            kind: AlertKind::Failing,
            subject: "mail".to_owned(),
            what: format!("its run {id} failed"),
            next_step: format!("look at `dkc runs show {id}`, mend what it says"),
        };
        let at = 1_774_746_000_000_000;
        let [head, what, next_step] = lines(&Wrong {
            alert: alert.clone(),
            since: Some(at),
        });
        assert_eq!(
            head,
            ["failing".to_owned(), format!("mail, since {}", print::minute(at))]
        );
        assert_eq!(what[1], alert.what);
        assert_eq!(next_step[1], alert.next_step);
        // Eighty columns leave the second of the two enough for the longest word.
        let widest = [&head, &what, &next_step].map(|line| line[0].len());
        let left = 80 - widest.iter().max().unwrap() - 7;
        let words = next_step[1].split_whitespace();
        assert!(words.map(str::len).all(|word| word <= left));
        assert_eq!(lines(&Wrong { alert, since: None })[0][1], "mail");
    }
}
