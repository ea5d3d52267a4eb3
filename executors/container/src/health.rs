//! Watches one container for as long as it serves: its end, and its health at the interval of the manifest.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bollard::query_parameters::WaitContainerOptions;
use executor_api::{FailureKind, ToolFailure};
use futures::StreamExt as _;

use crate::{plan::Plan, replica::Replica, supervisor::Supervisor};

/// Between two attempts to watch while the engine is away.
const PATIENCE: Duration = Duration::from_millis(500);

/// Runs until the replica is gone; tells its supervisor when it was lost.
pub(crate) async fn watch(supervisor: Weak<Supervisor>, replica: Arc<Replica>, plan: Arc<Plan>) {
    let failure = tokio::select! {
        () = replica.gone.cancelled() => return,
        failure = end(&supervisor, &replica) => failure,
        failure = sickness(&replica, &plan) => failure,
    };
    if let Some(supervisor) = supervisor.upgrade() {
        supervisor.lost(&replica, failure).await;
    }
}

/// Waits for its end, as the engine sees it. An engine that is away says nothing about a container, which may well go on.
async fn end(supervisor: &Weak<Supervisor>, replica: &Replica) -> ToolFailure {
    loop {
        let Some(parts) = supervisor.upgrade().map(|supervisor| Arc::clone(&supervisor.parts)) else {
            return std::future::pending().await;
        };
        if let Ok(connected) = parts.engine.get().await {
            let options = WaitContainerOptions { condition: "not-running".to_owned() };
            let mut waiting = connected.docker.wait_container(&replica.id, Some(options));
            // An answer, an error or a time-out: the state decides.
            drop(waiting.next().await);
            if let Some(failure) = replica.has_ended().await {
                return failure;
            }
        }
        tokio::time::sleep(PATIENCE).await;
    }
}

/// Asks after health; ends after too many bad answers in a row.
async fn sickness(replica: &Replica, plan: &Plan) -> ToolFailure {
    let mut failures = 0;
    loop {
        // Once it was ill the next look is soon: the interval is for the healthy.
        let pause = if failures == 0 { plan.health.interval } else { plan.health.interval.min(Duration::from_secs(1)) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = replica.look.notified() => {}
        }
        match replica.is_healthy(plan).await {
            Ok(()) => failures = 0,
            Err(problem) => {
                failures += 1;
                tracing::warn!(replica = replica.number, failures, problem, "a container is not healthy");
                if failures >= plan.health.retries {
                    return ToolFailure::new(
                        FailureKind::Crashed,
                        format!("the container was not healthy {failures} times in a row: {problem}"),
                    );
                }
            }
        }
    }
}
