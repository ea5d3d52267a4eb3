//! A plugin's own tests, run by pytest where the plugin runs: in its virtualenv with pytest added, behind its walls, with its powers and no more.
//!
//! What a test says of itself comes from inside and is bounded like everything from there. What it means is the caller's.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use executor_api::{FailureKind, ToolFailure};
use manifest_schema::Permission;
use policy::{Allowed, Plugin};
use serde::{Deserialize, Serialize};

use crate::{
    PythonExecutor,
    control::Control,
    jail::{self, Ground},
    message::{MESSAGE_LIMIT, cut},
    start,
    zygote::OutputTail,
};

/// What is installed beside the plugin's own dependencies.
const PYTEST: &str = "pytest>=8,<10";
/// Tests of one run.
const MOST_TESTS: usize = 20_000;
const DETAIL_TEXT: usize = 32 * 1024;
/// `-I` leaves every folder out of the path; the runtime's is the only one that is put there first.
const START: &str = "import sys; sys.path.insert(0, sys.argv[1]); import pegboard_runtime.suite";

/// How one test ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestReport {
    /// pytest's name of it, such as `tests/test_main.py::test_words[one]`.
    pub name: String,
    /// How it ended.
    pub outcome: TestOutcome,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed or was skipped, in a line.
    pub message: Option<String>,
    /// Where, and what it printed.
    pub detail: Option<String>,
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TestOutcome {
    /// As it should.
    Passed,
    /// What it asserts does not hold.
    Failed,
    /// It could not be collected, set up or torn down.
    Error,
    /// It was not run.
    Skipped,
}

/// What the confined process says.
#[derive(Debug, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
enum FromSuite {
    Test(TestReport),
    Broken { message: String },
    TooLarge {},
    Done { code: i32 },
}

/// The order to run.
#[derive(Debug, Serialize)]
struct SuiteOrder<'a> {
    worker: Option<&'a Path>,
    may_spawn: bool,
    site: bool,
    environment: BTreeMap<&'a str, &'a str>,
    root: &'a Path,
    args: &'a [String],
}

/// pytest's codes: all passed, some failed, some files could not be collected, there was none.
const PASSED: i32 = 0;
const FAILED: i32 = 1;
const NOT_COLLECTED: i32 = 2;
const NONE: i32 = 5;

impl PythonExecutor {
    /// Runs the tests of a plugin to their end, for at most `limit` together; `hear` is told of each.
    ///
    /// # Errors
    /// When the environment can't be made, or pytest itself does not come to an end: what a test does is in its report.
    pub async fn run_suite(
        &self,
        plugin: &Arc<Plugin>,
        allowed: &Allowed,
        args: &[String],
        limit: Duration,
        hear: &mut (dyn FnMut(TestReport) + Send),
    ) -> Result<(), ToolFailure> {
        let parts = &self.inner.parts;
        let environment = start::environment_with(parts, plugin, &[PYTEST]).await?;
        let (control, theirs) = Control::pair().map_err(|error| start::internal("a control socket could not be made", &error))?;
        let ground = Ground::lay(parts, plugin, allowed).map_err(|error| start::ground_failure(&error))?;
        let jail = jail::build(parts, plugin, allowed, &environment, &ground, START)?;
        let scratch = jail.scratch_path().unwrap_or(Path::new("/tmp")).to_string_lossy().into_owned();
        let worker = parts.runtime.worker();
        let order = SuiteOrder {
            worker: environment.base.can_fork().then_some(worker.as_path()),
            may_spawn: allowed.powers.contains_key(&Permission::ProcessSpawn),
            site: environment.venv.is_some(),
            environment: BTreeMap::from([("TMPDIR", scratch.as_str())]),
            root: &plugin.root,
            args,
        };
        let order = serde_json::to_vec(&order).map_err(|error| ToolFailure::new(FailureKind::Internal, error.to_string()))?;
        let mut jailed = jail::spawn(parts, plugin, jail, theirs, ground).await?;
        let output = OutputTail::follow(&mut jailed);
        let running = async {
            control.send(&order).await.map_err(|error| start::internal("the order to test could not be sent", &error))?;
            listen(&control, hear).await
        };
        let ended = tokio::time::timeout(limit, running).await.unwrap_or_else(|_| {
            let message = format!("the tests took longer than {} s together", limit.as_secs());
            Err(ToolFailure::new(FailureKind::TimedOut, message).with_hint("--timeout gives them more time"))
        });
        let memory = jailed.ran_out_of_memory();
        let _ended = jailed.end().await;
        ended.map_err(|mut failure| {
            if memory {
                failure.message = format!("{}: the tests used up the memory of the plugin", failure.message);
            }
            failure.detail = failure.detail.or_else(|| Some(output.text()).filter(|text| !text.is_empty()));
            failure
        })
    }
}

/// Takes what is said until the tests are done.
async fn listen(control: &Control, hear: &mut (dyn FnMut(TestReport) + Send)) -> Result<(), ToolFailure> {
    let failed = |message: String| ToolFailure::new(FailureKind::LoadFailed, message);
    let mut bad = false;
    for _ in 0..MOST_TESTS {
        let message =
            control.receive(MESSAGE_LIMIT).await.map_err(|error| failed(format!("the tests can't be heard: {error}")))?;
        let Some(message) = message else { return Err(failed("pytest ended before its tests were done".to_owned())) };
        let said = serde_json::from_slice(&message.bytes).map_err(|error| failed(format!("a test's report is none: {error}")))?;
        match said {
            FromSuite::Test(report) => {
                bad |= matches!(report.outcome, TestOutcome::Failed | TestOutcome::Error);
                hear(bounded(report));
            }
            FromSuite::Broken { message } => return Err(failed(cut(message, DETAIL_TEXT))),
            FromSuite::TooLarge {} => return Err(failed("a test's report is larger than a message".to_owned())),
            FromSuite::Done { code: PASSED | NONE } => return Ok(()),
            // Believed when a test says so, too: pytest may have been interrupted.
            FromSuite::Done { code: FAILED | NOT_COLLECTED } if bad => return Ok(()),
            FromSuite::Done { code } => return Err(failed(format!("pytest itself ended with code {code}"))),
        }
    }
    Err(failed(format!("there are more than {MOST_TESTS} tests")))
}

fn bounded(report: TestReport) -> TestReport {
    const LINE: usize = 1_000;
    TestReport {
        name: cut(report.name, LINE),
        outcome: report.outcome,
        seconds: if report.seconds.is_finite() { report.seconds.max(0.0) } else { 0.0 },
        message: report.message.map(|message| cut(message, LINE)),
        detail: report.detail.map(|detail| cut(detail, DETAIL_TEXT)),
    }
}
