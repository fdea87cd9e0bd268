//! `dkc token`: who may ask the gateway.

use crate::context::Context;
use crate::{commands, print};
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use jiff::{Span, Timestamp, Zoned, civil};
use miette::{IntoDiagnostic, Result};
use schemas::Role;
use secrecy::ExposeSecret;
use serde_json::json;
use store::tokens::{NewToken, Token, Tokens};

/// Makes, lists and revokes the tokens by which programs are known to the gateway.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc token create phone --expires 90d\n  dkc token list")]
pub struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make one and print it, this once
    #[command(
        after_help = "Example:\n  dkc token create phone --expires 90d\n  dkc token create agent --role automated --datasets emails,photos --rate 5"
    )]
    Create(Create),
    /// List all, those too that are revoked or expired
    #[command(after_help = "Example:\n  dkc token list")]
    List,
    /// End one at once
    #[command(after_help = "Example:\n  dkc token revoke A1b2C3d4")]
    Revoke {
        /// Its id, as `dkc token list` shows it
        id: String,
    },
}

/// What a token is to be.
#[derive(Debug, Args)]
pub struct Create {
    /// What to call it, such as the device or program that gets it
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub name: String,
    /// What it may do
    #[arg(long, default_value = "user", value_parser = PossibleValuesParser::new(Role::ALL.map(Role::as_str)).try_map(|name| name.parse::<Role>()))]
    pub role: Role,
    /// The only datasets it may read, with commas between; all if absent
    #[arg(long, value_name = "DATASETS", value_delimiter = ',')]
    pub datasets: Option<Vec<String>>,
    /// When it ends, such as 90d or 2027-01-01; never if absent
    #[arg(long, value_name = "TIME", value_parser = end)]
    pub expires: Option<Timestamp>,
    /// How many requests a second it may make
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
}

/// A time to come: so long from now, or local; a date is its first moment.
fn end(text: &str) -> Result<Timestamp, String> {
    let now = Zoned::now();
    let end = match (text.parse::<civil::DateTime>(), text.parse::<Span>()) {
        (Ok(local), _) => local.to_zoned(now.time_zone().clone()),
        (_, Ok(span)) => now.checked_add(span),
        _ => return Err("write a number and a unit, such as 90d, or a date, such as 2027-01-01".to_owned()),
    };
    let end = end.map_err(|error| error.to_string())?.timestamp();
    if end > now.timestamp() {
        Ok(end)
    } else {
        Err("it must lie in the future".to_owned())
    }
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    match arguments.action {
        Action::Create(arguments) => create(arguments, context).await,
        Action::List => list(context).await,
        Action::Revoke { id } => revoke(&id, context).await,
    }
}

async fn create(arguments: Create, context: &Context) -> Result<()> {
    for name in arguments.datasets.iter().flatten() {
        commands::table(name)?;
    }
    let tokens = Tokens::open(context.own_place().await?).await.into_diagnostic()?;
    let new = NewToken {
        name: arguments.name,
        role: arguments.role,
        datasets: arguments.datasets,
        expires_at: arguments.expires.map(Timestamp::as_microsecond),
        requests_per_second: arguments.rate,
    };
    let (text, token) = tokens.create(new).await.into_diagnostic()?;
    tokens.close().await;
    if context.json {
        let mut value = serde_json::to_value(&token).into_diagnostic()?;
        if let Some(object) = value.as_object_mut() {
            object.insert("token".to_owned(), text.expose_secret().into());
        }
        return print::json(&value);
    }
    print::text(text.expose_secret())?;
    print::note(
        &format!("it is shown this once; `dkc token revoke {}` ends it", token.id),
        context,
    );
    Ok(())
}

async fn list(context: &Context) -> Result<()> {
    let tokens = Tokens::open(context.own_place().await?).await.into_diagnostic()?;
    let listed = tokens.list().await.into_diagnostic()?;
    tokens.close().await;
    if context.json {
        return print::json(&json!({ "tokens": listed }));
    }
    let header = [
        "id",
        "name",
        "role",
        "datasets",
        "rate",
        "created",
        "last used",
        "expires",
        "revoked",
    ];
    let moment = |instant: Option<i64>| instant.map(print::moment).unwrap_or_default();
    let row = |token: Token| {
        [
            token.id,
            token.name,
            token.role.to_string(),
            token.datasets.map_or("all".to_owned(), |names| names.join(", ")),
            token
                .requests_per_second
                .map(|rate| rate.to_string())
                .unwrap_or_default(),
            print::moment(token.created_at),
            moment(token.last_used_at),
            moment(token.expires_at),
            moment(token.revoked_at),
        ]
    };
    print::table(header, listed.into_iter().map(row))
}

async fn revoke(id: &str, context: &Context) -> Result<()> {
    let tokens = Tokens::open(context.own_place().await?).await.into_diagnostic()?;
    let revoked = tokens.revoke(id).await.into_diagnostic()?;
    tokens.close().await;
    if !revoked {
        miette::bail!(
            help = "`dkc token list` shows them",
            "there is no token `{id}` to revoke"
        );
    }
    if context.json {
        return print::json(&json!({ "id": id, "revoked": true }));
    }
    print::text(&format!("{id}: revoked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_after_a_while_or_on_a_day_but_not_in_the_past() {
        let hours = |text: &str| end(text).map(|end| end.duration_since(Timestamp::now()).as_hours());
        assert!((90 * 24 - 2..=90 * 24 + 2).contains(&hours("90d").unwrap()));
        assert!(hours("2999-01-01").unwrap() > 0);
        for wrong in ["2001-01-01", "-1d", "0s", "soon", "90", ""] {
            assert!(end(wrong).is_err(), "{wrong}");
        }
    }
}
