//! `dkc mcp cost`: what it costs an agent to know the tools, before it has asked anything.

use super::Chosen;
use crate::commands::gateway::Settings;
use crate::context::Context;
use crate::print;
use clap::Args;
use miette::Result;
use serde_json::json;
use std::cmp::Reverse;

/// Tells how many tokens the list of tools takes in an agent's context: each tool, the dearest first, and all together.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dkc mcp cost\n  dkc mcp cost --toolsets all --grouped")]
pub struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
}

/// Runs it.
pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    let options = arguments.chosen.options()?;
    let config = Settings::read(context)?.config();
    let mut costs = serve::mcp::cost(&config, &options);
    costs.sort_by(|a, b| (Reverse(a.tokens), &a.name).cmp(&(Reverse(b.tokens), &b.name)));
    let all: usize = costs.iter().map(|cost| cost.tokens).sum();
    if context.json {
        let tools: Vec<_> = costs
            .iter()
            .map(|cost| json!({ "name": cost.name, "toolset": cost.toolset, "tokens": cost.tokens }))
            .collect();
        return print::json(&json!({ "tools": tools, "tokens": all }));
    }
    let rows = costs
        .into_iter()
        .map(|cost| [cost.name, cost.toolset, cost.tokens.to_string()]);
    let total = ["all together".to_owned(), String::new(), all.to_string()];
    print::table(["tool", "toolset", "tokens"], rows.chain([total]))
}
