//! `dkc run --queue`: runs that the service makes.
//!
//! - In: pipelines. Out: the ids of runs of them that wait.
//! - Not here: which run will do for whom (`store::queue::Queue::ask`), making runs.

use crate::config::Pipeline;
use crate::context::Context;
use crate::print;
use miette::{IntoDiagnostic, Result};
use schemas::datasets::runs::{Run, Trigger};
use serde_json::json;
use store::queue::{Asked, Queue, Request};

/// Asks for runs of pipelines, unless one waits already.
pub(super) async fn ask(chosen: &[&Pipeline], context: &Context) -> Result<()> {
    let queue = Queue::open(context.own_place().await?).await.into_diagnostic()?;
    let mut asked = Vec::new();
    for pipeline in chosen {
        let request = request(pipeline);
        asked.push(match queue.ask(&request, None).await.into_diagnostic()? {
            Asked::New => (pipeline, request.run.run, false),
            Asked::Known(waits) => (pipeline, waits.run, true),
        });
    }
    queue.close().await;
    if context.json {
        let runs: Vec<_> = asked
            .iter()
            .map(|(pipeline, id, known)| json!({ "run": id, "pipeline": pipeline.name, "known": known }))
            .collect();
        return print::json(&json!({ "runs": runs }));
    }
    for (pipeline, id, known) in &asked {
        let already = if *known { " already" } else { "" };
        print::text(&format!("{}: {id} is queued{already}", pipeline.name))?;
    }
    print::note(
        "`dkc daemon` or `dkc serve` makes them; `dkc runs logs -f ID` follows one",
        context,
    );
    Ok(())
}

fn request(pipeline: &Pipeline) -> Request {
    let now = jiff::Timestamp::now().as_microsecond();
    let mut run = Run::new(pipeline.name.clone(), Trigger::Person, now);
    run.reason = Some("asked for by `dkc run --queue`".to_owned());
    Request {
        run,
        priority: pipeline.plan.priority,
        host: pipeline.host(),
        once: None,
    }
}
