//! `get_machine`: how a virtual machine is.

use crate::machines::{self, MachineState};
use crate::operation::{Effect, Method, Operation, Output, TRUSTED, answer, parse};
use crate::toolset;
use schemars::JsonSchema;
use serde::Deserialize;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "get_machine",
    about: "Tells how a virtual machine is: its state, size, when it was started.",
    effect: Effect::Read,
    roles: TRUSTED,
    method: Method::Get,
    path: "/api/v1/machines/{machine}",
    is_heavy: false,
    is_cacheable: false,
    input: |types| types.subschema_for::<GetMachine>(),
    example: r#"{"machine": "web"}"#,
    output: Output::Json(|types| types.subschema_for::<MachineState>()),
    toolset: &toolset::MACHINES,
    holds_collected: false,
    plan: None,
    call: |call, input| {
        Box::pin(async move {
            let asked: GetMachine = parse(input)?;
            answer(&machines::look(&call.gateway.config, &asked.machine, call.cancel).await?)
        })
    },
};

/// Which machine.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetMachine {
    /// Its name, as `list_machines` has it.
    #[schemars(length(min = 1, max = 100))]
    machine: String,
}
