//! Every wall of a container attacked from inside, each beside the same act where it is allowed.

use std::fs;

use bollard::{
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{
        CreateContainerOptions, LogsOptions, RemoveContainerOptions, StartContainerOptions, WaitContainerOptions,
    },
};
use executor_api::FailureKind;
use futures::StreamExt as _;
use libtest_mimic::Trial;
use manifest_schema::Permission;
use serde_json::{Value, json};

use crate::{
    trial,
    world::{BASE, Site, World},
};

pub(crate) fn trials(site: &Site) -> Vec<Trial> {
    vec![
        trial(site, "wall_files", files),
        trial(site, "wall_privileges", privileges),
        trial(site, "wall_processes", processes),
        trial(site, "wall_memory", memory),
        trial(site, "wall_cpu", cpu),
        trial(site, "wall_network", network),
        trial(site, "wall_volumes", volumes),
        trial(site, "wall_host_folders", host_folders),
    ]
}

async fn files(site: Site) {
    let world = World::new(site);
    // A folder that anybody may write to, were its file system not read-only.
    let open = "RUN [\"/usr/bin/python3\", \"-c\", \"import os; os.mkdir('/open'); os.chmod('/open', 0o777)\"]";
    let dockerfile =
        format!("FROM {BASE}\n{open}\nCOPY server.py /server.py\nENTRYPOINT [\"/usr/bin/python3\", \"/server.py\"]\n");
    let subject = world.built("files", &dockerfile, "", "resource_limits: {max_disk_mb: 4}\n");
    assert_eq!(world.python(&subject, "open('/open/new', 'wb')").await["errno"], json!(30), "the root is read-only");
    for path in ["/etc/passwd", "/server.py", "/new", "/usr/bin/python3"] {
        let came = world.python(&subject, &format!("open('{path}', 'ab')")).await;
        assert!([json!(13), json!(30)].contains(&came["errno"]), "{path}: {came}");
    }
    assert_eq!(
        world.python(&subject, "open('/tmp/x', 'wb').write(b'x' * 1000)\nresult = open('/tmp/x', 'rb').read(3).decode()").await["result"],
        json!("xxx")
    );
    let came = world.python(&subject, "open('/tmp/big', 'wb').write(b'x' * (6 << 20))").await;
    assert_eq!(came["errno"], json!(28), "temporary files are sized: {came}");
    let came = world.python(&subject, "import os, shutil, subprocess\nshutil.copy('/usr/bin/python3', '/tmp/p')\nos.chmod('/tmp/p', 0o755)\nsubprocess.run(['/tmp/p', '-c', '1'])").await;
    assert!(came["raised"] != json!(null), "nothing that is written runs: {came}");
    let came = world.python(&subject, "import subprocess\nresult = subprocess.run(['/usr/bin/python3', '-c', 'print(7)'], capture_output=True).stdout.decode()").await;
    assert_eq!(came["result"], json!("7\n"), "what the image has does");
    world.end().await;
}

async fn privileges(site: Site) {
    let world = World::new(site);
    let subject = world.plugin("powers", "", "");
    let code = "s = dict(l.split(':', 1) for l in open('/proc/self/status') if ':' in l)\nimport os\n\
                result = [os.getuid(), os.getgid(), s['CapEff'].strip(), s['CapBnd'].strip(), s['NoNewPrivs'].strip(), s['Seccomp'].strip()]";
    let came = world.python(&subject, code).await;
    assert_eq!(came["result"], json!([65534, 65534, "0000000000000000", "0000000000000000", "1", "2"]), "{came}");
    for (code, why) in [
        ("import os\nos.setuid(1000)", "no other user"),
        ("import os\nos.chroot('/tmp')", "no chroot"),
        ("import socket\nsocket.socket(socket.AF_PACKET, socket.SOCK_RAW)", "no raw sockets"),
        ("import os\nos.mknod('/tmp/d', 0o20666, os.makedev(1, 3))", "no devices"),
        ("import os\nos.nice(-1)", "no higher priority"),
    ] {
        let came = world.python(&subject, code).await;
        assert!(came["errno"].is_number() || came["raised"] == json!("PermissionError"), "{why}: {came}");
        assert_eq!(unwalled(&world.site, code).await, json!(null), "the control of: {why}");
    }
    for path in ["/proc/sysrq-trigger", "/proc/sys/kernel/hostname"] {
        let came = world.python(&subject, &format!("open('{path}', 'w').write('h')")).await;
        assert!(came["errno"].is_number(), "{path}: {came}");
    }
    let came = world
        .python(&subject, "import os\nresult = open('/proc/1/comm').read().strip() != 'python3' and os.getppid() >= 1")
        .await;
    assert_eq!(came["result"], json!(true), "an init process reaps");
    world.end().await;
}

/// The same acts in a container of the engine's own making, as root with the capabilities for them: they work there, so it is the walls that
/// forbid them.
async fn unwalled(site: &Site, code: &str) -> Value {
    let docker = site.docker().negotiate_version().await.unwrap();
    let whole = format!(
        "import json\nresult = None\ntry:\n{}\n    print('OUTCOME', json.dumps(result))\nexcept OSError as e:\n    print('OUTCOME', json.dumps([type(e).__name__, e.errno]))",
        indented(code)
    );
    let body = ContainerCreateBody {
        image: Some(BASE.to_owned()),
        cmd: Some(["/usr/bin/python3", "-c", &whole].map(str::to_owned).to_vec()),
        host_config: Some(HostConfig {
            cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
            network_mode: Some("none".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let id = docker.create_container(None::<CreateContainerOptions>, body).await.unwrap().id;
    docker.start_container(&id, None::<StartContainerOptions>).await.unwrap();
    drop(docker.wait_container(&id, None::<WaitContainerOptions>).next().await);
    let mut said = String::new();
    let mut lines = docker.logs(&id, Some(LogsOptions { stdout: true, stderr: true, ..Default::default() }));
    while let Some(Ok(line)) = lines.next().await {
        said.push_str(&String::from_utf8_lossy(line.as_ref()));
    }
    docker.remove_container(&id, Some(RemoveContainerOptions { force: true, ..Default::default() })).await.unwrap();
    let outcome = said.lines().find_map(|line| line.strip_prefix("OUTCOME ")).unwrap_or_else(|| panic!("{said}"));
    serde_json::from_str(outcome).unwrap()
}

const CAPABILITIES: [&str; 5] = ["SETUID", "SYS_CHROOT", "NET_RAW", "MKNOD", "SYS_NICE"];

fn indented(code: &str) -> String {
    code.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Forks until it may not, or three hundred times; its children wait for its end.
const FORKS: &str = "import os, time\nn = 0\nresult = None\ntry:\n    while n < 300:\n        if os.fork() == 0:\n            time.sleep(3)\n            os._exit(0)\n        n += 1\n\
                     except OSError as e:\n    result = [n, e.errno]\nresult = result or [n, 0]";

async fn processes(site: Site) {
    let world = World::new(site);
    let subject = world.plugin("bomb", "", "");
    let came = world.python(&subject, FORKS).await;
    let (count, errno) = (came["result"][0].as_u64().unwrap(), came["result"][1].as_u64().unwrap());
    assert!((100..256).contains(&count) && errno == 11, "{came}");
    assert_eq!(unwalled(&world.site, FORKS).await, json!([300, 0]), "the control");
    world.end().await;
}

async fn memory(site: Site) {
    let world = World::new(site);
    let subject = world.plugin("eater", "  resources: {memory: 96m}\n", "");
    assert_eq!(world.call(&subject, "eat", json!({"mb": 30})).await.value()["ate"], json!(30 << 20));
    let came = world.call(&subject, "eat", json!({"mb": 200})).await;
    came.failed(FailureKind::OutOfMemory, "memory");
    assert_eq!(world.call(&subject, "eat", json!({"mb": 10})).await.value()["ate"], json!(10 << 20), "another container serves");
    // A crash is told apart.
    world.call(&subject, "crash", json!({"code": 7})).await.failed(FailureKind::Crashed, "exit code 7");
    world.end().await;
}

async fn cpu(site: Site) {
    let world = World::new(site);
    // Cores that so many processes get in two seconds, and how often the kernel stopped them for their limit.
    let code = |processes: u32| {
        format!(
            "import os, time\nend = time.monotonic() + 2\npids = []\nfor _ in range({processes}):\n    pid = os.fork()\n    if pid == 0:\n        while time.monotonic() < end:\n            pass\n        os._exit(0)\n    pids.append(pid)\n\
             used = 0\nfor pid in pids:\n    usage = os.wait4(pid, 0)[2]\n    used += usage.ru_utime + usage.ru_stime\n\
             root = '/sys/fs/cgroup/'\nstat = next(path for path in (root + 'cpu/cpu.stat', root + 'cpu,cpuacct/cpu.stat', root + 'cpu.stat') if os.path.exists(path))\n\
             result = [used / 2, int(dict(line.split() for line in open(stat))['nr_throttled'])]"
        )
    };
    let slow = world.plugin("slow", "  resources: {cpu: \"0.25\"}\n", "");
    let fast = world.plugin("fast", "  resources: {cpu: \"2\"}\n", "");
    let came = world.python(&slow, &code(3)).await["result"].clone();
    assert!(
        came[0].as_f64().unwrap() < 0.35 && came[1].as_u64().unwrap() > 0,
        "a quarter of a core, however many processes: {came}"
    );
    // Other work may take most of the machine, so the control is that nothing stops it, not how fast it is.
    let came = world.python(&fast, &code(1)).await["result"].clone();
    assert!(came[0].as_f64().unwrap() > 0.0 && came[1] == json!(0), "the control: {came}");
    world.end().await;
}

async fn network(site: Site) {
    let world = World::new(site);
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let declares = "permissions: [network_access]\n";
    let denied = world.plugin("walled", "", "");
    let connect =
        |host: &str| format!("import socket\ns = socket.create_connection(('{host}', {port}), 3)\nresult = 'connected'");
    for host in ["127.0.0.1", "10.88.0.1", "172.17.0.1", "192.0.2.1"] {
        let came = world.python(&denied, &connect(host)).await;
        assert!(came["result"].is_null(), "{host}: {came}");
    }
    assert_eq!(world.python(&denied, "import os\nresult = sorted(os.listdir('/sys/class/net'))").await["result"], json!(["lo"]));
    let granted = world.plugin("networked", "", declares).grant(Permission::NetworkAccess, None);
    // The control: the same connection, to the machine at the other end of its own network.
    let gateway = "import socket, struct\nline = [l.split() for l in open('/proc/net/route')][1:]\ng = [l[2] for l in line if l[1] == '00000000'][0]\nhost = socket.inet_ntoa(struct.pack('<L', int(g, 16)))\n";
    let came =
        world.python(&granted, &format!("{gateway}s = socket.create_connection((host, {port}), 3)\nresult = 'connected'")).await;
    assert_eq!(came["result"], json!("connected"), "{came}");
    assert_eq!(world.state(&granted).road, "container (socket)", "and is still called without it");
    world.end().await;
}

async fn volumes(site: Site) {
    let world = World::new(site);
    let subject = world.plugin(
        "stored",
        "  volumes: [{name: cache, path: /cache}, {name: fixed, path: /fixed, read_only: true}]\n",
        "resource_limits: {max_disk_mb: 3}\n",
    );
    let came = world.python(&subject, "open('/cache/a', 'w').write('kept')\nresult = open('/cache/a').read()").await;
    assert_eq!(came["result"], json!("kept"), "{came}");
    assert_eq!(world.python(&subject, "open('/cache/b', 'wb').write(b'x' * (5 << 20))").await["errno"], json!(28), "sized");
    assert_eq!(world.python(&subject, "open('/fixed/a', 'w')").await["errno"], json!(30), "read-only");
    let code = "import os, subprocess\nos.unlink('/cache/b')\nopen('/cache/p', 'w').write('#!/usr/bin/python3\\n')\nos.chmod('/cache/p', 0o755)\n\
                subprocess.run(['/usr/bin/python3', '/cache/p'], check=True)\nsubprocess.run(['/cache/p'])";
    let came = world.python(&subject, code).await;
    assert_eq!(came["errno"], json!(13), "nothing that is written there runs: {came}");
    world.end().await;
}

async fn host_folders(site: Site) {
    let world = World::new(site);
    let folder = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(folder.path()).unwrap();
    std::os::unix::fs::chown(&path, Some(65_534), Some(65_534)).unwrap();
    fs::write(path.join("a.txt"), "mine").unwrap();
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let declares = |power: &str| format!("permissions: [{power}]\n");
    let read = format!("result = open('/data/{name}/a.txt').read()");
    let write = format!("open('/data/{name}/b.txt', 'w').write('x')\nresult = True");
    let denied = world.plugin("folderless", "", "");
    assert_eq!(world.python(&denied, &read).await["errno"], json!(2), "nothing of the host is there");
    let reader = world.plugin("reader", "", &declares("file_system_read")).grant(Permission::FileSystemRead, path.to_str());
    assert_eq!(world.python(&reader, &read).await["result"], json!("mine"));
    assert_eq!(world.python(&reader, &write).await["errno"], json!(30), "read is not write");
    let writer = world.plugin("writer", "", &declares("file_system_write")).grant(Permission::FileSystemWrite, path.to_str());
    assert_eq!(world.python(&writer, &write).await["result"], json!(true));
    assert!(path.join("b.txt").exists());
    world.end().await;
}
