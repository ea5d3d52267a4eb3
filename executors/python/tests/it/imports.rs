//! Code that runs before any call: at import, in at-fork hooks, in `.pth` files and `sitecustomize`. It must find every wall closed.

use std::{fs, time::Duration};

use executor_api::{Executor, FailureKind};
use libtest_mimic::Trial;
use policy::Level;
use serde_json::json;

use crate::{
    trial,
    world::{Came, Subject, World},
};

pub(crate) fn trials(level: Level) -> Vec<Trial> {
    vec![
        trial(level, "imports_find_the_walls_closed", imports_find_the_walls_closed),
        trial(level, "at_fork_hooks_find_the_walls_closed", at_fork_hooks_find_the_walls_closed),
        trial(level, "site_hooks_find_the_walls_closed", site_hooks_find_the_walls_closed),
        trial(level, "a_failing_import_costs_that_tool_alone", a_failing_import_costs_that_tool_alone),
        trial(level, "imports_that_crash_back_off", imports_that_crash_back_off),
        trial(level, "imports_that_hang_are_ended", imports_that_hang_are_ended),
        trial(
            level,
            "a_plugin_can_shadow_the_standard_library_for_itself_only",
            a_plugin_can_shadow_the_standard_library_for_itself_only,
        ),
    ]
}

/// Tries what the walls forbid and keeps what came of it in `FOUND`.
const TRIES: &str = "
import os, socket
SERVER = @SERVER@
FOUND = {}
def attempt(where):
    def one(name, act):
        try:
            FOUND[where + ':' + name] = 'done: %r' % (act(),)
        except BaseException as error:
            FOUND[where + ':' + name] = type(error).__name__
    one('exec', lambda: os.posix_spawn('/bin/true', ['true'], {}))
    one('passwd', lambda: open('/etc/passwd').read(1))
    one('network', lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    one('shadow', lambda: open('/etc/shadow').read(1))
    one('host', lambda: os.kill(SERVER, 0))
";

const TOOL: &str = "
class Tool:
    def _run(self, steps=0):
        return FOUND
";

/// The attempts, aimed at this process.
fn tries() -> String {
    TRIES.replace("@SERVER@", &std::process::id().to_string())
}

fn plugin(world: &World, name: &str, main: &str) -> Subject {
    let manifest = format!(
        "name: {name}\nversion: 0.1.0\ndescription: A plugin of the tests\nmcps:\n  - name: tool\n    description: Does it\n    class_name: Tool\n    args_schema: {{type: object}}\n"
    );
    world.plugin(&[("plugin.yaml", &manifest), ("main.py", main)])
}

fn assert_closed(came: &Came, place: &str) {
    let value = came.value();
    let found = value.as_object().unwrap();
    let here: Vec<_> = found.iter().filter(|(key, _)| key.starts_with(place)).collect();
    assert!(here.len() >= 4, "the attempts at `{place}` ran: {value}");
    for (key, came) in here {
        let came = came.as_str().unwrap();
        assert!(!came.starts_with("done"), "`{key}` succeeded: {came}");
    }
}

async fn imports_find_the_walls_closed(level: Level) {
    let world = World::at(level);
    let subject = plugin(&world, "importer", &format!("{}\nattempt('import')\n{TOOL}", tries()));
    assert_closed(&world.call(&subject, "tool", json!({})).await, "import:");
    // The control: the same text outside finds them open.
    let program = format!("{}\nattempt('import')\nimport json; print(json.dumps(FOUND))", tries());
    let output = std::process::Command::new("python3").args(["-I", "-c", &program]).output().unwrap();
    let outside = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(outside.matches("done").count(), if crate::world::nix_is_root() { 5 } else { 4 }, "{outside}");
    world.executor.shutdown().await;
}

async fn at_fork_hooks_find_the_walls_closed(level: Level) {
    let world = World::at(level);
    let hooks = "os.register_at_fork(before=lambda: attempt('before'), after_in_child=lambda: attempt('child'), after_in_parent=lambda: attempt('parent'))";
    let subject = plugin(&world, "hooker", &format!("{}\n{hooks}\n{TOOL}", tries()));
    let came = world.call(&subject, "tool", json!({})).await;
    assert_closed(&came, "before:");
    assert_closed(&came, "child:");
    world.executor.shutdown().await;
}

/// A virtualenv's own hooks run before the plugin's first line. A plugin brings them by its packages; here they are put there by hand.
async fn site_hooks_find_the_walls_closed(level: Level) {
    let world = World::at(level);
    let manifest = "name: hooked\nversion: 0.1.0\ndescription: A plugin of the tests\ndependencies: [{name: six, version: '==1.17.0'}]\nmcps:\n  - name: tool\n    description: Does it\n    class_name: Tool\n    args_schema: {type: object}\n";
    let main = "import builtins, six\nFOUND = builtins.FOUND\nclass Tool:\n    def _run(self):\n        return FOUND\n";
    let subject = world.plugin(&[("plugin.yaml", manifest), ("main.py", main)]);
    // The control: prepared and called before any hook is there.
    let allowed = std::sync::Arc::clone(subject.permitted("tool", json!({}), None, level).allowed());
    world.executor.prepare(std::sync::Arc::clone(&subject.plugin), allowed).await.unwrap();
    let before = world.call(&subject, "tool", json!({})).await;
    assert!(before.failure().message.contains("FOUND"), "no hook is there yet: {}", before.failure());
    let venv = fs::read_dir(world.folder.path().join("cache/venvs"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.is_dir())
        .unwrap();
    let packages = fs::read_dir(venv.join("lib")).unwrap().flatten().next().unwrap().path().join("site-packages");
    let hook = |place: &str| {
        let keep = "import builtins\nbuiltins.FOUND = {**getattr(builtins, 'FOUND', {}), **FOUND}\n";
        format!("{}\nattempt('{place}')\n{keep}", tries())
    };
    fs::write(packages.join("hook_by_pth.py"), hook("pth")).unwrap();
    fs::write(packages.join("zz_hook.pth"), "import hook_by_pth\n").unwrap();
    fs::write(packages.join("sitecustomize.py"), hook("site")).unwrap();
    world.executor.retire("hooked").await;
    let came = world.call(&subject, "tool", json!({})).await;
    assert_closed(&came, "pth:");
    if came.value().as_object().unwrap().keys().any(|key| key.starts_with("site:")) {
        assert_closed(&came, "site:");
    } else {
        // A distribution's own `sitecustomize` comes first on the path: then the plugin's never runs.
        let own = std::process::Command::new("/usr/bin/python3").args(["-I", "-c", "import sitecustomize"]).status().unwrap();
        assert!(own.success() && level == Level::L1, "the hook did not run, and no other stood before it");
    }
    world.executor.shutdown().await;
}

async fn a_failing_import_costs_that_tool_alone(level: Level) {
    let world = World::at(level);
    let manifest = "name: halves\nversion: 0.1.0\ndescription: A plugin of the tests\nmcps:\n  - {name: good, description: Works, module_path: good, class_name: Tool, args_schema: {type: object}}\n  - {name: bad, description: Does not, module_path: bad, class_name: Tool, args_schema: {type: object}}\n";
    let good = "class Tool:\n    def _run(self):\n        return 'good'\n";
    let subject = world.plugin(&[("plugin.yaml", manifest), ("good.py", good), ("bad.py", "import no_such_module\n")]);
    let came = world.call(&subject, "bad", json!({})).await;
    assert_eq!(came.failure().kind, FailureKind::LoadFailed, "{}", came.failure());
    assert!(came.failure().message.contains("no_such_module"), "{}", came.failure());
    assert!(matches!(world.call(&subject, "good", json!({})).await.outcome, executor_api::ToolOutcome::Completed(_)));
    world.executor.shutdown().await;
}

async fn imports_that_crash_back_off(level: Level) {
    let world = World::at(level);
    let subject = plugin(&world, "crasher", "import os\nos.kill(os.getpid(), 11) or os._exit(9)\n");
    let first = world.call(&subject, "tool", json!({})).await;
    assert_eq!(first.failure().kind, FailureKind::LoadFailed, "{}", first.failure());
    let second = world.call(&subject, "tool", json!({})).await;
    assert_eq!(second.failure().kind, FailureKind::Unavailable, "{}", second.failure());
    assert!(second.failure().hint.as_deref().unwrap_or_default().contains("tried again in"), "{:?}", second.failure());
    assert_eq!(world.state(&subject).starts, 1, "no start while backing off");
    assert_eq!(world.state(&subject).state, "backing_off");
    world.executor.shutdown().await;
}

async fn imports_that_hang_are_ended(level: Level) {
    let world = World::with(level, |settings| settings.start_limit = Duration::from_secs(1));
    let subject = plugin(&world, "hanger", "import time\ntime.sleep(600)\n");
    let came = world.call(&subject, "tool", json!({})).await;
    assert_eq!(came.failure().kind, FailureKind::LoadFailed, "{}", came.failure());
    assert!(came.failure().message.contains("longer than 1 s"), "{}", came.failure());
    assert!(came.took < Duration::from_secs(8), "{:?}", came.took);
    world.executor.shutdown().await;
}

async fn a_plugin_can_shadow_the_standard_library_for_itself_only(level: Level) {
    let world = World::at(level);
    let manifest = "name: shadower\nversion: 0.1.0\ndescription: A plugin of the tests\nmcps:\n  - {name: tool, description: Does it, class_name: Tool, args_schema: {type: object}}\n";
    let main =
        "import json\nclass Tool:\n    def _run(self):\n        return {'shadowed': json.__file__.endswith('plugin_json')}\n";
    let subject = world.plugin(&[
        ("plugin.yaml", manifest),
        ("main.py", main),
        ("select.py", "raise RuntimeError('shadow')\n"),
        ("pegboard_runtime.py", "raise RuntimeError('shadow')\n"),
    ]);
    assert_eq!(world.call(&subject, "tool", json!({})).await.value(), json!({"shadowed": false}));
    world.executor.shutdown().await;
}
