//! `learn`: off until it is said, taught by calls of the terminal, shown without a word of a request, and forgotten.

use serde_json::json;

use crate::run::Home;

#[test]
fn a_call_for_something_teaches_once_learning_is_on() {
    let home = Home::with_plain();
    let call = |home: &Home| {
        home.run(&["call", "plain__echo", "--arg", "text=hi", "--for", "echo the giraffe text back"]).ends(0);
        home.run(&["learn", "show", "--json"]).ends(0).json()
    };
    assert_eq!(call(&home), json!({"on": false, "models": []}), "off at first");
    assert_eq!(home.run(&["learn", "on", "--json"]).ends(0).json(), json!({"on": true}));
    let shown = call(&home);
    assert_eq!(shown["on"], true);
    assert_eq!(shown["models"][0]["tools"], json!([{"name": "plain__echo", "calls": 1.0}]), "{shown}");
    assert!(shown["models"][0]["model"].as_str().unwrap().starts_with("static@"));
    for file in std::fs::read_dir(home.path().join("data/learned")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains("giraffe"), "{text}");
    }
    // A call that fails teaches nothing.
    home.run(&["call", "plain__fail", "--for", "fail please"]).ends(1);
    assert_eq!(home.run(&["learn", "show", "--json"]).ends(0).json()["models"], shown["models"]);
    assert!(home.run(&["learn", "show"]).ends(0).stdout.contains("plain__echo"));
    home.run(&["learn", "off"]).ends(0);
    assert_eq!(call(&home)["models"], shown["models"], "off: what was learned stays, and nothing is added");
    home.run(&["learn", "clear"]).ends(0);
    assert_eq!(home.run(&["learn", "show", "--json"]).ends(0).json(), json!({"on": false, "models": []}));
}

#[test]
fn what_is_damaged_is_told_and_clear_mends_it() {
    let home = Home::with_plain();
    let folder = home.path().join("data/learned");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("0123.json"), "{").unwrap();
    let failed = home.run(&["learn", "show", "--json"]).ends(11).json();
    assert_eq!(failed["error"]["hint"], "pegboard learn clear", "{failed}");
    home.run(&["learn", "clear"]).ends(0);
    home.run(&["learn", "show"]).ends(0);
    home.configure("learning.yaml", "on: perhaps\n");
    home.run(&["learn", "show"]).ends(2);
}
