//! `dkc approve`: the owner's word on what agents want to do.

use crate::context::Context;
use crate::print;
use clap::Args;
use miette::{IntoDiagnostic, Result};
use schemas::Role;
use serde_json::json;
use store::approvals::{Approval, Approvals, Decision, State};
use store::audit::{Audit, Entry, input_digest};

/// Who decides here, as approvals and answers name them.
const BY: &str = "cli";

/// Lists the acts that wait for their owner; approves or refuses one. What is approved may be done once, within ten
/// minutes, by who asked.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc approve\n  dkc approve A1b2C3d4\n  dkc approve A1b2C3d4 --refuse")]
pub struct Arguments {
    /// Which one, as `dkc approve` alone shows it; all that wait are listed if absent
    pub id: Option<String>,
    /// Refuse it
    #[arg(long, requires = "id")]
    pub refuse: bool,
}

/// Runs it.
pub async fn run(arguments: Arguments, context: &Context) -> Result<()> {
    match arguments.id {
        None => list(context).await,
        Some(id) => decide(&id, !arguments.refuse, context).await,
    }
}

async fn list(context: &Context) -> Result<()> {
    let approvals = Approvals::open(context.own_place().await?)
        .await
        .into_diagnostic()?;
    let waiting = approvals.waiting().await.into_diagnostic()?;
    approvals.close().await;
    if context.json {
        return print::json(&json!({ "approvals": waiting }));
    }
    let header = [
        "id",
        "asked",
        "who",
        "operation",
        "what it does",
        "destructive",
        "read others' text",
        "expires",
    ];
    let yes = |is: bool| if is { "yes" } else { "" }.to_owned();
    let row = |approval: Approval| {
        [
            approval.id,
            print::moment(approval.asked_at),
            approval.request.who,
            approval.request.operation,
            approval.request.summary,
            yes(approval.request.is_destructive),
            yes(approval.request.untrusted),
            print::moment(approval.expires_at),
        ]
    };
    print::table(header, waiting.into_iter().map(row))
}

async fn decide(id: &str, approve: bool, context: &Context) -> Result<()> {
    let approvals = Approvals::open(context.own_place().await?)
        .await
        .into_diagnostic()?;
    let decision = approvals.decide(id, BY, approve).await.into_diagnostic()?;
    approvals.close().await;
    let approval = done(decision, id)?;
    let operation = if approve { "approve_act" } else { "refuse_act" };
    let entry = Entry {
        at: jiff::Timestamp::now().as_microsecond(),
        who: BY.to_owned(),
        role: Role::Dev.as_str().to_owned(),
        operation: operation.to_owned(),
        face: BY.to_owned(),
        input: input_digest(&json!({ "id": id })),
        outcome: "ok".to_owned(),
        ..Entry::default()
    };
    let audit = Audit::open(context.own_place().await?).await.into_diagnostic()?;
    audit.append(&[entry]).await.into_diagnostic()?;
    audit.close().await;
    if context.json {
        return print::json(&approval);
    }
    print::text(&format!("{id}: {}", approval.state.as_str()))?;
    if approve {
        let note = format!(
            "`{}` may do it once, until {}: {}",
            approval.request.who,
            print::moment(approval.expires_at),
            approval.request.summary
        );
        print::note(&note, context);
    }
    Ok(())
}

/// What was decided.
fn done(decision: Decision, id: &str) -> Result<Approval> {
    match decision {
        Decision::Done(approval) => Ok(approval),
        Decision::Unknown => miette::bail!(
            help = "`dkc approve` shows what waits",
            "there is no approval `{id}`"
        ),
        Decision::OwnRequest => miette::bail!(
            help = "approve it over the gateway, with another token",
            "`{id}` was asked for by `{BY}` itself, and another than who asked must decide"
        ),
        Decision::NotWaiting(State::Expired) => miette::bail!(
            help = "who asked has to ask again; `dkc approve` shows what waits",
            "`{id}` has expired"
        ),
        Decision::NotWaiting(state) => miette::bail!(
            help = "`dkc approve` shows what waits",
            "`{id}` waits no longer: it is {} already",
            state.as_str()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::approvals::Request;

    #[tokio::test]
    async fn one_is_approved_once_and_only_if_it_waits() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::new(crate::context::Global {
            config: None,
            data: Some(folder.path().to_owned()),
            json: false,
            quiet: true,
            verbose: 0,
        })
        .unwrap();
        let approvals = Approvals::open(folder.path()).await.unwrap();
        let request = |digest: &str| Request {
            digest: digest.to_owned(),
            who: "agent".to_owned(),
            operation: "restart_container".to_owned(),
            summary: "restarts the container `web`".to_owned(),
            is_destructive: true,
            untrusted: false,
        };
        for (digest, refuse, state) in [("a", false, State::Approved), ("b", true, State::Refused)] {
            let id = approvals.ask(&request(digest)).await.unwrap().id;
            let arguments = || Arguments {
                id: Some(id.clone()),
                refuse,
            };
            run(arguments(), &context).await.unwrap();
            let kept = approvals.get(&id).await.unwrap().unwrap();
            assert_eq!((kept.state, kept.decided_by.as_deref()), (state, Some(BY)));
            let again = run(arguments(), &context).await.unwrap_err();
            assert!(again.to_string().contains("already"), "{again}");
        }
        let unknown = decide("nobody", true, &context).await.unwrap_err();
        assert!(unknown.to_string().contains("`nobody`"), "{unknown}");
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        for decision in [
            Decision::Unknown,
            Decision::OwnRequest,
            Decision::NotWaiting(State::Expired),
            Decision::NotWaiting(State::Used),
        ] {
            let error = done(decision, "A1b2C3d4").unwrap_err();
            let help = error.help().unwrap().to_string();
            assert!(error.to_string().contains("`A1b2C3d4`"), "{error}");
            assert!(help.contains("approve"), "{help}");
        }
    }
}
