//! Images pushed to and pulled from a registry on the loopback, by name and pinned by digest.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use bollard::query_parameters::RemoveImageOptions;
use executor_api::{Executor as _, FailureKind, Frame};
use libtest_mimic::Trial;
use serde_json::json;

use crate::{
    trial,
    world::{Came, Site, World},
};

pub(crate) fn trials(site: &Site) -> Vec<Trial> {
    vec![trial(site, "pushed_and_pulled_by_its_digest", pushed_and_pulled_by_its_digest)]
}

/// The digest under which the registry has that name and tag.
fn digest(registry: &str, name: &str, tag: &str) -> String {
    let mut stream = TcpStream::connect(registry).unwrap();
    let request = format!(
        "HEAD /v2/{name}/manifests/{tag} HTTP/1.1\r\nHost: {registry}\r\nConnection: close\r\nAccept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let found = answer.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case("docker-content-digest").then(|| value.trim().to_owned())
    });
    found.unwrap_or_else(|| panic!("{answer}"))
}

fn says_it_downloads(came: &Came) -> bool {
    came.frames
        .iter()
        .any(|frame| matches!(frame, Frame::Progress { message: Some(text), .. } if text.contains("downloading the image")))
}

async fn pushed_and_pulled_by_its_digest(site: Site) {
    let world = World::new(site);
    let docker = world.site.docker().negotiate_version().await.unwrap();
    let registry = world.site.registry().to_owned();
    let team = format!("pegboard/{}-{}", world.site.name, std::process::id());
    let name = format!("{registry}/{team}");
    // By its identity, with all of its names: an engine may find an image by its digest under another name.
    let forget = |image: String| {
        let docker = docker.clone();
        async move {
            let id = docker.inspect_image(&image).await.unwrap().id.unwrap();
            let options = RemoveImageOptions { force: true, ..Default::default() };
            docker.remove_image(&id, Some(options), None).await.unwrap();
            assert!(docker.inspect_image(&image).await.is_err(), "{image} is still there");
        }
    };
    let maker = world.plugin("maker", &format!("  image: {name}:1\n  environment: {{ROUND: first}}\n"), "");
    let called = world.executor.push(&maker.plugin, false, |_| {}).await.unwrap();
    assert_eq!(called, format!("{name}:1"));
    let first = digest(&registry, &team, "1");
    forget(called.clone()).await;

    // By name and by digest; each is downloaded, told so, and served.
    let by_name = world.manifest("byname", &format!("  image: {called}\n"), "");
    let came = world.call(&by_name, "echo", json!({})).await;
    assert!(says_it_downloads(&came), "{:?}", came.frames);
    came.value();
    world.executor.retire("byname").await;
    forget(called.clone()).await;
    let pinned = world.manifest("pinned", &format!("  image: {name}@{first}\n"), "");
    let came = world.call(&pinned, "echo", json!({})).await;
    assert!(says_it_downloads(&came), "{:?}", came.frames);
    came.value();

    // Another image under the same name changes nothing for the pin.
    let other =
        world.built("other", "FROM localhost/pegboard-base/python:1\nENV CHANGED=1\n", &format!("  image: {called}\n"), "");
    world.executor.push(&other.plugin, true, |_| {}).await.unwrap();
    assert_ne!(digest(&registry, &team, "1"), first);
    world.executor.retire("pinned").await;
    forget(format!("{name}@{first}")).await;
    world.call(&pinned, "echo", json!({})).await.value();
    forget(called).await;

    // A digest that nothing has is no image, whatever else goes by that name.
    let none = format!("sha256:{}", "0".repeat(64));
    let missing = world.manifest("missing", &format!("  image: {name}@{none}\n"), "");
    world.call(&missing, "echo", json!({})).await.failed(FailureKind::LoadFailed, "downloading the image");
    world.end().await;
}
