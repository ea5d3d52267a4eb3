//! First light of the launcher: a shell at each level.
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use sandbox::*;

fn run(level: Level, script: &str) -> String {
    let mut jail = Jail::new(level, vec!["/bin/sh".into(), "-c".into(), script.into()]);
    jail.mounts = system_mounts(false);
    jail.mounts.push(Mount::system("/bin"));
    jail.mounts.push(Mount::system("/usr/bin"));
    jail.identity = Some(Identity { uid: 200001, gid: 200001, exclusive: true });
    let d = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(d.path(), Some(200001), Some(200001)).unwrap();
    jail.scratch.host_dir = Some(d.path().to_owned());
    let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
    let t = std::time::Instant::now();
    let r = spawn(Path::new(env!("CARGO_BIN_EXE_sandbox-launcher")), &jail, OwnedFd::from(b));
    let el = t.elapsed();
    drop(a);
    let mut c = match r { Ok(c) => c, Err(e) => return format!("ERR {e} {:?}", e.hint()) };
    let mut s = String::new();
    std::fs::File::from(c.stdout.take().unwrap()).read_to_string(&mut s).unwrap();
    std::fs::File::from(c.stderr.take().unwrap()).read_to_string(&mut s).unwrap();
    let e = c.wait().unwrap();
    format!("{el:?} {:?} {e:?}\n{s}", c.entry)
}

#[test]
fn smoke() {
    for level in [Level::L2, Level::L1] {
    eprintln!("{}", run(level, "id; ls -la / /dev /proc /tmp; cat /etc/passwd; env; ls -l /proc/self/fd; mount; cat /proc/self/status | grep -i -e cap -e secc -e nnp -e NoNew; kill -9 1; echo x > /usr/lib/x; echo hi >/tmp/y && cat /tmp/y; ulimit -a; exit 3"));
    }
    for _ in 0..5 { eprintln!("{}", run(Level::L2, "exit 0")); eprintln!("{}", run(Level::L1, "exit 0"));}
}
