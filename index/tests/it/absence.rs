//! No model, no runtime, or not the right ones: a reason and a hint, never a panic.
//!
//! That the encoder works where both are present is shown by the `eval` example with `--model`, which no test replaces.

use std::fs;
use std::path::{Path, PathBuf};

use pegboard_index::{EmbedderUnavailable, FastEmbedder, Places, Unavailable, locate};

const FILES: [&str; 5] = ["model.onnx", "tokenizer.json", "config.json", "special_tokens_map.json", "tokenizer_config.json"];

/// A folder that looks like a model; its contents are not.
fn model(folder: &Path) -> PathBuf {
    let model = folder.join("a-model");
    fs::create_dir_all(&model).unwrap();
    FILES.iter().for_each(|name| fs::write(model.join(name), "{}").unwrap());
    model
}

fn reason(model: &Path, library: &Path) -> Unavailable {
    let EmbedderUnavailable { reason, hint } = FastEmbedder::open(model, library).unwrap_err();
    assert!(!hint.is_empty() && !reason.to_string().is_empty());
    reason
}

#[test]
fn a_missing_model_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in FILES {
        let model = model(folder.path());
        fs::remove_file(model.join(name)).unwrap();
        let Unavailable::ModelFile { path, .. } = reason(&model, Path::new("/no/library")) else { panic!("{name}") };
        assert_eq!(path, model.join(name));
    }
    let complete = model(folder.path());
    assert!(
        matches!(reason(&complete, Path::new("/no/library")), Unavailable::LibraryUnreadable { .. }),
        "the control: next step"
    );
}

#[test]
fn a_library_that_is_none_is_refused_before_the_loader_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let program = fs::read(std::env::current_exe().unwrap()).unwrap();
    let cases: [(&str, &[u8]); 5] = [
        ("empty", b""),
        ("text", b"not a library"),
        ("a magic number alone", b"\x7fELF\x02\x01\x01"),
        ("half a header", &program[..50]),
        // The loader would map this and die by SIGBUS.
        ("half a program", &program[..program.len() / 2]),
    ];
    for (what, bytes) in cases {
        let library = folder.path().join("libonnxruntime.so");
        fs::write(&library, bytes).unwrap();
        let found = reason(&model, &library);
        assert!(
            matches!(&found, Unavailable::NotALibrary { path, .. } if path.ends_with("libonnxruntime.so")),
            "{what}: {found:?}"
        );
    }
    assert!(matches!(reason(&model, folder.path()), Unavailable::NotALibrary { .. }), "a folder");
    assert!(matches!(reason(&model, &folder.path().join("none")), Unavailable::LibraryUnreadable { .. }));
}

#[test]
fn a_library_that_is_another_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    // Whole and loadable, but without the runtime's entry point.
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let libc =
        maps.split_whitespace().find(|word| word.starts_with('/') && word.contains("libc.so")).expect("a C library is mapped");
    let found = reason(&model, Path::new(libc));
    assert!(matches!(&found, Unavailable::WrongLibrary { message, .. } if message.contains("OrtGetApiBase")), "{found:?}");
}

#[test]
fn nothing_anywhere_says_how_much_was_searched() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_owned();
    let places = Places { models: vec![empty.clone(), empty.join("none")], ..Places::default() };
    assert_eq!(locate(&places).unwrap_err().reason, Unavailable::NoModel { searched: 2 });
    model(&empty);
    let places = Places { models: vec![empty.clone()], libraries: vec![empty.clone()], site_packages: vec![empty], ..places };
    assert_eq!(locate(&places).unwrap_err().reason, Unavailable::NoLibrary { searched: 2 });
}

#[test]
fn places_are_searched_in_order_and_the_latest_library_wins() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let model = model(&root.join("models"));
    let capi = root.join("site-packages/onnxruntime/capi");
    fs::create_dir_all(&capi).unwrap();
    for name in
        ["libonnxruntime.so.1.4.0", "libonnxruntime.so.1.31.1", "libonnxruntime.so.old", "libonnxruntime_providers_shared.so"]
    {
        fs::write(capi.join(name), "").unwrap();
    }
    let places =
        Places { models: vec![root.join("models")], site_packages: vec![root.join("site-packages")], ..Places::default() };
    let found = locate(&places).unwrap();
    assert_eq!((found.model.clone(), found.onnxruntime), (model.clone(), capi.join("libonnxruntime.so.1.31.1")));

    let beside = root.join("bin");
    fs::create_dir_all(&beside).unwrap();
    fs::write(beside.join("libonnxruntime.so"), "").unwrap();
    let places = Places { libraries: vec![beside.clone()], models: vec![model.clone()], ..places };
    let found = locate(&places).unwrap();
    assert_eq!((found.model, found.onnxruntime), (model, beside.join("libonnxruntime.so")));

    // What the operator named is never passed over.
    let named = Places { onnxruntime: Some(root.join("typo.so")), ..places.clone() };
    assert!(
        matches!(locate(&named).unwrap_err().reason, Unavailable::LibraryUnreadable { path, .. } if path.ends_with("typo.so"))
    );
    let named = Places { model: Some(root.join("typo")), ..places };
    assert!(
        matches!(locate(&named).unwrap_err().reason, Unavailable::ModelFile { path, .. } if path.ends_with("typo/model.onnx"))
    );
}
