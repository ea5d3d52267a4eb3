//! Definitions of upstream tools: what is the same definition, what is another, and what a review finds.

use manifest_schema::Digest;
use policy::{Approval, Definition, Difference};
use serde_json::{Value, json};

use crate::{plugin, plugin_from};

fn definition(value: Value) -> Definition {
    serde_json::from_value(value).unwrap()
}

fn read() -> Value {
    json!({"name": "read", "description": "Reads", "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}, "n": {"type": "integer"}}}})
}

#[test]
fn the_order_of_keys_does_not_count_and_every_word_does() {
    let same = json!({"inputSchema": {"properties": {"n": {"type": "integer"}, "path": {"type": "string"}}, "type": "object"}, "description": "Reads", "name": "read", "_meta": {"x": 1}});
    assert_eq!(definition(read()).digest(), definition(same).digest());
    for (pointer, other) in [
        ("/name", json!("reads")),
        ("/description", json!("Reads ")),
        ("/inputSchema/properties/n/type", json!("number")),
        ("/title", json!("Read")),
        ("/annotations", json!({"readOnlyHint": true})),
        ("/outputSchema", json!({"type": "object"})),
        ("/icons", json!([{"src": "data:,"}])),
    ] {
        let mut changed = read();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[key] = other;
        assert_ne!(definition(read()).digest(), definition(changed).digest(), "{pointer}");
    }
}

#[test]
fn a_review_tells_unchanged_changed_new_and_gone() {
    let plugin = plugin("");
    let mut approval = Approval::none(&plugin);
    let named =
        |name: &str, text: &str| definition(json!({"name": name, "description": text, "inputSchema": {"type": "object"}}));
    approval.tools = vec![named("same", "a"), named("other", "a"), named("lost", "a")];
    let review = approval.review(&[named("other", "b"), named("same", "a"), named("fresh", "a"), named("same", "twice")]);
    assert_eq!((review.unchanged, review.gone), (vec!["same".to_owned()], vec!["lost".to_owned()]));
    assert_eq!(review.new, [named("fresh", "a")]);
    let [change] = &review.changed[..] else { panic!("{:?}", review.changed) };
    let expected = Difference { path: "/description".to_owned(), was: Some(json!("a")), now: Some(json!("b")) };
    assert_eq!(change.differences(), [expected]);
    // There and back again is a change each time.
    assert_eq!(approval.review(&[named("other", "a")]).unchanged, ["other"]);
}

#[test]
fn an_approval_is_for_one_name_one_source_and_one_server() {
    let ours = plugin("");
    let approval = Approval::none(&ours);
    assert!(approval.fits(&ours));
    assert!(!approval.fits(&plugin_from("", policy::Source::Store)));
    let other = Approval { server: Digest::of([b"another command".as_slice()]), ..approval };
    assert!(!other.fits(&ours));
}
