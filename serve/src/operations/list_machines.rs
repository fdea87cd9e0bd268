//! `list_machines`: the virtual machines of the configuration.

use crate::config::{Cloud, Machine};
use crate::machines;
use crate::operation::{Call, Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::toolset;
use futures::future::BoxFuture;
use futures::{StreamExt as _, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Clouds' programs that run at once.
const AT_ONCE: usize = 4;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "list_machines",
    about: "Lists the virtual machines that may be started and stopped, with their state.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/machines",
    is_heavy: true,
    is_cacheable: false,
    input: |types| types.subschema_for::<ListMachines>(),
    example: r#"{}"#,
    output: Output::Json(|types| types.subschema_for::<MachineList>()),
    toolset: &toolset::MACHINES,
    holds_collected: false,
    plan: None,
    call: |call, input| Box::pin(async move { answer(&list(call, parse(input)?).await) }),
};

/// Nothing is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListMachines {}

/// The machines.
#[derive(Serialize, JsonSchema)]
struct MachineList {
    /// The machines, as the configuration has them.
    machines: Vec<MachineEntry>,
}

/// A machine.
#[derive(Serialize, JsonSchema)]
struct MachineEntry {
    /// Its name.
    machine: String,
    /// Whose it is.
    cloud: Cloud,
    /// Its zone or region, if the configuration has it.
    location: Option<String>,
    /// running, stopped, starting, stopping, or the cloud's own word.
    state: Option<String>,
    /// Why its state is not known.
    problem: Option<String>,
}

async fn list(call: Call<'_>, _: ListMachines) -> MachineList {
    let mut looking: Vec<BoxFuture<'_, MachineEntry>> = Vec::new();
    for machine in &call.gateway.config.machines {
        looking.push(Box::pin(entry(call, machine)));
    }
    let machines = stream::iter(looking).buffered(AT_ONCE).collect().await;
    MachineList { machines }
}

/// A machine, whether or not its cloud tells how it is.
async fn entry(call: Call<'_>, machine: &Machine) -> MachineEntry {
    let seen = machines::look(&call.gateway.config, &machine.name, call.cancel).await;
    let (state, problem) = match seen {
        Ok(seen) => (Some(seen.state), None),
        Err(problem) => (None, Some(problem.detail)),
    };
    MachineEntry {
        machine: machine.name.clone(),
        cloud: machine.cloud,
        location: machine.location.clone(),
        state,
        problem,
    }
}
