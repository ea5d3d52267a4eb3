//! The walls of a build, attacked from its `RUN` steps and from what its Dockerfile asks of the engine; and whose names an image may take.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bollard::query_parameters::{RemoveImageOptions, TagImageOptions};
use executor_api::FailureKind;
use libtest_mimic::Trial;
use manifest_schema::Permission;
use serde_json::{Value, json};

use crate::{
    trial,
    world::{BASE, Site, Subject, World, until},
};

pub(crate) fn trials(site: &Site) -> Vec<Trial> {
    vec![
        trial(site, "wall_build_network", network),
        trial(site, "wall_build_limits", limits),
        trial(site, "wall_build_addresses", addresses),
        trial(site, "wall_build_names", names),
        trial(site, "a_build_that_says_too_much", says_too_much),
        trial(site, "a_build_that_never_ends", never_ends),
        trial(site, "what_the_ignore_file_names_is_not_sent", ignored),
    ]
}

/// The fixture in an image of its own, with one more step.
fn stepped(world: &World, name: &str, step: &str, container: &str, more: &str) -> Subject {
    let dockerfile =
        format!("FROM {BASE}\n{step}\nCOPY server.py /server.py\nENTRYPOINT [\"/usr/bin/python3\", \"/server.py\"]\n");
    world.built(name, &dockerfile, container, more)
}

/// A step that runs Python and leaves what it prints in the image as `/seen`.
fn step(code: &str) -> String {
    let whole = format!("import sys; sys.stdout = open('/seen', 'w')\n{code}");
    format!("RUN {}", json!(["/usr/bin/python3", "-c", whole]))
}

async fn seen(world: &World, subject: &Subject) -> Value {
    let came = world.python(subject, "import json\nresult = json.load(open('/seen'))").await;
    came["result"].clone()
}

/// The interfaces of the step's own network namespace, and which of these it reaches: the machine's loopback, the far end of its own network.
fn look(port: u16, mark: &str) -> String {
    format!(
        "import json, socket, struct\n\
         def reached(host):\n    try:\n        socket.create_connection((host, {port}), 3).close()\n        return True\n    except OSError:\n        return False\n\
         names = sorted(line.split(':')[0].strip() for line in open('/proc/net/dev').read().splitlines()[2:])\n\
         routes = [line.split() for line in open('/proc/net/route')][1:]\n\
         far = [socket.inet_ntoa(struct.pack('<L', int(route[2], 16))) for route in routes if route[1] == '00000000']\n\
         print(json.dumps([names, reached('127.0.0.1'), any([reached(host) for host in far + ['10.88.0.1', '172.17.0.1']]), '{mark}']))"
    )
}

async fn network(site: Site) {
    let world = World::new(site);
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // No cache of an earlier run may answer for this one.
    let mark = world.folder.path().display().to_string();
    let denied = stepped(&world, "walledbuild", &step(&look(port, &mark)), "", "");
    assert_eq!(seen(&world, &denied).await, json!([["lo"], false, false, mark]));
    // The control: the same steps with the operator's word see a network, which is not the machine's own.
    let open = |found: &Value| found[0].as_array().unwrap().len() == 2 && found[1] == json!(false) && found[2] == json!(true);
    world.executor.rebuild(Arc::clone(&denied.plugin), true, |_| {}).await.unwrap();
    let found = seen(&world, &denied).await;
    assert!(open(&found), "{found}");
    // And so do those of a plugin that holds the power; what it holds does not reach the machine's loopback either.
    let granted = stepped(&world, "openbuild", &step(&look(port, &mark)), "", "permissions: [network_access]\n");
    let found = seen(&world, &granted.grant(Permission::NetworkAccess, None)).await;
    assert!(open(&found), "{found}");
    // What fails without a network says so to whoever can help.
    let needs = stepped(
        &world,
        "needy",
        "RUN [\"/usr/bin/python3\", \"-c\", \"import socket; socket.create_connection(('192.0.2.1', 80), 3)\"]",
        "",
        "",
    );
    let came = world.call(&needs, "echo", json!({})).await;
    came.failed(FailureKind::LoadFailed, "building the image failed");
    let hint = came.failure().hint.clone().unwrap();
    assert!(hint.contains("no network") && hint.contains("ask the operator") && !hint.contains("pegboard container"), "{hint}");
    world.end().await;
}

async fn limits(site: Site) {
    let world = World::new(site);
    let code = "import json, os\n\
                def first(*paths):\n    return next((open(path).read().split() for path in paths if os.path.exists(path)), None)\n\
                root = '/sys/fs/cgroup/'\n\
                memory = first(root + 'memory/memory.limit_in_bytes', root + 'memory.max')\n\
                quota = first(root + 'cpu/cpu.cfs_quota_us', root + 'cpu,cpuacct/cpu.cfs_quota_us', root + 'cpu.max')\n\
                print(json.dumps([int(memory[0]), int(quota[0])]))";
    let subject = stepped(&world, "bounded", &step(code), "", "");
    let found = seen(&world, &subject).await;
    // The kernel counts in pages.
    let memory = found[0].as_u64().unwrap();
    assert!((1_999_900_000..=2_000_000_000).contains(&memory) && found[1] == json!(200_000), "{found}");
    world.end().await;
}

/// Answers every request with two bytes, and counts them.
fn web() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::AcqRel);
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]");
        }
    });
    (port, count)
}

async fn addresses(site: Site) {
    let world = World::new(site);
    let (port, fetched) = web();
    let subject = stepped(&world, "fetcher", &format!("ADD http://127.0.0.1:{port}/metadata /seen"), "", "");
    let came = world.call(&subject, "echo", json!({})).await;
    came.failed(FailureKind::LoadFailed, "ADD takes plain files of the build context only");
    assert_eq!(fetched.load(Ordering::Acquire), 0, "the engine fetched it for the plugin");
    let flag = stepped(&world, "flagged", "RUN --network=host true", "", "");
    world.call(&flag, "echo", json!({})).await.failed(FailureKind::LoadFailed, "RUN takes no flags");
    // The control: with the operator's word the engine fetches it, from its own loopback.
    world.executor.rebuild(Arc::clone(&subject.plugin), true, |_| {}).await.unwrap();
    assert!(fetched.load(Ordering::Acquire) > 0);
    until("the pause ends", || async {
        matches!(world.call(&subject, "echo", json!({})).await.outcome, executor_api::ToolOutcome::Completed(_))
    })
    .await;
    world.end().await;
}

async fn names(site: Site) {
    let world = World::new(site);
    let docker = world.site.docker().negotiate_version().await.unwrap();
    let victim = "localhost/pegboard-test/victim";
    docker.tag_image(BASE, Some(TagImageOptions { repo: Some(victim.to_owned()), tag: Some("1".to_owned()) })).await.unwrap();
    let id = |name: String| {
        let docker = docker.clone();
        async move { docker.inspect_image(&name).await.unwrap().id.unwrap() }
    };
    let before = id(format!("{victim}:1")).await;
    let poisoner = stepped(&world, "poisoner", "ENV POISONED=1", &format!("  image: {victim}:1\n"), "");
    world.call(&poisoner, "echo", json!({})).await.value();
    world.executor.rebuild(Arc::clone(&poisoner.plugin), false, |_| {}).await.unwrap();
    assert_eq!(id(format!("{victim}:1")).await, before, "a build took the name of another image");
    let refused = world.executor.push(&poisoner.plugin, false, |_| {}).await.unwrap_err();
    assert!(refused.message.contains("another image that is called"), "{refused:?}");
    assert_eq!(id(format!("{victim}:1")).await, before);
    // The control: by the operator's word it moves, though no registry takes it.
    assert!(world.executor.push(&poisoner.plugin, true, |_| {}).await.unwrap_err().message.contains("pushing"));
    let built = world.on_engine("poisoner").await.first().and_then(|container| container.image_id.clone());
    assert_ne!(id(format!("{victim}:1")).await, before, "{built:?}");
    // Nor can the name of another plugin's image be asked for.
    let thief = stepped(&world, "thief", "ENV THIEF=1", "  image: localhost/pegboard/poisoner:0\n", "");
    let refused = world.executor.push(&thief.plugin, true, |_| {}).await.unwrap_err();
    assert!(refused.message.contains("is no name for a registry"), "{refused:?}");
    docker.remove_image(&format!("{victim}:1"), None::<RemoveImageOptions>, None).await.unwrap();
    world.end().await;
}

async fn says_too_much(site: Site) {
    let world = World::new(site);
    let code = "import sys\nfor n in range(30 << 10):\n    sys.stdout.write('x' * 1023 + chr(10))";
    let subject = stepped(&world, "chatty", &format!("RUN {}", json!(["/usr/bin/python3", "-c", code])), "", "");
    world.call(&subject, "echo", json!({})).await.failed(FailureKind::LoadFailed, "it said more than 16777216 bytes");
    world.end().await;
}

/// Whether any process of the machine has that word among its arguments.
fn runs(word: &str) -> bool {
    let processes =
        fs::read_dir("/proc").unwrap().flatten().filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    processes.into_iter().any(|process| {
        fs::read(process.path().join("cmdline")).is_ok_and(|line| {
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains(word) && line.contains("python3")
        })
    })
}

async fn never_ends(site: Site) {
    let world = World::with(site, |settings| settings.image_limit = Duration::from_secs(8));
    let mark = format!("endless-{}", world.folder.path().file_name().unwrap().to_str().unwrap());
    // Podman 4.3 goes on with a build that nobody waits for (docs/guides/containers.md says so): there it ends by itself.
    let seconds = if world.site.name == "docker" { 3600 } else { 30 };
    let step =
        format!("RUN {}", json!(["/usr/bin/python3", "-c", format!("import time; mark = '{mark}'; time.sleep({seconds})")]));
    let subject = stepped(&world, "endless", &step, "", "");
    let (came, ()) = tokio::join!(world.call(&subject, "echo", json!({})), until("the step runs", || async { runs(&mark) }));
    came.failed(FailureKind::LoadFailed, "the image was not ready within 8 s");
    until("the build ends", || async { !runs(&mark) }).await;
    world.end().await;
}

async fn ignored(site: Site) {
    let world = World::new(site);
    let subject = stepped(&world, "picky", "COPY . /app", "", "");
    let root: &Path = &subject.plugin.root;
    fs::create_dir(root.join("docs")).unwrap();
    for (name, text) in [("key.pem", "secret"), ("docs/a.md", "a"), ("docs/keep.md", "keep"), ("main.txt", "main")] {
        fs::write(root.join(name), text).unwrap();
    }
    fs::write(root.join(".dockerignore"), "# keys stay here\n**/*.pem\ndocs\n!docs/keep.md\n").unwrap();
    let code = "import os\nresult = sorted(os.path.relpath(os.path.join(folder, name), '/app') for folder, _, names in os.walk('/app') for name in names)";
    let found = world.python(&subject, code).await["result"].clone();
    assert_eq!(found, json!([".dockerignore", "Dockerfile", "docs/keep.md", "main.txt", "plugin.yaml", "server.py"]));
    world.end().await;
}
