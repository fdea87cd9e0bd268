//! Virtual machines of the configuration: their state, starting and stopping them.
//!
//! - In: the name of a machine. Out: what its cloud's own program says of it, in the same words for all clouds.
//! - A caller only ever picks an entry; every argument of the program comes from the configuration.
//! - Not here: how a program is run (`exec`), approval (the dispatcher).

use crate::config::{Cloud, Config, Machine};
use crate::exec::{self, Command, Environment};
use crate::operation::Plan;
use crate::problem::{Kind, Problem};
use crate::projects::mask::hidden;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a cloud's program may take.
const TIME: Duration = Duration::from_secs(50);

/// Bytes of its answer: descriptions of machines have tens of thousands.
const MOST_OUTPUT: usize = 1 << 20;

/// What can be done to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// To start it.
    Start,
    /// To stop it.
    Stop,
}

/// A machine as its cloud sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct MachineState {
    /// Its name.
    pub(crate) machine: String,
    /// Whose it is.
    pub(crate) cloud: Cloud,
    /// Its zone or region, if the configuration has it.
    pub(crate) location: Option<String>,
    /// running, stopped, starting, stopping, or the cloud's own word; unknown, where it was changed and its cloud does not tell.
    pub(crate) state: String,
    /// Its size, in the cloud's words.
    pub(crate) shape: Option<String>,
    /// When it was made.
    pub(crate) created_at: Option<String>,
    /// When it was last started, if the cloud tells.
    pub(crate) started_at: Option<String>,
}

/// The machine of a name.
///
/// # Errors
/// [`Kind::NotFound`] when the configuration has none.
pub(crate) fn named<'a>(config: &'a Config, name: &str) -> Result<&'a Machine, Problem> {
    let found = config.machines.iter().find(|machine| machine.name == name);
    found.ok_or_else(|| {
        let names = config.machines.iter().map(|machine| machine.name.as_str());
        Problem::not_found("machine", name, names)
    })
}

/// How a machine is.
///
/// # Errors
/// [`Problem`] when there is none of that name, or its cloud does not tell.
pub(crate) async fn look(
    config: &Config,
    name: &str,
    cancel: &CancellationToken,
) -> Result<MachineState, Problem> {
    let machine = named(config, name)?;
    let text = ask(machine, None, cancel).await?;
    let seen = Seen::read(machine.cloud, &text).map_err(|error| {
        tracing::warn!(machine = machine.name, %error, "the answer of a cloud's program cannot be read");
        Problem::new(
            Kind::Unavailable,
            format!(
                "what `{}` answered of the machine `{}` cannot be read; see that it is up to date",
                program(machine).to_string_lossy(),
                machine.name
            ),
        )
    })?;
    Ok(MachineState {
        machine: machine.name.clone(),
        cloud: machine.cloud,
        location: machine.location.clone(),
        state: seen.state,
        shape: seen.shape,
        created_at: seen.created_at,
        started_at: seen.started_at,
    })
}

/// What a change would do.
///
/// # Errors
/// [`Kind::Conflict`] when the machine is not in a state for it; else as [`look`].
pub(crate) async fn plan(
    config: &Config,
    name: &str,
    change: Change,
    cancel: &CancellationToken,
) -> Result<Plan, Problem> {
    let machine = named(config, name)?;
    let seen = look(config, name, cancel).await?;
    let (verb, from) = match change {
        Change::Start => ("starts", "stopped"),
        Change::Stop => ("stops", "running"),
    };
    if seen.state != from {
        return Err(Problem::new(
            Kind::Conflict,
            format!(
                "the machine `{name}` is {}, and only one that is {from} can be changed so; `get_machine` tells its state",
                seen.state
            ),
        ));
    }
    let cloud = match machine.cloud {
        Cloud::Gcloud => "gcloud",
        Cloud::Oci => "oci",
    };
    let place = machine
        .location
        .as_ref()
        .map_or(String::new(), |location| format!(", {location}"));
    Ok(Plan {
        summary: format!("{verb} the machine `{name}` ({cloud}{place})"),
        // One that was made anew under the same name is another.
        state: serde_json::json!({
            "state": seen.state,
            "created_at": seen.created_at,
            "started_at": seen.started_at,
            "target": target(machine),
        }),
        is_destructive: change == Change::Stop,
    })
}

/// Which machine of which account a name means, and by which program, as a digest: another meaning needs another plan,
/// and nobody reads accounts out of it.
fn target(machine: &Machine) -> String {
    let program = machine.program.as_ref().map(|path| path.to_string_lossy());
    let parts = serde_json::json!([
        machine.cloud,
        machine.id,
        machine.account,
        machine.location,
        program
    ]);
    blake3::hash(parts.to_string().as_bytes()).to_hex().to_string()
}

/// Asks the cloud for a change, and tells how the machine is then, if its cloud tells: the change is done. The cloud goes on
/// with it by itself.
///
/// # Errors
/// [`Problem`] when there is none of that name, or the cloud refuses.
pub(crate) async fn change(
    config: &Config,
    name: &str,
    change: Change,
    cancel: &CancellationToken,
) -> Result<MachineState, Problem> {
    let machine = named(config, name)?;
    ask(machine, Some(change), cancel).await?;
    let seen = look(config, name, cancel).await;
    Ok(seen.unwrap_or_else(|_| MachineState {
        machine: machine.name.clone(),
        cloud: machine.cloud,
        location: machine.location.clone(),
        state: "unknown".to_owned(),
        shape: None,
        created_at: None,
        started_at: None,
    }))
}

fn program(machine: &Machine) -> &OsStr {
    let named = match machine.cloud {
        Cloud::Gcloud => "gcloud",
        Cloud::Oci => "oci",
    };
    // Of a path only the last part is ever told.
    OsStr::new(named)
}

/// The arguments; values of options stand behind `=`, so that none can be taken for an option.
fn arguments(machine: &Machine, change: Option<Change>) -> Vec<OsString> {
    let option = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("--{name}={value}"));
    let words: Vec<Option<String>> = match machine.cloud {
        Cloud::Gcloud => {
            let verb = match change {
                None => "describe",
                Some(Change::Start) => "start",
                Some(Change::Stop) => "stop",
            };
            vec![
                Some("compute".to_owned()),
                Some("instances".to_owned()),
                Some(verb.to_owned()),
                Some(machine.id.clone()),
                Some("--format=json".to_owned()),
                Some("--quiet".to_owned()),
                option("project", &machine.account),
                option("zone", &machine.location),
                // The change takes minutes, and goes on by itself.
                change.map(|_| "--async".to_owned()),
            ]
        }
        Cloud::Oci => {
            let action = change.map(|change| match change {
                Change::Start => "--action=START".to_owned(),
                Change::Stop => "--action=SOFTSTOP".to_owned(),
            });
            let verb = if action.is_some() { "action" } else { "get" };
            vec![
                Some("compute".to_owned()),
                Some("instance".to_owned()),
                Some(verb.to_owned()),
                Some(format!("--instance-id={}", machine.id)),
                action,
                Some("--output=json".to_owned()),
                option("profile", &machine.account),
                option("region", &machine.location),
            ]
        }
    };
    words.into_iter().flatten().map(OsString::from).collect()
}

async fn ask(
    machine: &Machine,
    change: Option<Change>,
    cancel: &CancellationToken,
) -> Result<String, Problem> {
    let name = &machine.name;
    if machine.id.is_empty() || machine.id.starts_with('-') {
        return Err(Problem::unprocessable(format!(
            "the id of the machine `{name}` is empty or begins with `-`; correct it in the configuration"
        )));
    }
    let arguments = arguments(machine, change);
    let command = Command {
        program: machine
            .program
            .as_ref()
            .map_or(program(machine), |path| path.as_os_str()),
        arguments: &arguments,
        folder: None,
        environment: Environment::Cloud,
        time: TIME,
        most_output: MOST_OUTPUT,
        is_merged: false,
    };
    let output = exec::run(command, cancel, None).await?;
    if output.code != Some(0) {
        let (code, said) = (output.code, last_words(&output.errors.text));
        tracing::warn!(machine = name, code, said, "a cloud's program failed");
        let login = match machine.cloud {
            Cloud::Gcloud => "`gcloud auth list` shows whether it is still logged in",
            Cloud::Oci => "`oci iam region list` shows whether its key is still taken",
        };
        return Err(Problem::new(
            Kind::Unavailable,
            format!(
                "`{}` failed for the machine `{name}`; {login}, and the log has what it said",
                program(machine).to_string_lossy()
            ),
        ));
    }
    Ok(output.output.text)
}

/// The last line that a program wrote, without what looks like a credential: the log is kept.
fn last_words(said: &str) -> String {
    let mut lines = said.lines().map(str::trim);
    hidden(lines.rfind(|line| !line.is_empty()).unwrap_or_default())
}

/// What is read of a cloud's answer.
struct Seen {
    state: String,
    shape: Option<String>,
    created_at: Option<String>,
    started_at: Option<String>,
}

/// An instance as `gcloud compute instances describe` writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GcloudInstance {
    status: String,
    machine_type: Option<String>,
    creation_timestamp: Option<String>,
    last_start_timestamp: Option<String>,
}

/// What `oci compute instance get` writes.
#[derive(Deserialize)]
struct OciAnswer {
    data: OciInstance,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct OciInstance {
    lifecycle_state: String,
    shape: Option<String>,
    time_created: Option<String>,
}

impl Seen {
    fn read(cloud: Cloud, text: &str) -> Result<Self, serde_json::Error> {
        Ok(match cloud {
            Cloud::Gcloud => {
                let instance: GcloudInstance = serde_json::from_str(text)?;
                let shape = instance.machine_type.as_deref();
                Self {
                    state: state(cloud, &instance.status),
                    // It is an address, of which the last part is the type.
                    shape: shape.and_then(|address| address.rsplit('/').next()).map(word),
                    created_at: moment(instance.creation_timestamp.as_deref()),
                    started_at: moment(instance.last_start_timestamp.as_deref()),
                }
            }
            Cloud::Oci => {
                let instance = serde_json::from_str::<OciAnswer>(text)?.data;
                Self {
                    state: state(cloud, &instance.lifecycle_state),
                    shape: instance.shape.as_deref().map(word),
                    created_at: moment(instance.time_created.as_deref()),
                    started_at: None,
                }
            }
        })
    }
}

/// A cloud's word for a state as ours.
fn state(cloud: Cloud, said: &str) -> String {
    match (cloud, said) {
        (_, "RUNNING") => "running".to_owned(),
        // What oci calls terminated is gone for ever.
        (Cloud::Gcloud, "TERMINATED") | (_, "STOPPED") => "stopped".to_owned(),
        (_, "PROVISIONING" | "STAGING" | "STARTING") => "starting".to_owned(),
        (_, "STOPPING" | "PENDING_STOP") => "stopping".to_owned(),
        (_, other) => word(other).to_lowercase(),
    }
}

/// A word of a cloud's, and nothing but a word.
fn word(said: &str) -> String {
    let is_fit = |char: &char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    said.chars().filter(is_fit).take(60).collect()
}

/// A time as answers write it.
fn moment(said: Option<&str>) -> Option<String> {
    Some(said?.parse::<Timestamp>().ok()?.to_string())
}

#[cfg(test)]
mod tests;
