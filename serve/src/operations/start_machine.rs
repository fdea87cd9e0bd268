//! `start_machine`: starts a virtual machine.

use crate::machines::{self, Change, MachineState};
use crate::operation::{Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::toolset;
use schemars::JsonSchema;
use serde::Deserialize;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "start_machine",
    about: "Starts a virtual machine. It takes a while; `get_machine` tells how far it is.",
    effect: Effect::Act,
    roles: TRUSTED,
    method: Method::Post,
    path: "/api/v1/machines/{machine}/start",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<StartMachine>(),
    example: r#"{"machine": "web"}"#,
    output: Output::Json(|types| types.subschema_for::<MachineState>()),
    toolset: &toolset::MACHINES,
    holds_collected: false,
    plan: Some(|call, input| {
        Box::pin(async move {
            let asked: StartMachine = parse(input)?;
            machines::plan(&call.gateway.config, &asked.machine, Change::Start, call.cancel).await
        })
    }),
    call: |call, input| {
        Box::pin(async move {
            let asked: StartMachine = parse(input)?;
            answer(&machines::change(&call.gateway.config, &asked.machine, Change::Start, call.cancel).await?)
        })
    },
};

/// Which machine.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StartMachine {
    /// Its name, as `list_machines` has it.
    #[schemars(length(min = 1, max = 100))]
    machine: String,
}
